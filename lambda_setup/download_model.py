"""The former command of ``model download``, an alias for one release."""

import sys

from lambda_setup.__main__ import main

if __name__ == "__main__":
    sys.exit(main(["model", "download", *sys.argv[1:]]))
