"""Forward ``python -m bench.scale`` to ``python -m studies.batch_scale``, for one release."""

import runpy
import sys

if __name__ == "__main__":
    print("bench.scale has moved to studies.batch_scale", file=sys.stderr)
    runpy.run_module("studies.batch_scale", run_name="__main__")
