"""Bodies of HTTP requests: JSON, types that a function declares, and what the others are told."""

import base64
import json
from typing import Any, ClassVar

import pytest

from lambda_inference import BadRequest, BaseRequest
from lambda_inference._events import parse_event
from lambda_inference.texts import TextRequest

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))


class ImageRequest(BaseRequest, kw_only=True):
    """One image, as base64."""

    content_types: ClassVar[tuple[str, ...]] = ("image/png", "image/jpeg")
    data: str

    @classmethod
    def from_body(cls, data: bytes) -> dict[str, Any]:
        """Return the request for an image."""
        return {"data": base64.b64encode(data).decode()}


def send(body, kind, request_type=BaseRequest, name="Content-Type"):
    """Return the payload of a body, bytes in base64 as a function URL delivers them."""
    encoded = isinstance(body, bytes)
    event = {
        "requestContext": {"http": {"method": "POST"}},
        "headers": {"Host": "example.com", name: kind},
        "body": base64.b64encode(body).decode() if encoded else body,
        "isBase64Encoded": encoded,
    }
    [call], _ = parse_event(event, request_type)
    return call.payload()


@pytest.mark.parametrize("kind", ["image/png", "Image/PNG", "image/jpeg; name=a"])
@pytest.mark.parametrize("name", ["content-type", "Content-Type"])
def test_a_declared_type_is_the_request_that_it_stands_for(kind, name):
    """Bytes arrive as they are, and the answer comes back in the response."""
    assert send(PNG, kind, ImageRequest, name) == {"result": "auto", "data": base64.b64encode(PNG).decode()}


@pytest.mark.parametrize(
    ("body", "texts"),
    [
        ("Save the file.", ["Save the file."]),
        ("one\r\ntwo\n\nfour\n", ["one", "two", "", "four"]),
        ("\ufeffñ\u2028ñ".encode(), ["ñ\u2028ñ"]),
        ("{name} is open", ["{name} is open"]),
        ("[1] Note", ["[1] Note"]),
        ("5", ["5"]),
    ],
)
def test_lines_of_a_text_are_texts(body, texts):
    """A text is split as a corpus is, encoded or not, and one that only begins like JSON is a text."""
    assert send(body, "text/plain; charset=utf-8", TextRequest) == {"result": "auto", "data": texts}


@pytest.mark.parametrize("body", ['{"data": ["a"]}', b' {"data": ["a"]}'])
@pytest.mark.parametrize("kind", ["text/plain", "application/json", "image/png", "", "text/csv"])
@pytest.mark.parametrize("request_type", [TextRequest, ImageRequest])
def test_a_json_object_is_a_request_whatever_its_type_says(body, kind, request_type):
    """Clients that write no type, or another one, are answered as before."""
    assert send(body, kind, request_type) == {"data": ["a"]}


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        (
            PNG,
            "audio/wav",
            "of type audio/wav is not taken: POST JSON, bytes as base64 in a field, or image/png",
        ),
        (PNG, "application/octet-stream", "of type application/octet-stream is not taken"),
        ("Hello", "text/plain", "of type text/plain is not taken"),
        ("\ufffdPNG\r\n", "image/png", "add image/png to the API's binary media types"),
    ],
)
def test_another_type_is_refused_by_its_name(body, kind, message):
    """The message says what is taken, or which setting of the API to change."""
    with pytest.raises(BadRequest, match=message) as caught:
        send(body, kind, ImageRequest)
    assert caught.value.field == "body"


@pytest.mark.parametrize(
    "kind", ["application/json", "application/x-www-form-urlencoded", "", "x/y", "text/"]
)
def test_a_mistake_in_json_is_told_alone(kind):
    """The type that a client writes for JSON is not what is wrong."""
    with pytest.raises(BadRequest, match=r"^body is not JSON: Expecting value at line 1, column 11$"):
        send('{"data": [,]}', kind, ImageRequest)


@pytest.mark.parametrize("body", [b"\xff\xfe", "\ud800"])
def test_a_text_that_is_no_unicode_is_refused(body):
    """Bytes in another encoding, and half a pair, are the caller's mistake."""
    with pytest.raises(BadRequest, match="body is not UTF-8"):
        send(body, "text/plain", TextRequest)


def test_a_declared_type_may_be_marked_as_base64_and_not_be():
    """The error is that of a JSON body."""
    event = {"requestContext": {"http": {}}, "headers": {"content-type": "image/png"}, "body": "ñ"}
    [call], _ = parse_event(event | {"isBase64Encoded": True}, ImageRequest)
    with pytest.raises(BadRequest, match="marked as base64"):
        call.payload()


def test_deeply_nested_text_is_a_text():
    """A body that Python's parser refuses to read is answered as text."""
    text = "[" * 100_000
    assert send(text, "text/plain", TextRequest)["data"] == [text]
    assert json.dumps(send("[" + "9" * 5000 + "]", "text/plain", TextRequest))


@pytest.mark.parametrize("body", [None, "", b""])
def test_a_request_without_a_body(body):
    """It is told what to send, whatever type it says."""
    for kind in ("application/json", "text/plain"):
        with pytest.raises(BadRequest, match="has no body; POST a JSON object") as caught:
            send(body, kind, TextRequest)
        assert caught.value.field == "body"
