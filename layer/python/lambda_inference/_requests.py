"""Requests: their fields, and a clear no to what does not fit."""

import hashlib
import json
from typing import Annotated, Any, Literal, TypeVar, get_type_hints

import msgspec
from msgspec import Meta, Struct

from lambda_inference._errors import BadRequest

ID_PATTERN = r"\A[A-Za-z0-9_-]{1,64}\Z"
"""What may name a result."""
VERSION_PATTERN = r"\A[0-9a-f]{64}\Z"
"""A sha256, which is also what versions of models are called."""
MAX_NAME = 64
"""Characters of an unknown field's name that an error repeats."""


class Source(Struct, forbid_unknown_fields=True, kw_only=True):
    """Lines of a corpus in S3, which take the place of ``data``.

    Attributes:
        key: the corpus, below ``inputs/`` of the result bucket; a line of a ``.jsonl`` is a JSON value.
        start: the byte at which the first line begins.
        end: the byte after the last line.
        sha256: of those bytes, for S3 to be checked against.

    """

    key: str
    start: Annotated[int, Meta(ge=0)]
    end: Annotated[int, Meta(ge=1)]
    sha256: Annotated[str, Meta(pattern=VERSION_PATTERN)] | None = None


class BaseRequest(Struct, forbid_unknown_fields=True, kw_only=True):
    """The fields of every fork's requests; a fork's ``Request`` adds its own.

    Each field is annotated with ``Meta(description=…)`` that completes the sentence
    "``field`` takes …"; the description is what a caller reads after a mistake.
    """

    warmup: Annotated[bool, Meta(description="true or false")] = False
    result: Annotated[
        Literal["s3", "inline", "auto"], Meta(description='one of "s3", "inline" and "auto"')
    ] = "s3"
    id: (
        Annotated[
            str,
            Meta(
                pattern=ID_PATTERN,
                description="a string of 1 to 64 of the characters A-Z, a-z, 0-9, _ and -",
            ),
        ]
        | None
    ) = None
    errors: Annotated[Literal["return", "raise"], Meta(description='one of "return" and "raise"')] = "return"
    model_version: (
        Annotated[
            str,
            Meta(pattern=VERSION_PATTERN, description="a version of the model: 64 characters, 0-9 and a-f"),
        ]
        | None
    ) = None
    source: (
        Annotated[
            Source,
            Meta(description='an object {"key": …, "start": …, "end": …}: lines of a corpus, by their bytes'),
        ]
        | None
    ) = None

    @classmethod
    def item(cls, value: Any) -> Any:
        """Return the item of ``data`` that a JSON value in a line of a corpus stands for."""
        return value

    def digest(self) -> str:
        """Return the sha256 of what decides the answer: every field but those of the delivery."""
        return digest(
            {
                name: getattr(self, name)
                for name in self.__struct_fields__
                if name not in BaseRequest.__struct_fields__
                or (name == "model_version" and self.model_version)
            }
        )


def digest(fields: dict[str, Any]) -> str:
    """Return the sha256 of the canonical JSON of fields."""
    return hashlib.sha256(msgspec.json.encode(fields, order="sorted")).hexdigest()


R = TypeVar("R", bound=BaseRequest)


def parse(payload: Any, request_type: type[R]) -> R | BaseRequest:
    """Return the request that a payload makes.

    For a warm-up, and for a ``source`` whose lines are still to be read, it is a plain ``BaseRequest``.

    Raises:
        BadRequest: naming the field, what it got and what it takes.

    """
    if not isinstance(payload, dict):
        raise BadRequest(f"a request is a JSON object; got {describe(payload)}")
    fields = request_type.__struct_fields__
    for name in payload:
        if name not in fields:
            shown = ascii(name)[1:-1][:MAX_NAME]
            raise BadRequest(
                f"'{shown}' is no field of a request; the fields are {', '.join(fields)}", field=shown
            )
    if payload.get("warmup") is True or payload.get("source") is not None:
        base = {name: payload[name] for name in BaseRequest.__struct_fields__ if name in payload}
        return convert(base, BaseRequest)
    return convert(payload, request_type)


