"""Requests: their fields, and errors that name the field, the value and the type."""

import json
from typing import Annotated, Any, ClassVar, Literal, TypeVar, get_type_hints

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from lambda_inference._errors import BadRequest

ID_PATTERN = r"\A[A-Za-z0-9_-]{1,64}\Z"
"""Of a result's id."""
VERSION_PATTERN = r"\A[0-9a-f]{64}\Z"
"""Of a sha256, such as a model's version."""
MAX_NAME = 64
"""The most characters of an unknown field's name that an error repeats."""


class Source(Struct, forbid_unknown_fields=True, kw_only=True):
    """Lines of a corpus in S3, which take the place of ``data``.

    Attributes:
        key: the corpus, below ``inputs/`` of the result bucket.
        start: the byte at which the first line begins.
        end: the byte after the last line.
        sha256: of those bytes, for S3 to be checked against.
        format: ``text``, whose lines are items, or ``jsonl``, whose lines are JSON values; without it the key
            or the lines say it.

    """

    key: str
    start: Annotated[int, Meta(ge=0)]
    end: Annotated[int, Meta(ge=1)]
    sha256: Annotated[str, Meta(pattern=VERSION_PATTERN)] | None = None
    format: Literal["text", "jsonl"] | UnsetType = UNSET


class BaseRequest(Struct, forbid_unknown_fields=True, kw_only=True):
    """The fields of every fork's requests; a fork's ``Request`` adds its own.

    Annotate each field with a ``Meta(description=…)`` that completes the sentence "``field`` takes …":
    callers read it after a mistake.
    """

    content_types: ClassVar[tuple[str, ...]] = ()
    """Of HTTP bodies that ``from_body`` takes, such as ``image/png``; JSON is always taken."""

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

    arrays: Annotated[Literal["list", "base64"], Meta(description='one of "list" and "base64"')] = "list"

    @classmethod
    def item(cls, value: Any) -> Any:
        """Return the item of ``data`` that a JSON value in a line of a corpus stands for."""
        return value

    @classmethod
    def from_body(cls, data: bytes) -> dict[str, Any]:
        """Return the fields of the request that an HTTP body of one of ``content_types`` stands for."""
        raise NotImplementedError

    def digest(self) -> str:
        """Return the sha256 of all fields that decide the answer; those of the delivery do not count.

        Nor do fields that are ``UNSET``, so that a request keeps its digest when a release adds some.
        """
        return digest(
            {
                name: value
                for name in self.__struct_fields__
                if (value := getattr(self, name)) is not UNSET
                and (
                    name not in BaseRequest.__struct_fields__
                    or (name == "model_version" and self.model_version)
                )
            }
        )


def digest(fields: dict[str, Any]) -> str:
    """Return the sha256 of the canonical JSON of fields."""
    import hashlib

    return hashlib.sha256(msgspec.json.encode(fields, order="sorted")).hexdigest()


R = TypeVar("R", bound=BaseRequest)


def parse(payload: Any, request_type: type[R]) -> R | BaseRequest:
    """Convert a payload to a request.

    A warm-up, and a request with a ``source``, becomes a plain ``BaseRequest``.

    Raises:
        BadRequest: a field is invalid; the message names it, what it got and what it takes.

    """
    if not isinstance(payload, dict):
        raise BadRequest(f"a request is a JSON object; got {describe(payload)}")
    fields = request_type.__struct_fields__
    for name in payload:
        if name not in fields:
            safe_name = ascii(name)[1:-1][:MAX_NAME]
            raise BadRequest(
                f"'{safe_name}' is not a field of a request; the fields are {', '.join(fields)}",
                field=safe_name,
            )
    if payload.get("warmup") is True or payload.get("source") is not None:
        base = {name: payload[name] for name in BaseRequest.__struct_fields__ if name in payload}
        return convert(base, BaseRequest)
    return convert(payload, request_type)


def decode_json(text: str, field: str) -> Any:
    """Decode a JSON text strictly: NaN and Infinity are not JSON."""

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
    """Describe a JSON value without repeating a user's text."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case int():
            return str(value) if abs(value) < 10**18 else "a number of more than 18 digits"
        case float():
            return repr(value)
        case str():
            return f"a string of {len(value)} character{'s' * (len(value) != 1)}"
        case list():
            return f"a list of {len(value)} item{'s' * (len(value) != 1)}"
        case _:
            return "an object"


def convert(payload: dict[str, Any], request_type: type[R]) -> R:
    """Convert a payload whose field names are all known to a request of a type.

    Raises:
        BadRequest: a field is invalid; the message names it, what it got and what it takes.

    """
    try:
        return msgspec.convert(payload, request_type, strict=True)
    except msgspec.ValidationError as error:
        if isinstance(error.__cause__, BadRequest):  # raised by a Request's own __post_init__
            raise error.__cause__ from None
        raise _describe_mismatch(str(error), payload, request_type) from None
    except UnicodeEncodeError as error:  # a lone surrogate, where one of several words is expected
        for field, value in payload.items():
            if value == error.object:
                text = f"{field} takes {_find_description(field, request_type)}; got {describe(value)}"
                raise BadRequest(text, field=field) from None
        raise BadRequest("the request holds a lone surrogate, which is not Unicode text") from None


def _describe_mismatch(message: str, payload: dict[str, Any], request_type: type[BaseRequest]) -> BadRequest:
    """Turn msgspec's message into ours: the field, what it got, what it takes."""
    reason, _, path = message.partition(" - at `$")
    if not path:
        field = reason.partition("`")[2].partition("`")[0]  # "Object missing required field `data`"
        return BadRequest(
            f"{field} is missing; it takes {_find_description(field, request_type)}", field=field
        )
    field = path.rstrip("`").removeprefix(".")
    name = field.partition("[")[0].partition(".")[0]
    if "missing required field" in reason:
        field = f"{field}.{reason.partition('`')[2].rstrip('`')}"
        return BadRequest(
            f"{field} is missing; {name} takes {_find_description(name, request_type)}", field=field
        )
    subject = field if field == name else f"{field} does not fit: {name}"
    got = describe(_resolve_path(payload, field))
    return BadRequest(f"{subject} takes {_find_description(name, request_type)}; got {got}", field=field)


def _resolve_path(payload: Any, path: str) -> Any:
    """Return the value at a path like ``data[3]``, or the deepest one on the way there."""
    for step in path.replace("]", "").replace("[", ".").split("."):
        try:
            payload = payload[int(step)] if isinstance(payload, list) else payload[step]
        except (KeyError, ValueError, IndexError, TypeError):
            break
    return payload


def _find_description(field: str, request_type: type[BaseRequest]) -> str:
    """Return a field's description."""
    pending = [get_type_hints(request_type, include_extras=True).get(field)]
    while pending:
        hint = pending.pop(0)
        for meta in getattr(hint, "__metadata__", ()):
            if isinstance(meta, Meta) and meta.description:
                return meta.description
        pending.extend(getattr(hint, "__args__", ()))
    return "another value"
