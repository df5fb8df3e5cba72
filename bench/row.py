"""A row of the results: a number, its baseline, and its goal.

An area is a module of bench/areas with functions that measure, each naming its rows::

    @measures("store.load_time")
    def load_time() -> Iterator[Row]: ...

and it stands among AREAS in ``__main__``.
"""

import os
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
MODEL = ROOT / "models" / "en-es"

OF_TIME = "× of the baseline's time"  # noqa: RUF001 - the sign, not the letter
AS_FAST = "× as fast as the baseline"  # noqa: RUF001


@dataclass(frozen=True, kw_only=True)
class Row:
    """One number."""

    name: str  # dotted, of its area and what was measured
    value: float  # a ratio of medians, measured side by side in one run; or a size
    better: str = "lower"  # lower or higher
    unit: str
    baseline: str  # what it is compared with, and where that is
    goal: float  # what the value may be at most, or has to be at least
    runs: Sequence[float]  # the same for each repetition
    cause: str = ""  # why the goal is missed, if it is

    @property
    def met(self) -> bool:
        """Whether the value is at the goal or on its good side."""
        return meets(self.value, self.better, self.goal)

    def record(self) -> dict[str, Any]:
        """Return the row as results.json has it."""
        names = ("name", "value", "better", "unit", "baseline", "goal", "met", "runs")
        return {name: getattr(self, name) for name in (names if self.met else (*names, "cause"))}


def meets(value: float, better: str, goal: float) -> bool:
    """Return whether a value is at its goal or on its good side."""
    return value <= goal if better == "lower" else value >= goal


def ratio(ours: Sequence[float], baseline: Sequence[float]) -> dict[str, Any]:
    """Return value and runs of a row that divides ours by the baseline, repetition by repetition."""
    return {
        "value": round(statistics.median(ours) / statistics.median(baseline), 3),
        "runs": [round(mine / other, 3) for mine, other in zip(ours, baseline, strict=True)],
    }


def make_size_row(name: str, size: int, goal: int, what: str) -> Row:
    """Return the row of a layer's bytes."""
    return Row(
        name=f"layer.size.{name}",
        value=size,
        unit="bytes",
        baseline=f"{what}, against the goal alone",
        goal=goal,
        runs=[size],
    )


@dataclass(frozen=True)
class Measurement:
    """A function that measures, and the names of the rows that it yields."""

    names: tuple[str, ...]
    run: Callable[[], Iterator[Row]]


measurements: list[Measurement] = []


def measures(*names: str) -> Callable[[Callable[[], Iterator[Row]]], Callable[[], Iterator[Row]]]:
    """Register a function that yields the rows of these names."""

    def register(function: Callable[[], Iterator[Row]]) -> Callable[[], Iterator[Row]]:
        measurements.append(Measurement(names, function))
        return function

    return register


def function_environment() -> dict[str, str]:
    """Return this process's environment, with the translation function among the folders of modules."""
    folders = [str(ROOT / "translation_function"), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(folders)}


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Make a temporary folder, in memory where the machine has such a place, for disks differ most."""
    memory = Path("/dev/shm")  # noqa: S108
    with tempfile.TemporaryDirectory(prefix="bench-", dir=memory if memory.is_dir() else None) as name:
        yield Path(name)