def decode_json(text: str, field: str) -> Any:
    """Return what a JSON text says, refusing what JSON itself does not have (NaN, Infinity)."""

    def refuse(constant: str) -> None:
        raise BadRequest(f"{field} holds {constant}, which is not JSON", field=field)

    try:
        return json.loads(text, parse_constant=refuse)
    except json.JSONDecodeError as error:
        raise BadRequest(
            f"{field} is not JSON: {error.msg} at line {error.lineno}, column {error.colno}", field=field
        ) from None
    except BadRequest:
        raise
    except ValueError:  # Python reads no integer of more than 4,300 digits
        raise BadRequest(f"{field} holds a number that is too long", field=field) from None
    except RecursionError:
        raise BadRequest(f"{field} is nested too deeply", field=field) from None


def describe(value: Any) -> str:  # noqa: PLR0911 - one kind of value a line
    """Say what a JSON value is without repeating a user's text."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case int():
            return str(value) if abs(value) < 10**18 else "a very large number"
        case float():
            return repr(value)
        case str():
            return f"a string of {len(value)} character{'s' * (len(value) != 1)}"
        case list():
            return f"a list of {len(value)} item{'s' * (len(value) != 1)}"
        case _:
            return "an object"


def convert(payload: dict[str, Any], request_type: type[R]) -> R:
    """Return the request of a type that a payload makes, whose names are all known.

    Raises:
        BadRequest: naming the field, what it got and what it takes.

    """
    try:
        return msgspec.convert(payload, request_type, strict=True)
    except msgspec.ValidationError as error:
        if isinstance(error.__cause__, BadRequest):  # raised by a Request's own __post_init__
            raise error.__cause__ from None
        raise _explained(str(error), payload, request_type) from None
    except UnicodeEncodeError as error:  # a lone surrogate, where one of several words is expected
        for field, value in payload.items():
            if value == error.object:
                text = f"{field} takes {_takes(field, request_type)}; got {describe(value)}"
                raise BadRequest(text, field=field) from None
        raise BadRequest("the request holds a lone surrogate, which is no Unicode text") from None


def _explained(message: str, payload: dict[str, Any], request_type: type[BaseRequest]) -> BadRequest:
    """Turn msgspec's message into ours: the field, what it got, what it takes."""
    reason, _, path = message.partition(" - at `$")
    if not path:
        field = reason.partition("`")[2].partition("`")[0]  # "Object missing required field `data`"
        return BadRequest(f"{field} is missing; it takes {_takes(field, request_type)}", field=field)
    field = path.rstrip("`").removeprefix(".")
    name = field.partition("[")[0].partition(".")[0]
    if "missing required field" in reason:
        field = f"{field}.{reason.partition('`')[2].rstrip('`')}"
        return BadRequest(f"{field} is missing; {name} takes {_takes(name, request_type)}", field=field)
    return BadRequest(
        f"{field} takes {_takes(name, request_type)}; got {describe(_at(payload, field))}"
        if field == name
        else f"{field} does not fit: {name} takes {_takes(name, request_type)}; "
        f"got {describe(_at(payload, field))}",
        field=field,
    )


def _at(payload: Any, path: str) -> Any:
    """Return the value at a path like ``data[3]``, or the deepest one on the way there."""
    for step in path.replace("]", "").replace("[", ".").split("."):
        try:
            payload = payload[int(step)] if isinstance(payload, list) else payload[step]
        except (KeyError, ValueError, IndexError, TypeError):
            break
    return payload


def _takes(field: str, request_type: type[BaseRequest]) -> str:
    """Return a field's description."""
    pending = [get_type_hints(request_type, include_extras=True).get(field)]
    while pending:
        hint = pending.pop(0)
        for meta in getattr(hint, "__metadata__", ()):
            if isinstance(meta, Meta) and meta.description:
                return meta.description
        pending.extend(getattr(hint, "__args__", ()))
    return "another value"
