"""Requests: their fields, and a clear no to what does not fit."""

import hashlib
import json
from typing import Annotated, Any, Literal, TypeVar, get_type_hints

import msgspec
from msgspec import Meta, Struct

from lambda_inference.errors import BadRequest

ID_PATTERN = r"\A[A-Za-z0-9_-]{1,64}\Z"
"""What may name a result."""
MAX_NAME = 64
"""Characters of an unknown field's name that an error repeats."""


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

    def digest(self) -> str:
        """Return the sha256 of what decides the answer: every field but those of the delivery."""
        fields = {
            name: getattr(self, name)
            for name in self.__struct_fields__
            if name not in BaseRequest.__struct_fields__
        }
        canonical = msgspec.json.encode(fields, order="sorted")
        return hashlib.sha256(canonical).hexdigest()


R = TypeVar("R", bound=BaseRequest)


def parse(payload: Any, request_type: type[R]) -> R | BaseRequest:
    """Return the request that a payload makes, a plain ``BaseRequest`` for a warm-up.

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
    if payload.get("warmup") is True:  # what the model needs is then not needed
        base = {name: payload[name] for name in BaseRequest.__struct_fields__ if name in payload}
        return _convert(base, BaseRequest)
    return _convert(payload, request_type)


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


def _convert(payload: dict[str, Any], request_type: type[R]) -> R:
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
