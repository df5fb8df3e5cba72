"""Formats of corpora: lines of text, lines of JSON values, and JSON arrays, which become JSON lines."""

import io
import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import IO, Any

import msgspec

from lambda_inference._shards import JSON_SUFFIXES
from lambda_setup.errors import CommandError

_HEAD = 1 << 16  # bytes that decide, as far as they are whole lines
_TABLES = (".csv", ".tsv", ".xlsx", ".xls", ".ods", ".parquet")
_WAYS = (
    'write one text a line into a .txt, or one JSON value a line, such as {"text": "One sentence."}, into a '
    ".jsonl"
)


def open_content(content: Path | bytes) -> IO[bytes]:
    """Return a file's or a buffer's bytes as a stream."""
    return content.open("rb") if isinstance(content, Path) else io.BytesIO(content)


def recognize(name: str, opened: Callable[[], IO[bytes]], size: int, form: str | None) -> str | bytes:
    """Return a corpus's format, or the JSON lines of one that is a JSON array.

    Its suffix decides where it is one of JSON lines, whatever the case, and the content elsewhere: JSON
    objects are never taken for text.

    Args:
        name: of the file or object.
        opened: returns its bytes as a stream.
        size: of them.
        form: ``text`` or ``jsonl``, which the operator has chosen.

    Raises:
        CommandError: it is a table, or JSON of another form.

    """
    suffix = Path(name).suffix.lower()
    if form or suffix in JSON_SUFFIXES:
        return form or "jsonl"
    if suffix in _TABLES:
        raise CommandError(
            f"{name} is a table, and nothing says which column to take; {_WAYS}, or give --format text if "
            "each of its lines is a text"
        )
    with closing(opened()) as file:
        head = file.read(_HEAD).removeprefix(b"\xef\xbb\xbf")
        is_array = _compact(head).startswith((b"[{", b'["', b"[[") if suffix != ".json" else b"[")
        if is_array and (lines := _split_array(name, head, file)):
            return lines
    values = [_parse(line) for line in _whole_lines(head, size)]
    is_json = suffix == ".json"
    if values and all(isinstance(value, dict) for value in values):
        return "jsonl"
    if is_json and values and all(value is not None for value in values):
        return "jsonl"
    if is_json or (values and isinstance(values[0], dict)) or _compact(head).startswith((b'{"', b"[{")):
        raise CommandError(
            f"{name} begins like JSON, and is neither a JSON array nor one JSON value a line; {_WAYS}, or "
            "give --format text if each of its lines is a text"
        )
    return "text"


def _split_array(name: str, head: bytes, rest: IO[bytes]) -> bytes | None:
    """Return a JSON array's values as JSON lines, nothing where the content is not one."""
    data = head + rest.read()
    try:
        values = msgspec.json.decode(data, type=list[msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if not values:
        raise CommandError(f"{name} is an empty JSON array")
    return b"".join(msgspec.json.format(bytes(value), indent=-1) + b"\n" for value in values)


def _whole_lines(head: bytes, size: int) -> list[bytes]:
    """Return the first lines that are not blank and not cut."""
    lines = head.split(b"\n")
    if len(head) < size and len(lines) > 1:
        lines.pop()
    return [line for line in lines if line.strip()]


def _parse(line: bytes) -> Any:
    """Return a line's JSON value, None where it has none."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _compact(head: bytes) -> bytes:
    """Return the beginning without white space: an array or object may stand on several lines."""
    return b"".join(head[:200].split())
