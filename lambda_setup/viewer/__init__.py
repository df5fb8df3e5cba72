"""Results as one page that needs nothing else: no server, no network, no other file.

Items lie in the page as gzipped blocks, and a block is unpacked when one of its items is opened; so a page of
thousands of items opens as fast as one of ten. A content-security policy lets run and look like what is
hashed here, and nothing be fetched from anywhere. The playground's page is the same one, with a form, and
fetches from its own server alone.
"""

import base64
import gzip
import hashlib
import html
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

BLOCK = 100
"""Items that are unpacked together."""

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Packed:
    """Items as the page takes them: JSON, gzipped, in base64.

    Attributes:
        index: how many items a block has, and of each item its label, what it is found by, and whether it
            failed.
        blocks: the items.

    """

    index: str
    blocks: list[str]


def packed(records: Iterable[Mapping[str, Any]], maps: Mapping[int, Sequence[Any]]) -> Packed:
    """Return items as the page takes them.

    Args:
        records: the predictions in their order, or the errors in their places.
        maps: float32 attention maps, target by source tokens, by item, one a hypothesis.

    """
    items, blocks = [], []
    for number, block in enumerate(_blocks(iter(records))):
        shown = []
        for place, record in enumerate(block, number * BLOCK):
            items.append([str(record.get("index", place)), _text(record), failed(record)])
            shown.append(_with_maps(record, maps.get(place, ())))
        blocks.append(_packed(shown))
    return Packed(_packed({"size": BLOCK, "items": items}), blocks)


def page(
    title: str,
    records: Iterable[Mapping[str, Any]],
    maps: Mapping[int, Sequence[Any]],
    about: Sequence[str] = (),
) -> str:
    """Return a page of HTML that holds items.

    Args:
        title: of the page.
        records: see ``packed``.
        maps: see ``packed``.
        about: facts that stand below the title.

    """
    data = packed(records, maps)
    blocks = {f"block-{number}": block for number, block in enumerate(data.blocks)}
    return _page(title, about, ["viewer.js"], {"index": data.index} | blocks)[0]


def playground(title: str, about: Sequence[str], form: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """Return a page of HTML that asks its server for items, and the policy that the server is to send.

    Args:
        title: of the page.
        about: facts that stand below the title.
        form: the fields of a request, see ``lambda_setup.commands.playground``.

    """
    return _page(title, about, ["viewer.js", "playground.js"], {"form": _packed(form)}, "connect-src 'self'")


def failed(record: Mapping[str, Any]) -> bool:
    """Return whether an item is an error in the place of a prediction."""
    error = record.get("error")
    return isinstance(error, dict) and "code" in error and "message" in error


def _page(
    title: str, about: Sequence[str], scripts: Sequence[str], data: Mapping[str, str], *allowed: str
) -> tuple[str, str]:
    script = "".join((_HERE / name).read_text(encoding="utf-8") for name in scripts)
    style = (_HERE / "style.css").read_text(encoding="utf-8")
    policy = "; ".join(
        (
            "default-src 'none'",
            f"script-src {_hash(script)}",
            f"style-src {_hash(style)}",
            "img-src data:",  # the icon that browsers would ask the server for
            *allowed,
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )
    filled = (_HERE / "page.html").read_text(encoding="utf-8").format(
        title=html.escape(title),
        about=" · ".join(f"<bdi>{html.escape(fact)}</bdi>" for fact in about),
        policy=html.escape(policy),
        style=style,
        script=script,
        data="\n".join(_element(name, value) for name, value in data.items()),
    )  # fmt: skip
    return filled, f"{policy}; frame-ancestors 'none'"


def _blocks(records: Iterator[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    while block := list(islice(records, BLOCK)):
        yield block


def _text(record: Mapping[str, Any]) -> str:
    """Return what an item is found by, a text a line: error, source and translations, or all strings."""
    if failed(record):
        found = [f"Failed: {record['error']['code']}", record["error"]["message"], record.get("source", "")]
    elif "hypotheses" in record:
        found = [record["source"], *(one["text"] for one in record["hypotheses"])]
    else:
        found = list(_strings({key: value for key, value in record.items() if key != "index"}))
    return "\n".join(" ".join(text.split()) for text in found)


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


def _packed(value: Any) -> str:
    """Return a value in characters of which HTML reads none."""
    data = gzip.compress(json.dumps(value, ensure_ascii=False).encode(errors="surrogatepass"), mtime=0)
    return base64.b64encode(data).decode()


def _element(name: str, value: str) -> str:
    return f'<script type="application/gzip" id="{name}">{value}</script>'


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
