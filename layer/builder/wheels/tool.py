"""Run pip, and turn its errors into ours."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from layer.builder.errors import ResolveError
from layer.builder.target import HOST, Target

_FOREIGN = Path(__file__).with_name("foreign_pip.py")
_ELSEWHERE = {"PIP_TARGET", "PIP_USER"}
"""Settings for installing elsewhere than into the folder that is asked for."""

_BUILDING = {"SOURCE_DATE_EPOCH": "315532800", "CC": "false", "CXX": "false"}
"""A source distribution is built with the same dates each time, and one with C code fails at once."""

Pip = Callable[[Sequence[str]], str]
"""A function that runs pip with arguments and returns its output."""


def run_pip(arguments: Sequence[str], markers: Mapping[str, str] | None = None) -> str:
    """Run this interpreter's pip, and return its output; its errors become a ResolveError.

    ``markers`` is the environment of requirement markers, and has the version that packages may require
    (default: those of this interpreter).
    """
    start = ["-m", "pip"] if markers is None else ["-P", str(_FOREIGN), json.dumps(markers)]
    command = [sys.executable, *start, "--disable-pip-version-check", *arguments]
    environment = {key: value for key, value in os.environ.items() if key not in _ELSEWHERE}
    environment |= _BUILDING
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise ResolveError(f"pip failed:\n{describe_failure(done.stderr)}")
    return done.stdout


def get_pip(target: Target) -> Pip:
    """Return the pip that resolves and installs for a target."""
    return run_pip if target.name == HOST else partial(run_pip, markers=target.markers())


def describe_failure(output: str) -> str:
    """Return pip's lines of error; where they are ``ERROR: Exception:``, the traceback's last."""
    lines = [line for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR") and line != "ERROR: Exception:"]
    return "\n".join(errors or lines[-1:] or ["it printed no error"])
