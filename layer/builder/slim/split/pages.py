"""Pages of code: which are hot, and how cold ones are put into blocks. A run is (first page, pages)."""

from collections.abc import Iterable, Iterator

Run = tuple[int, int]

GAP = 4
"""Cold pages between hot ones that stay hot: a mapping less costs more than they do."""


def group(pages: Iterable[int], gap: int = 0) -> list[Run]:
    """Return the runs of pages, joined where at most so many pages lie between them."""
    runs: list[Run] = []
    for page in sorted(set(pages)):
        if runs and page - sum(runs[-1]) <= gap:
            runs[-1] = (runs[-1][0], page + 1 - runs[-1][0])
        else:
            runs.append((page, 1))
    return runs


def invert(runs: Iterable[Run], pages: int) -> list[Run]:
    """Return the runs between those given, up to so many pages."""
    cursor, others = 0, []
    for first, count in (*runs, (pages, 0)):
        if first > cursor:
            others.append((cursor, first - cursor))
        cursor = first + count
    return others


def cut(runs: Iterable[Run], size: int) -> Iterator[list[Run]]:
    """Yield runs in blocks of ``size`` pages, the last of which may be smaller."""
    block: list[Run] = []
    room = size
    for first, count in runs:
        start, stop = first, first + count
        while start < stop:
            taken = min(stop - start, room)
            block.append((start, taken))
            start, room = start + taken, room - taken
            if not room:
                yield block
                block, room = [], size
    if block:
        yield block


def format_runs(runs: Iterable[Run]) -> str:
    """Return runs as a line: ``12+3 40+1``."""
    return " ".join(f"{first}+{count}" for first, count in runs)


def parse_runs(line: str) -> list[Run]:
    """Return the runs of a line; ValueError if a word of it is not one."""
    runs = []
    for text in line.split():
        first, _, count = text.partition("+")
        runs.append((int(first), int(count)))
    return runs
