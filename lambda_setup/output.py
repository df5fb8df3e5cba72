"""Output of the operator's commands: results, tables, status lines, progress of transfers."""

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


def relative_path(path: Path) -> Path:
    """Return a path relative to the current folder if it lies below it."""
    with contextlib.suppress(ValueError):
        return path.resolve().relative_to(Path.cwd())
    return path


def status(message: str) -> None:
    """Print a line about progress to standard error; standard output is for results."""
    print(f"· {message}", file=sys.stderr, flush=True)


def print_result(as_json: bool, result: Any, text: Callable[[], None]) -> int:
    """Print a result as JSON, or have ``text`` print it for people; return 0."""
    if as_json:
        print(json.dumps(result, indent=2))
    else:
        text()
    return 0


def table(columns: dict[str, Any], rows: list[list[str]]) -> None:
    """Print a table; ``columns`` maps names to their justification, as rich names it."""
    from rich.console import Console
    from rich.table import Table

    grid = Table(*columns, box=None, pad_edge=False)
    for column, justify in zip(grid.columns, columns.values(), strict=True):
        column.justify = justify
    for row in rows:
        grid.add_row(*row)
    Console(highlight=False).print(grid)


@contextlib.contextmanager
def transfer(label: str, size: int | None) -> Iterator[Callable[[int], None]]:
    """Show the progress of a transfer in bytes; yield a function that takes the bytes of each step."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn

    bars = (BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress("{task.description}", *bars, console=Console(stderr=True)) as progress:
        task = progress.add_task(label, total=size)
        yield lambda count: progress.advance(task, count)
