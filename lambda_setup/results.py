"""``results``: predictions as people look at them."""

import argparse
import gzip
import importlib.util
import json
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lambda_setup import functions

PREDICTIONS = "predictions.jsonl.gz"

if TYPE_CHECKING:
    import numpy as np
    from rich.table import Table


def run(options: argparse.Namespace) -> int:
    """Show every result in a folder."""
    found = [options.folder] if options.folder.is_file() else sorted(options.folder.rglob(PREDICTIONS))
    if not found:
        raise FileNotFoundError(
            f"there is no predictions.jsonl.gz below {options.folder}; save one with: python -m lambda_setup "
            f"invoke --event events/event.json --save {options.folder}"
        )
    if options.html or options.open:
        return _page(found, options)
    function = functions.named(options.function)
    event = json.loads((options.event or function.event).read_text(encoding="utf-8"))
    for path in found:
        show(path, options.item, _viewer(function), event)
    return 0


def _page(found: list[Path], options: argparse.Namespace) -> int:
    """Write one result as a page of its own, and open it if that is asked for."""
    if len(found) > 1:
        raise ValueError(f"there are {len(found)} results below {options.folder}; name one {PREDICTIONS}")
    from lambda_setup import viewer

    [path] = found
    maps: dict[int, list[np.ndarray[Any, Any]]] = {}
    for arrays in sorted(path.parent.glob("attention-*.npz")):
        maps |= attention(arrays)
    target = options.html or path.with_name("predictions.html")
    partial = target.with_name(f".{target.name}.partial")
    partial.write_text(viewer.page(path.parent.name, read(path), maps), encoding="utf-8")
    partial.replace(target)
    print(f"page         {target}")
    if options.open:
        webbrowser.open(target.resolve().as_uri())
    return 0


def show(path: Path, item: int, viewer: Any = None, event: Any = None) -> None:
    """Print a result as a table, and draw one item beside it.

    Args:
        path: a ``predictions.jsonl.gz``.
        item: which one to draw.
        viewer: has ``table(records)`` and may have ``picture(record, item, path)``.
        event: what was asked.

    """
    from rich.console import Console

    records = list(read(path))
    console = Console()
    table = viewer.table if viewer else translations if _translated(records) else fields
    console.print(table(records))
    console.print(f"predictions  {path}", soft_wrap=True)
    if not 0 <= item < len(records):
        console.print(f"there is no item {item}; choose another with --item")
        return
    if hasattr(viewer, "picture"):
        picture = path.parent / f"item-{item}.png"
        asked = event.get("data") if isinstance(event, dict) else None
        same = isinstance(asked, list) and len(asked) == len(records)
        viewer.picture(records[item], asked[item] if same and asked else None, picture)
        console.print(f"picture      {picture}", soft_wrap=True)
    for arrays in sorted(path.parent.glob("attention-*.npz")):
        console.print(f"attention    {arrays}", soft_wrap=True)
        maps = attention(arrays).get(item)
        if maps is None:
            console.print(f"item {item} has no attention; choose another with --item")
            continue
        picture = path.parent / f"attention-{item}.png"
        draw(records[item], maps, picture)
        console.print(f"picture      {picture}", soft_wrap=True)


def _viewer(function: functions.Function) -> Any:
    """Return the module by which a function's answers are shown, if it has one."""
    path = function.code / "show.py"
    spec = importlib.util.spec_from_file_location(f"show_{function.name}", path) if path.is_file() else None
    if spec is None or spec.loader is None:
        return None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _translated(records: list[dict[str, Any]]) -> bool:
    return all("hypotheses" in record for record in records)


def translations(records: list[dict[str, Any]]) -> "Table":
    """Return translations as a table."""
    from rich.table import Table
    from rich.text import Text

    table = Table("#", "source", "translations, the best first", "score")
    for record in records:
        first = (str(record["index"]), Text(record["source"]))
        for one in record["hypotheses"]:
            table.add_row(*first, Text(one["text"]), f"{one['score']:.3f}")
            first = ("", Text(""))
        table.add_section()
    return table


def fields(records: list[dict[str, Any]]) -> "Table":
    """Return any records as a table, a column a field."""
    from rich.table import Table
    from rich.text import Text

    names = list(dict.fromkeys(name for record in records for name in record))
    table = Table(*names)
    for record in records:
        values = (record.get(name, "") for name in names)
        table.add_row(
            *(Text(one if isinstance(one, str) else json.dumps(one, ensure_ascii=False)) for one in values)
        )
    return table


def read(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the records of a ``predictions.jsonl.gz`` in order."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def attention(path: Path) -> dict[int, list["np.ndarray[Any, Any]"]]:
    """Return the attention maps of an npz, by item, a map (target by source) a hypothesis."""
    import numpy as np

    with np.load(path, allow_pickle=False) as file:
        index, values = file["index"], file["values"]  # each look-up reads the whole array
    maps: dict[int, list[np.ndarray[Any, Any]]] = {}
    start = 0
    for item, _, rows, columns in index.tolist():
        end = start + rows * columns
        maps.setdefault(item, []).append(values[start:end].reshape(rows, columns))
        start = end
    return maps


def draw(record: dict[str, Any], maps: list["np.ndarray[Any, Any]"], path: Path) -> None:
    """Draw a picture of attention maps, a panel a hypothesis, target tokens down and source tokens across."""
    from matplotlib.figure import Figure

    source = record["source_tokens"]
    longest = max(len(one["tokens"]) for one in record["hypotheses"])
    width = max(3.2, 0.28 * len(source) + 1.4)
    figure = Figure(figsize=(width * len(maps), max(2.6, 0.26 * longest + 1.6)), layout="constrained")
    for panel, hypothesis, weights in zip(
        figure.subplots(1, len(maps), squeeze=False)[0], record["hypotheses"], maps, strict=True
    ):
        image = panel.imshow(weights, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        panel.set_xticks(range(len(source)), [_visible(token) for token in source], rotation=90)
        panel.set_yticks(
            range(len(hypothesis["tokens"])), [_visible(token) for token in hypothesis["tokens"]]
        )
        panel.set_xlabel("source tokens")
        panel.set_title(f"score {hypothesis['score']:.3f}", fontsize=10)
        panel.tick_params(labelsize=8)
    figure.axes[0].set_ylabel("target tokens")
    figure.colorbar(image, ax=figure.axes, label="attention")
    partial = path.with_name(f".{path.name}.partial")
    figure.savefig(partial, format="png", dpi=120)
    partial.rename(path)


def _visible(token: str) -> str:
    """Return a token without what matplotlib would read as markup."""
    return token.replace("$", r"\$")
