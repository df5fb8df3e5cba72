"""Bodies of HTTP requests: a request as JSON, or bytes of a content type that the function declares."""

import base64
import json
import re
from typing import Any

from lambda_inference._errors import BadRequest
from lambda_inference._requests import BaseRequest, decode_json

_SHOWN = r"(application|audio|font|image|message|model|multipart|text|video)/[\w.+-]{1,64}"
"""Types that an error repeats; those of JSON, and that of curl's -d, say nothing of the body."""
_UNTOLD = ("application/json", "application/x-www-form-urlencoded")

_AS_TEXT = (
    "the API has turned a body of type {0} into text, which damages it; add {0} to the API's binary media "
    "types, or POST JSON with the bytes as base64"
)


def decode_body(event: dict[str, Any], request_type: type[BaseRequest]) -> Any:
    """Return the payload in an HTTP event's body.

    Bytes of a type that the request type declares become the request that they stand for, whose result comes
    back in the response where it fits. A JSON object is the request itself, whatever its type says.

    Raises:
        BadRequest: there is no body, or the function takes none of its type; the message says what it takes.

    """
    body, encoded, kind = event.get("body"), bool(event.get("isBase64Encoded")), _find_content_type(event)
    if not body:
        raise BadRequest("the HTTP request has no body; POST a JSON object", field="body")
    if not isinstance(body, str):
        raise BadRequest("the HTTP event's body is not a string", field="body")
    if kind in request_type.content_types:
        data = _decode_base64(body) if encoded else body.encode(errors="surrogatepass")
        if not _is_json(data):
            if not encoded and not kind.startswith("text/"):
                raise BadRequest(_AS_TEXT.format(kind), field="body")
            return {"result": "auto", **_convert(data, request_type)}
    try:
        if encoded:
            body = _decode_text(_decode_base64(body))
        return decode_json(body, "body")
    except BadRequest as error:
        if not re.fullmatch(_SHOWN, kind) or kind in _UNTOLD:
            raise
        taken = ", or ".join(["POST JSON, bytes as base64 in a field", *request_type.content_types])
        raise BadRequest(
            f"{error.message}; a body of type {kind} is not taken: {taken}", field=error.field
        ) from None


def _find_content_type(event: dict[str, Any]) -> str:
    """Return the type in an event's headers, in small letters and without parameters, or an empty text."""
    headers = event.get("headers")
    names = headers.items() if isinstance(headers, dict) else ()
    types = [str(value) for name, value in names if name.lower() == "content-type"]
    return types[0].partition(";")[0].strip().lower() if types else ""


def _decode_base64(body: str) -> bytes:
    try:
        return base64.b64decode(body, validate=True)
    except ValueError:  # not base64, or not even ASCII
        raise BadRequest("body is marked as base64 and is not", field="body") from None


def _decode_text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise BadRequest("body is not UTF-8", field="body") from None


def _is_json(data: bytes) -> bool:
    """Return whether bytes are a JSON object or list."""
    if not data.lstrip().startswith((b"{", b"[")):
        return False
    try:
        json.loads(data)
    except (ValueError, RecursionError):
        return False
    return True


def _convert(data: bytes, request_type: type[BaseRequest]) -> dict[str, Any]:
    """Return the fields of the request that bytes stand for."""
    try:
        return request_type.from_body(data)
    except UnicodeDecodeError:
        raise BadRequest("body is not UTF-8", field="body") from None
