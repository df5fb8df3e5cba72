"""``results``: predictions as people look at them."""

import argparse
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


def run(options: argparse.Namespace) -> int:
    """Show every result in a folder."""
    found = sorted(options.folder.rglob("predictions.jsonl.gz"))
    if not found:
        raise FileNotFoundError(
            f"there is no predictions.jsonl.gz below {options.folder}; save one with: python -m lambda_setup "
            f"invoke --event events/event.json --save {options.folder}"
        )
    for path in found:
        show(path, options.item)
    return 0


def show(path: Path, item: int) -> None:
    """Print a result as a table, and draw one item's attention beside it."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    records = list(read(path))
    table = Table("#", "source", "translations, the best first", "score")
    for record in records:
        first = (str(record["index"]), Text(record["source"]))
        for one in record["hypotheses"]:
            table.add_row(*first, Text(one["text"]), f"{one['score']:.3f}")
            first = ("", Text(""))
        table.add_section()
    console = Console()
    console.print(table)
    console.print(f"predictions  {path}", soft_wrap=True)
    for arrays in sorted(path.parent.glob("attention-*.npz")):
        console.print(f"attention    {arrays}", soft_wrap=True)
        maps = attention(arrays).get(item)
        if maps is None:
            console.print(f"item {item} has no attention; choose another with --item")
            continue
        picture = path.parent / f"attention-{item}.png"
        draw(records[item], maps, picture)
        console.print(f"picture      {picture}", soft_wrap=True)


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
