"""How the operator's commands tell what they found, and how far they are."""

import argparse
import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


def relative_path(path: Path) -> Path:
    """Return a path as people read it: relative, where it lies below the current folder."""
    with contextlib.suppress(ValueError):
        return path.resolve().relative_to(Path.cwd())
    return path


def status(message: str) -> None:
    """Tell the operator what is happening; standard output is for answers."""
    print(f"· {message}", file=sys.stderr, flush=True)


def print_result(options: argparse.Namespace, what: Any, text: Callable[[], None]) -> int:
    """Print what was found, as JSON where that was asked for; return 0."""
    if options.json:
        print(json.dumps(what, indent=2))
    else:
        text()
    return 0


def table(columns: dict[str, Any], rows: list[list[str]]) -> None:
    """Print rows below the names of columns, each with how it is justified."""
    from rich.console import Console
    from rich.table import Table

    drawn = Table(*columns, box=None, pad_edge=False)
    for column, justify in zip(drawn.columns, columns.values(), strict=True):
        column.justify = justify
    for row in rows:
        drawn.add_row(*row)
    Console(highlight=False).print(drawn)


@contextlib.contextmanager
def transfer(doing: str, size: int) -> Iterator[Callable[[int], None]]:
    """Show how many bytes are done; what it yields takes them as they come."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn

    bars = (BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress("{task.description}", *bars, console=Console(stderr=True)) as progress:
        task = progress.add_task(doing, total=size)
        yield lambda count: progress.advance(task, count)
