"""Results as one page that needs nothing else: no server, no network, no other file.

Items lie in the page as gzipped blocks, and a block is unpacked when one of its items is opened; so a page of
thousands of items opens as fast as one of ten. The content-security policy allows only the script and the
style sheet that are hashed here, and no network access. The playground's page is the same one, with a form,
and may call its own server.
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
from types import ModuleType
from typing import TYPE_CHECKING, Any

from lambda_setup.viewer.result import describe_arrays, is_error

if TYPE_CHECKING:
    from lambda_setup.viewer.result import Arrays

BLOCK = 100
"""Items that are unpacked together."""

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class PackedItems:
    """Items as the page takes them: JSON, gzipped, in base64; the index says what the blocks hold."""

    index: str  # the items in a block, and each item's label, search text, and whether it is an error
    blocks: list[str]


def page_items(
    records: Iterable[dict[str, Any]], arrays: "Mapping[int, Arrays]", show: ModuleType
) -> Iterator[dict[str, Any]]:
    """Yield records or errors as the page shows them; ``arrays`` has their arrays by position and kind."""
    for number, record in enumerate(records):
        own = arrays.get(number, {})
        prepared = hasattr(show, "page_item") and not is_error(record)
        yield show.page_item(record, own) if prepared else record | describe_arrays(own)


def pack_items(items: Iterable[Mapping[str, Any]]) -> PackedItems:
    """Return items, see ``page_items``, as the page takes them."""
    index, blocks = [], []
    for number, block in enumerate(_blocks(iter(items))):
        for place, item in enumerate(block, number * BLOCK):
            index.append([str(item.get("index", place)), _search_text(item), is_error(item)])
        blocks.append(_pack(block))
    return PackedItems(_pack({"size": BLOCK, "items": index}), blocks)


def build_page(title: str, items: Iterable[Mapping[str, Any]], facts: Sequence[str] = ()) -> str:
    """Return a page of HTML that holds items, see ``page_items``, with facts below its title."""
    data = pack_items(items)
    blocks = {f"block-{number}": block for number, block in enumerate(data.blocks)}
    return _fill_page(title, facts, ["viewer.js"], {"index": data.index} | blocks)[0]


def build_playground(title: str, facts: Sequence[str], form: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """Return a page of HTML that asks its server for items, and the policy that the server is to send."""
    scripts = ["viewer.js", "playground.js"]
    return _fill_page(title, facts, scripts, {"form": _pack(form)}, "connect-src 'self'")


def _fill_page(
    title: str, facts: Sequence[str], scripts: Sequence[str], data: Mapping[str, str], *allowed: str
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
        about=" · ".join(f"<bdi>{html.escape(fact)}</bdi>" for fact in facts),
        policy=html.escape(policy),
        style=style,
        script=script,
        data="\n".join(
            f'<script type="application/gzip" id="{name}">{value}</script>' for name, value in data.items()
        ),
    )  # fmt: skip
    return filled, f"{policy}; frame-ancestors 'none'"


def _blocks(records: Iterator[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    while block := list(islice(records, BLOCK)):
        yield block


def _search_text(item: Mapping[str, Any]) -> str:
    """Return the texts that an item is found by, a text a line."""
    if is_error(item):
        texts = [f"Failed: {item['error']['code']}", item["error"]["message"], item.get("source", "")]
    elif "panels" in item:
        texts = [item["source"], *(panel["text"] for panel in item["panels"])]
    else:
        texts = list(_strings({key: value for key, value in item.items() if key != "index"}))
    return "\n".join(" ".join(text.split()) for text in texts)


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


def _pack(value: Any) -> str:
    """Return a value as gzipped JSON in base64, in which HTML sees no markup."""
    data = gzip.compress(json.dumps(value, ensure_ascii=False).encode(errors="surrogatepass"), mtime=0)
    return base64.b64encode(data).decode()


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
