"""``python -m layer``: the layer builder's commands."""

import sys

from layer.builder.cli import main

if __name__ == "__main__":
    sys.exit(main())
