"""Split libraries against the nested layer, which unpacks whole ones to the disk at a cold start.

Run: ``make bench ROW=split``. Both are the translator as it is deployed, with caches dropped before each
start: see bench/areas/cold_start.py. Sides take turns.
"""

from collections.abc import Iterator
from pathlib import Path

from bench.areas.cold_start import REPETITIONS, Deploy, Place, Side, deploy, ours, translation
from bench.areas.layers import EVENT
from bench.areas.unpack import build_nested_layer
from bench.row import MODEL, OF_TIME, Row, measures, ratio

BASELINE = "the nested layer, which unpacks the whole libraries to the disk (bench/areas/split.py)"


def translator(folder: str, layer: Path | None = None) -> Deploy:
    """Return how the function is deployed with the shipped model, in a folder, with its layer or another."""

    def prepare(place: Place) -> Side:
        own = Place(place.scratch / folder, place.runtime, place.server)
        own.scratch.mkdir()
        return ours(own, MODEL, EVENT, translation, layer=layer)

    return prepare


@measures("split.cold_start", "split.cpu_time", "split.memory")
def measure() -> Iterator[Row]:
    """Compare cold starts: time, processor time, and the most memory of the process."""
    sides = {"split": translator("split"), "nested": translator("nested", build_nested_layer())}
    with deploy(sides) as bench:
        times = bench.take_turns(REPETITIONS)
    split, nested = (list(zip(*bench.usage[name], strict=True)) for name in sides)
    for name, values, goal, unit in (
        ("cold_start", times.values(), 0.7, OF_TIME),
        ("cpu_time", (split[0], nested[0]), 0.75, "× of the baseline's processor time"),  # noqa: RUF001
        ("memory", (split[1], nested[1]), 1.0, "× of the baseline's peak memory"),  # noqa: RUF001
    ):
        yield Row(name=f"split.{name}", **ratio(*values), unit=unit, baseline=BASELINE, goal=goal)
