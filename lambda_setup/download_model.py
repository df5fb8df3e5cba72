"""The former place of ``model download``; goes with the next release."""

import sys

from lambda_setup.models.download import main

if __name__ == "__main__":
    sys.exit(main())
