"""The processor time that a script's imports take from a tree, in fresh interpreters that take turns."""

import os
import statistics
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

REPETITIONS = 7

_IMPORT = """
import sys, time
sys.path.append(sys.argv[1])
with open(sys.argv[2], encoding="utf-8") as file:
    code = compile(file.read(), "script", "exec")
start = time.process_time()
exec(code, {"__name__": "script"})
print(time.process_time() - start)
"""


def time_imports(trees: Mapping[str, Path], script: Path, scratch: Path, lib: Path) -> dict[str, list[float]]:
    """Return the seconds of each tree, a number a repetition, after one that warms the caches.

    The loader finds the layer's own libraries, for every tree, in ``lib``. A tree from which the script
    cannot be imported has none.
    """
    seconds: dict[str, list[float]] = {name: [] for name in trees}
    for repetition in range(REPETITIONS + 1):
        for name, tree in trees.items():
            taken = _time_import(tree, script, scratch, lib)
            if repetition and taken is not None:
                seconds[name].append(taken)
    return seconds


def _time_import(tree: Path, script: Path, scratch: Path, lib: Path) -> float | None:
    # -B as on Lambda, where a layer cannot be written to.
    command = [sys.executable, "-I", "-S", "-B", "-c", _IMPORT, str(tree), str(script)]
    environment = {
        "PATH": os.environ.get("PATH", ""),
        "HOME": str(scratch),
        "TMPDIR": str(scratch),
        "LD_LIBRARY_PATH": str(lib),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return float(done.stdout.split()[-1]) if done.returncode == 0 else None


def divide(seconds: Mapping[str, list[float]]) -> dict[str, list[float]]:
    """Return the ratios of ``ours`` to every other tree, repetition by repetition."""
    ours = seconds.get("ours", [])
    return {
        name: [round(mine / theirs, 3) for mine, theirs in zip(ours, others, strict=True)]
        for name, others in seconds.items()
        if name != "ours" and len(others) == len(ours) and ours
    }


def median(ratios: Mapping[str, list[float]], name: str) -> float | None:
    """Return the median ratio to a tree, if it was measured."""
    return statistics.median(ratios[name]) if ratios.get(name) else None
