"""Pickles that could run code, which ``model publish`` refuses.

Loading a pickle calls the functions that it names. The function's engine admits tensors and
``argparse.Namespace`` alone, so a model with anything else is refused before it is uploaded. Each file is
inspected in its own process, with limits on time and memory, which calls nothing that the file names.
"""

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from lambda_setup.errors import CommandError

SECONDS = 60
"""Limit of CPU time for the inspection of a file."""
_RUNNER = Path(__file__).with_name("pickle_runner.py")
_MAX_NAMES = 8
"""Names in a message."""
_REMEDY = (
    "Nothing was uploaded; save tensors alone: with torch `model.state_dict()`, from scikit-learn ONNX by "
    "skl2onnx, from others safetensors"
)


class UnsafePickle(CommandError):
    """A file is a pickle that could run code, or that the function's engine does not load."""


def check(paths: Iterable[Path], remedies: Mapping[str, str] | None = None) -> None:
    """Check that files are not pickles, or pickles with admitted content alone; else UnsafePickle.

    Args:
        paths: the files.
        remedies: what to do about a file, by the beginning of a name in it, where functions know better.

    """
    for path in paths:
        path.open("rb").close()
        result = subprocess.run(
            [sys.executable, "-I", _RUNNER, path, str(SECONDS)], capture_output=True, text=True, check=False
        )
        if result.returncode == 0:
            continue
        unsafe, reason = "", f"its inspection exceeds {SECONDS} seconds of CPU time, or the memory limit"
        for line in result.stdout.splitlines():
            report = json.loads(line)
            unsafe = ", ".join(report["unsafe"][:_MAX_NAMES]) or unsafe
            reason = report.get("reason", reason)
        for name, remedy in (remedies or {}).items():
            if name in unsafe:
                raise UnsafePickle(f"{path.name} names {unsafe}: {remedy}. Nothing was uploaded")
        if unsafe:
            raise UnsafePickle(f"{path.name} could run code when it is loaded: it names {unsafe}. {_REMEDY}")
        raise UnsafePickle(f"{path.name} does not load as tensors alone: {reason}. {_REMEDY}")
