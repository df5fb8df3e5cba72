"""Run pip with the requirement markers and the version of another Python; ``wheels.tool`` starts it.

pip evaluates markers for the interpreter that it runs on, whatever ``--platform`` says
(https://github.com/pypa/pip/issues/11664, after which this can go). ``pip install`` also holds the packages'
Requires-Python against that interpreter's version.
"""

import json
import sys

from pip._internal.cli.main import main
from pip._internal.resolution.resolvelib import factory
from pip._internal.resolution.resolvelib.candidates import RequiresPythonCandidate
from pip._vendor.packaging import markers

if __name__ == "__main__":
    environment = json.loads(sys.argv.pop(1))
    version = tuple(map(int, environment["python_full_version"].split(".")))
    markers.default_environment = lambda: dict(environment)
    factory.RequiresPythonCandidate = lambda _: RequiresPythonCandidate(version)
    sys.exit(main())
