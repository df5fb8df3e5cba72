"""Results as one page that needs nothing else: no server, no network, no other file.

Items lie in the page as gzipped blocks, and a block is unpacked when one of its items is opened; so a page of
thousands of items opens as fast as one of ten. A content-security policy lets run and look like what is
hashed here, and nothing be fetched from anywhere.
"""

import base64
import gzip
import hashlib
import html
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

BLOCK = 100
"""Items that are unpacked together."""
LISTED = 160
"""Characters of an item that the list has; the search has all."""

_HERE = Path(__file__).parent


def page(title: str, records: Iterable[Mapping[str, Any]], maps: Mapping[int, Sequence[Any]]) -> str:
    """Return a page of HTML.

    Args:
        title: of the page.
        records: the predictions, in their order.
        maps: float32 attention maps, target by source tokens, by item, one a hypothesis.

    """
    index, blocks = [], []
    for number, block in enumerate(_blocks(iter(records))):
        shown = []
        for place, record in enumerate(block, number * BLOCK):
            text = _text(record)
            index.append([text[:LISTED], text])
            shown.append(_with_maps(record, maps.get(place, ())))
        blocks.append(_packed(f"block-{number}", shown))
    script, style = ((_HERE / name).read_text(encoding="utf-8") for name in ("viewer.js", "style.css"))
    policy = f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; base-uri 'none'; "
    return (_HERE / "page.html").read_text(encoding="utf-8").format(
        title=html.escape(title),
        policy=html.escape(f"{policy}form-action 'none'"),
        style=style,
        script=script,
        data="\n".join([_packed("index", {"index": index, "size": BLOCK}), *blocks]),
    )  # fmt: skip


def _blocks(records: Iterator[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    while block := list(islice(records, BLOCK)):
        yield block


def _text(record: Mapping[str, Any]) -> str:
    """Return what an item is found by: its source and translations, or all of its strings."""
    if "hypotheses" in record:
        return "\n".join([record["source"], *(one["text"] for one in record["hypotheses"])])
    return "\n".join(_strings({key: value for key, value in record.items() if key != "index"}))


def _strings(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for one in value.values():
                yield from _strings(one)
        case list():
            for one in value:
                yield from _strings(one)


def _with_maps(record: Mapping[str, Any], maps: Sequence[Any]) -> dict[str, Any]:
    """Return a translation with its maps, as 16-bit parts of 1 in base64."""
    shown = dict(record)
    if maps:
        shown["hypotheses"] = [
            {**one, "weights": base64.b64encode((weights * 65535).round().astype("<u2").tobytes()).decode()}
            for one, weights in zip(record["hypotheses"], maps, strict=True)
        ]
    return shown


def _packed(name: str, value: Any) -> str:
    """Return a value as an element that holds it: base64 has no character that HTML would read."""
    data = gzip.compress(json.dumps(value, ensure_ascii=False).encode(), mtime=0)
    return f'<script type="application/gzip" id="{name}">{base64.b64encode(data).decode()}</script>'


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
