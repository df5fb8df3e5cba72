"""Requests whose ``data`` are texts: how many, how long, and in which forms.

A text function's request adds only its own fields::

    class Request(TextRequest, kw_only=True):
        language: Annotated[str, Meta(max_length=2, description="a language's code")] = "en"

For predictors of networks that take tokens: ``load_tokenizer``, ``plan_batches`` and ``pad_batch``.
"""

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import msgspec
from msgspec import Meta

from lambda_inference._errors import BadRequest, Unavailable
from lambda_inference._models import Model
from lambda_inference._requests import BaseRequest, decode_json, describe

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = [
    "MAX_CHARS", "MAX_ITEMS", "TextData", "TextRequest", "check_unicode", "load_tokenizer", "pad_batch",
    "plan_batches",
]  # fmt: skip

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

    content_types: ClassVar[tuple[str, ...]] = ("text/plain",)

    data: TextData

    def __post_init__(self) -> None:
        self.data = _parse_texts(self.data)

    @classmethod
    def item(cls, value: Any) -> Any:
        """Return the text of a JSON value in a line of a corpus: itself, or an object's ``text``."""
        return _extract_text(value)

    @classmethod
    def from_body(cls, data: bytes) -> dict[str, Any]:
        """Return the request for the lines of a text, as those of a corpus."""
        lines = data.decode("utf-8-sig").removesuffix("\n").split("\n")
        return {"data": [line.removesuffix("\r") for line in lines]}


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
        return msgspec.convert(value, _Texts)
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
            f"{field} holds a lone surrogate at character {error.start}, which is not Unicode text; send the "
            "character as a pair, or U+FFFD in its place",
            field=field,
        ) from None


def load_tokenizer(model: Model, longest: int, name: str = "tokenizer.json") -> "Tokenizer":
    """Load a model's tokenizer of the library tokenizers from memory; it cuts texts, and does not pad.

    Args:
        model: the model that has it.
        longest: tokens that a text is cut to, special ones included.
        name: of its file.

    Raises:
        Unavailable: the file is missing, or another one.

    """
    from tokenizers import Tokenizer

    data = bytes(model.only(name))
    try:
        tokenizer = Tokenizer.from_buffer(data)
    except Exception as error:  # the library raises bare ones
        raise Unavailable(
            f"{name} of model {model.manifest.name} cannot be read ({str(error)[:200]}); publish the file "
            "that transformers saved, or build the layer with a newer version of tokenizers"
        ) from error
    tokenizer.no_padding()
    tokenizer.enable_truncation(longest)
    return tokenizer


def plan_batches(lengths: Sequence[int], budget: int, most: int = 32) -> Iterator[list[int]]:
    """Yield batches of indices of texts of similar length, without texts of length 0.

    The longest come first, so that a request that exceeds the time or the memory fails early.

    Args:
        lengths: of the texts, in tokens.
        budget: tokens of a batch, padding included; a longer text is a batch of its own.
        most: texts of a batch.

    """
    batch: list[int] = []
    longest = 0
    for index in sorted((i for i, length in enumerate(lengths) if length), key=lambda i: -lengths[i]):
        if batch and (len(batch) == most or (len(batch) + 1) * longest > budget):
            yield batch
            batch = []
        longest = longest if batch else lengths[index]
        batch.append(index)
    if batch:
        yield batch


def pad_batch(rows: Sequence[Sequence[int]], fill: int = 0) -> tuple[list[list[int]], list[list[int]]]:
    """Return rows of tokens padded at their ends to the longest, and their masks: 1 a token, 0 a padding."""
    longest = max(map(len, rows), default=0)
    return (
        [[*row, *[fill] * (longest - len(row))] for row in rows],
        [[1] * len(row) + [0] * (longest - len(row)) for row in rows],
    )


def __getattr__(name: str) -> Any:
    from lambda_inference._deprecated import resolve

    statement = f"from {__name__} import TextRequest"
    return resolve(
        __name__, name, {"checked": (_parse_texts, statement), "text_of": (_extract_text, statement)}
    )
