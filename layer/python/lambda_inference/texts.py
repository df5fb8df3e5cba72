"""Requests whose ``data`` are texts: how many, how long, and how a caller may write them.

::

    class Request(BaseRequest, kw_only=True):
        data: TextData

        def __post_init__(self):
            self.data = checked(self.data)

        @classmethod
        def item(cls, value):
            return text_of(value)
"""

import os
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from lambda_inference.errors import BadRequest
from lambda_inference.requests import decode_json, describe

MAX_ITEMS = int(os.environ.get("MAX_ITEMS", "10000"))
MAX_CHARS = int(os.environ.get("MAX_CHARS", "10000"))

_TAKES = f"a list of 1 to {MAX_ITEMS:,} strings of at most {MAX_CHARS:,} characters each"

Texts = Annotated[list[Annotated[str, Meta(max_length=MAX_CHARS)]], Meta(min_length=1, max_length=MAX_ITEMS)]
TextData = Annotated[Texts | str, Meta(description=f"{_TAKES}, or a JSON string of such a list")]


def text_of(value: Any) -> Any:
    """Return the text that a JSON value in a line of a corpus stands for: itself, or an object's ``text``."""
    return value["text"] if isinstance(value, dict) and "text" in value else value


def checked(data: list[str] | str) -> list[str]:
    """Return the texts of a request's ``data``, which may be a JSON string of them.

    Raises:
        BadRequest: the string holds something else, or a text holds half of a character.

    """
    texts = _parsed(data) if isinstance(data, str) else data
    for index, text in enumerate(texts):
        if not text.isascii():
            _check_unicode(text, f"data[{index}]")
    return texts


def _parsed(data: str) -> list[str]:
    value = decode_json(data, "data")
    try:
        return msgspec.convert(value, Texts, strict=True)
    except msgspec.ValidationError as error:
        path = str(error).partition(" - at `$")[2].rstrip("`")
        place = f"data{path}"
        number = path.strip("[]")
        got = describe(value[int(number)] if number else value)
        raise BadRequest(
            f"{place} does not fit: data takes {_TAKES}, here as a JSON string; got {got}", field=place
        ) from None


def _check_unicode(text: str, field: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadRequest(
            f"{field} holds a lone surrogate at character {error.start}, which is no Unicode text; send the "
            "character as a pair, or U+FFFD in its place",
            field=field,
        ) from None
