"""Pickles that could run code, kept out of model buckets.

Loading a pickle calls whatever it names. The function's engine admits tensors and ``argparse.Namespace``
alone, so a model that holds anything else is refused before it is uploaded. Each file is looked at in a
process of its own, which has little time and memory, and calls nothing that the file names.
"""

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

SECONDS = 60
"""Of processor time that looking at a file may take."""
_RUNNER = Path(__file__).with_name("pickle_runner.py")
_SHOWN = 8
_REMEDY = (
    "Nothing was uploaded; save tensors alone: with torch `model.state_dict()`, from scikit-learn ONNX by "
    "skl2onnx, from others safetensors"
)


class UnsafePickle(ValueError):
    """A file is a pickle that could run code, or none that the function's engine loads."""


def check(paths: Iterable[Path]) -> None:
    """See that no file is a pickle, or else one that holds what the function's engine admits.

    Raises:
        UnsafePickle: one is.
        OSError: one cannot be read.

    """
    for path in paths:
        path.open("rb").close()
        done = subprocess.run(
            [sys.executable, "-I", _RUNNER, path, str(SECONDS)], capture_output=True, text=True, check=False
        )
        if done.returncode == 0:
            continue
        unsafe, reason = "", f"looking at it takes more than {SECONDS} seconds, or all memory"
        for line in done.stdout.splitlines():
            said = json.loads(line)
            unsafe, reason = ", ".join(said["unsafe"][:_SHOWN]) or unsafe, said.get("reason", reason)
        if unsafe:
            raise UnsafePickle(f"{path.name} could run code when it is loaded: it names {unsafe}. {_REMEDY}")
        raise UnsafePickle(f"{path.name} does not load as tensors alone: {reason}. {_REMEDY}")
