"""The pages of requests, decoding and model.toml: what the code says of a name, beside what the name means.

A text in ``texts/`` has tables of two columns, names and meanings. The code has the other columns: what a
field takes, its default, the status of an error. A name that either of the two lacks is an error.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import NODEFAULT, inspect

from bench.table import escape
from lambda_inference._errors import Fault
from lambda_inference._requests import BaseRequest, Source
from lambda_inference.texts import TextRequest
from lambda_setup import functions
from lambda_setup.models import describe, download

REQUESTS = "docs/reference/requests.md"
DECODING = "docs/reference/decoding.md"
MODEL = "docs/reference/model_toml.md"
_TEXTS = Path(__file__).parent / "texts"
_TABLE = re.compile(
    r"^\| (field|code|key) \| (\w+) \|\n\|---\|---\|\n((?:\| `\w+` \| .* \|\n)+)", re.MULTILINE
)
_HEADS = {"field": "field | takes | default", "key": "key | takes | default", "code": "status | code"}

Cells = Mapping[str, Sequence[str]]
"""The cells before a meaning, by the name that they are about."""


def make_pages() -> dict[str, str]:
    """Return the text of each page by its path."""
    translator: Any = functions.load_module(functions.get("translation"), "translator")
    decoding = _list_names(translator.DecodingRequest) - _list_names(TextRequest)
    whose = _list_names(translator.TranslationRequest) - decoding - _list_names(BaseRequest)
    defaults = {one.name: one.default for one in msgspec.structs.fields(translator.Decoding)}
    return {
        path: fill_tables(path, (_TEXTS / Path(path).name).read_text(encoding="utf-8"), tables)
        for path, tables in {
            REQUESTS: [
                {"data": ("`data`", "what the function answers", "required")} | describe_fields(BaseRequest),
                describe_fields(Source),
                describe_fields(translator.TranslationRequest, whose),
                describe_errors(),
            ],
            DECODING: [describe_fields(translator.DecodingRequest, decoding, defaults)],
            MODEL: [
                describe_fields(describe.Description) | describe_fields(download.Description, {"sha256"}),
                describe_fields(describe.Smoke),
            ],
        }.items()
    }


def fill_tables(path: str, text: str, tables: Iterable[Cells]) -> str:
    """Return a page's text, whose tables of two columns have got the code's, one after the other.

    ValueError if a table has another name than the code, or lacks one.
    """
    rest = iter(tables)

    def fill(match: re.Match[str]) -> str:
        kind, meaning, rows = match.groups()
        cells = next(rest)
        meanings = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", rows, re.MULTILINE))
        if different := meanings.keys() ^ cells.keys():
            raise ValueError(
                f"{path}: {', '.join(sorted(different))} stands in the page's text or in the code alone; "
                f"write tools/pages/texts/{Path(path).name} as the code is"
            )
        heads = f"| {_HEADS[kind]} | {meaning} |\n|{'---|' * (_HEADS[kind].count('|') + 2)}\n"
        return heads + "".join(
            f"| {' | '.join(map(escape, cells[name]))} | {meanings[name]} |\n" for name in meanings
        )

    filled = _TABLE.sub(fill, text)
    if next(rest, None) is not None:
        raise ValueError(f"{path} lacks a table; put it back into tools/pages/texts/{Path(path).name}")
    return filled


def describe_fields(
    struct: type[msgspec.Struct], names: Iterable[str] = (), defaults: Mapping[str, Any] | None = None
) -> Cells:
    """Return what the fields of a struct take, and their defaults: of some names, or of all."""
    wanted = set(names) or _list_names(struct)
    values = defaults or {}
    info: Any = inspect.type_info(struct)
    return {
        one.name: (
            f"`{one.name}`",
            describe_type(one.type),
            "required" if one.required else _describe_default(values.get(one.name, one.default)),
        )
        for one in info.fields
        if one.name in wanted
    }


def describe_type(kind: inspect.Type) -> str:  # noqa: PLR0911 - one kind of type a line
    """Return what a field of a type takes: its description, or else its type in words."""
    match kind:
        case inspect.Metadata():
            return str((kind.extra_json_schema or {}).get("description") or describe_type(kind.type))
        case inspect.UnionType():
            return " or ".join(
                describe_type(one) for one in kind.types if not isinstance(one, inspect.NoneType)
            )
        case inspect.LiteralType():
            return " or ".join(f'"{value}"' for value in sorted(kind.values, key=str))
        case inspect.StrType():
            pattern = re.sub(r"^\\A|^\^|\\Z$|\$$", "", kind.pattern or "")
            return f"a string, `{pattern}`" if pattern else "a string"
        case inspect.IntType():
            return f"an integer from {kind.ge} on" if kind.ge is not None else "an integer"
        case inspect.ListType(item_type=inspect.StrType()):
            return "a list of strings"
        case inspect.ListType():
            return "a list"
        case inspect.DictType(value_type=inspect.StrType()):
            return "a table of strings"
    return "a table"


def describe_errors() -> Cells:
    """Return the status of each error that a caller can get, by its code, in the order of the statuses."""
    package = BaseRequest.__module__.partition(".")[0]
    faults = {(one.status, one.code) for one in _walk(Fault) if one.__module__.startswith(f"{package}.")}
    return {code: (str(status), f"`{code}`") for status, code in sorted(faults)}


def _walk(kind: type[Fault]) -> Iterator[type[Fault]]:
    for below in kind.__subclasses__():
        yield below
        yield from _walk(below)


def _list_names(struct: type[msgspec.Struct]) -> set[str]:
    return set(struct.__struct_fields__)


def _describe_default(value: Any) -> str:
    return "none" if value is None or value is NODEFAULT else f"`{json.dumps(value)}`"
