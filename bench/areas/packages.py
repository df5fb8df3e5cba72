"""Libraries that people want on Lambda: how many are proven, how small they are, how fast they import.

Run: ``make bench ROW=packages``. The numbers are those of the records, which ``python -m bench.packages``
makes, one library at a time: the trees are made from the same wheels, and import in turns.
"""

import statistics
from collections.abc import Iterator, Sequence

from bench.packages import summary
from bench.row import OF_TIME, Row, measures
from layer.builder.target import HOST

USUAL = "the usual slimming of the same wheels (bench/packages/trees.py)"
OF_SIZE = "× of the baseline's bytes"  # noqa: RUF001 - the sign, not the letter

WHOLE = "what a recipe names stays whole, and what its code names stays, so that every public function works"


@measures(
    "packages.proven", "packages.size", "packages.size_worst", "packages.import_usual", "packages.import_pip"
)
def read_rows() -> Iterator[Row]:
    """Summarise the records of this machine."""
    found = summary.read_records(HOST)
    several, single = (summary.list_sizes(found, one_library=one) for one in (False, True))
    yield Row(
        name="packages.proven",
        value=summary.count_proven(found),
        better="higher",
        unit="libraries",
        baseline=f"{len(found)} libraries, against the goal alone",
        goal=38,
        runs=[summary.count_proven(found)],
        cause="the others have no record yet, or docs/reference/packages.md has the reason",
    )
    yield make_median_row("packages.size", several, OF_SIZE, USUAL, 0.75)
    worst = max([*several, *single])
    yield Row(
        name="packages.size_worst", value=worst, unit=OF_SIZE, baseline=f"{USUAL}, the largest ratio of all",
        goal=1, runs=[worst], cause=WHOLE,
    )  # fmt: skip
    for name, goal, baseline in (("usual", 0.5, USUAL), ("pip", 1.0, "the same wheels as pip installs them")):
        times = summary.list_import_times(found, name)
        yield make_median_row(f"packages.import_{name}", times, OF_TIME, baseline, goal)


def make_median_row(name: str, ratios: Sequence[float], unit: str, baseline: str, goal: float) -> Row:
    """Return the row of a median over the libraries, with a library's ratio as a run."""
    return Row(
        name=name,
        value=round(statistics.median(ratios), 3),
        unit=unit,
        baseline=f"{baseline}, the median of {len(ratios)} libraries",
        goal=goal,
        runs=sorted(ratios),
        cause=WHOLE,
    )
