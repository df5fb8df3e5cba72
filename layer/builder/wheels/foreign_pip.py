"""Run pip with the requirement markers of another Python; ``wheels.tool`` starts it.

pip evaluates markers for the interpreter that it runs on, whatever ``--platform`` says
(https://github.com/pypa/pip/issues/11664, after which this can go).
"""

import json
import sys

from pip._internal.cli.main import main
from pip._vendor.packaging import markers

if __name__ == "__main__":
    environment = json.loads(sys.argv.pop(1))
    markers.default_environment = lambda: dict(environment)
    sys.exit(main())
