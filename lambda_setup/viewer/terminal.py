"""Results in the terminal: tables, and pictures that are drawn beside a result on this machine."""

import inspect
import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from lambda_setup.output import status
from lambda_setup.viewer.result import Result, describe_arrays, is_error
from layer.builder.tree import write_atomic

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from lambda_setup.viewer.result import Arrays

_WIDEST = 300
"""Characters of a value that is not text."""


def print_result(result: Result, item: int, show: ModuleType, event: Any) -> None:
    """Print a result as a table, and draw the record at a position beside it, unless it is in S3."""
    from rich.console import Console

    console = Console()
    _print_table(result, show, console)
    console.print(f"predictions  {result.location}", soft_wrap=True)
    for file in result.array_files:
        console.print(f"{file.kind:<12} {file.location}", soft_wrap=True)
    if result.folder is None:
        console.print("page         give --html FILE or --open", soft_wrap=True)
    elif not 0 <= item < len(result.records):
        console.print(f"there is no item {item}; choose another with --item")
    elif is_error(result.records[item]):
        console.print(f"item {item} has failed; choose another with --item")
    else:
        _draw_item(result, result.folder, item, show, event, console)


def field_table(records: list[dict[str, Any]]) -> "Table":
    """Return any records as a table, a column a field; long values that are not texts are cut."""
    from rich.table import Table
    from rich.text import Text

    names = list(dict.fromkeys(name for record in records for name in record))
    table = Table(*names)
    for record in records:
        values = (record.get(name, "") for name in names)
        table.add_row(*(Text(one if isinstance(one, str) else _shorten(one)) for one in values))
    return table


def _shorten(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _WIDEST else f"{text[:_WIDEST]}…"


def describe_error(record: dict[str, Any]) -> str:
    """Return the code and the message of an error in the place of a prediction."""
    return f"{record['error']['code']}: {record['error']['message']}"


def _print_table(result: Result, show: ModuleType, console: "Console") -> None:
    from rich.text import Text

    records = result.records
    errors = [record for record in records if is_error(record)]
    predictions = [record for record in records if not is_error(record)]
    complete = getattr(show, "ERRORS_IN_TABLE", False)
    table = _build_table(result, show, records if complete else predictions)
    if table is None:
        found = _select_arrays(result, predictions)
        rows = [record | describe_arrays(found.get(place, {})) for place, record in enumerate(predictions)]
        table, complete = field_table(rows), False
    console.print(table)
    if not complete:
        for record in errors:
            console.print(
                Text(f"item {record.get('index')} failed: {describe_error(record)}"), soft_wrap=True
            )
    if errors:
        console.print(f"failed       {len(errors)} of {len(records)} items")


def _build_table(result: Result, show: ModuleType, records: list[dict[str, Any]]) -> "Table | None":
    """Return the table of a function's own, with or without the arrays, as it takes them."""
    if not hasattr(show, "table"):
        return None
    if len(inspect.signature(show.table).parameters) > 1:
        own: Table | None = show.table(records, _select_arrays(result, records))
        return own
    former: Table | None = show.table(records)
    hidden = {file.kind for file in result.array_files} - set(getattr(show, "PICTURES", {}))
    if former and hidden:
        status(f"the table of show.py does not get {', '.join(sorted(hidden))}: write table(records, arrays)")
    return former


def _select_arrays(result: Result, records: list[dict[str, Any]]) -> "Mapping[int, Arrays]":
    """Return the arrays of some of a result's records, by their position among these."""
    positions = {id(record): place for place, record in enumerate(records)}
    places = (positions.get(id(record)) for record in result.records)
    arrays = result.arrays() if result.array_files else {}
    return {
        place: arrays[number] for number, place in enumerate(places) if place is not None and number in arrays
    }


def _draw_item(
    result: Result, folder: Path, item: int, show: ModuleType, event: Any, console: "Console"
) -> None:
    record = result.records[item]
    if hasattr(show, "picture"):
        data = event.get("data") if isinstance(event, dict) else None
        sent = data[item] if isinstance(data, list) and len(data) == len(result.records) else None
        _draw(folder / f"item-{item}.png", lambda path: show.picture(record, sent, path), console)
    pictures = getattr(show, "PICTURES", {})
    kinds = dict.fromkeys(file.kind for file in result.array_files if file.kind in pictures)
    arrays = result.arrays().get(item, {}) if kinds else {}
    for kind in kinds:
        if kind not in arrays:
            console.print(f"item {item} has no {kind}; choose another with --item")
            continue
        _draw(
            folder / f"{kind}-{item}.png",
            lambda path, kind=kind: pictures[kind](record, arrays[kind], path),  # type: ignore[misc]
            console,
        )


def _draw(path: Path, draw: Callable[[Path], None], console: "Console") -> None:
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / path.name
        draw(picture)
        write_atomic(path, picture.read_bytes())
    console.print(f"picture      {path}", soft_wrap=True)
