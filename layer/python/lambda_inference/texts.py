"""Requests whose ``data`` are texts: how many, how long, and in which forms.

A text function's request adds only its own fields::

    class Request(TextRequest, kw_only=True):
        language: Annotated[str, Meta(max_length=2, description="a language's code")] = "en"
"""

import os
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from lambda_inference._errors import BadRequest
from lambda_inference._requests import BaseRequest, decode_json, describe

__all__ = ["MAX_CHARS", "MAX_ITEMS", "TextData", "TextRequest", "check_unicode"]

MAX_ITEMS = int(os.environ.get("MAX_ITEMS", "10000"))
MAX_CHARS = int(os.environ.get("MAX_CHARS", "10000"))

_TAKES = (
    f"a list of 1 to {MAX_ITEMS:,} strings of at most {MAX_CHARS:,} characters each, such as "
    '["One sentence.", "Another."], or a JSON string of such a list'
)

_Texts = Annotated[list[Annotated[str, Meta(max_length=MAX_CHARS)]], Meta(min_length=1, max_length=MAX_ITEMS)]
TextData = Annotated[_Texts | str, Meta(description=_TAKES)]


class TextRequest(BaseRequest, kw_only=True):
    """A request whose ``data`` are texts; a list of them once it is constructed.

    A ``__post_init__`` of your own calls ``super().__post_init__()``.
    """

    data: TextData

    def __post_init__(self) -> None:
        self.data = _parse_texts(self.data)

    @classmethod
    def item(cls, value: Any) -> Any:
        """Return the text of a JSON value in a line of a corpus: itself, or an object's ``text``."""
        return _extract_text(value)


def _extract_text(value: Any) -> Any:
    return value["text"] if isinstance(value, dict) and "text" in value else value


def _parse_texts(data: list[str] | str) -> list[str]:
    """Return the texts of a request's ``data``, which may be a JSON string of them.

    Raises:
        BadRequest: the string holds something else, or a text holds a lone surrogate.

    """
    texts = _decode_texts(data) if isinstance(data, str) else data
    for index, text in enumerate(texts):
        if not text.isascii():
            check_unicode(text, f"data[{index}]")
    return texts


def _decode_texts(data: str) -> list[str]:
    try:
        value = decode_json(data, "it")
    except BadRequest as error:
        raise BadRequest(f"data takes {_TAKES}; got a string: {error.message}", field="data") from None
    try:
        return msgspec.convert(value, _Texts, strict=True)
    except msgspec.ValidationError as error:
        path = str(error).partition(" - at `$")[2].rstrip("`")
        field = f"data{path}"
        number = path.strip("[]")
        got = describe(value[int(number)] if number else value)
        raise BadRequest(
            f"{field} does not fit: data takes {_TAKES}; got {got} in a JSON string", field=field
        ) from None


def check_unicode(text: str, field: str) -> None:
    """Raise BadRequest if a field's text holds a lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadRequest(
            f"{field} holds a lone surrogate at character {error.start}, which is no Unicode text; send the "
            "character as a pair, or U+FFFD in its place",
            field=field,
        ) from None


def __getattr__(name: str) -> Any:
    from lambda_inference._deprecated import resolve

    statement = f"from {__name__} import TextRequest"
    return resolve(
        __name__, name, {"checked": (_parse_texts, statement), "text_of": (_extract_text, statement)}
    )
