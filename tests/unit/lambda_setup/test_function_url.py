"""The function's URL on this machine: what it makes of HTTP requests, and whom it answers."""

import http.client
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from lambda_inference._events import parse_event
from lambda_setup.deployment.local.function_url import LIMIT, FunctionUrl


@pytest.fixture
def events() -> list[Any]:
    """Return the events that the function was sent."""
    return []


@pytest.fixture
def answers() -> list[Any]:
    """Return what the function answers next."""
    return []


@pytest.fixture
def server(events: list[Any], answers: list[Any]) -> Iterator[FunctionUrl]:
    """Yield a URL whose function is a Python one."""

    def invoke(event: Any) -> Any:
        events.append(event)
        answer = answers.pop()
        if isinstance(answer, Exception):
            raise answer
        return answer

    with FunctionUrl(invoke, 0) as running:
        thread = threading.Thread(target=running.serve_forever, args=[0.01])
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def ask(server: FunctionUrl, body: bytes = b"", method: str = "POST", **headers: str) -> tuple[int, Any]:
    """Send a request, and return the status and the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=30)
    connection.request(method, "/a?b=c", body=body, headers=headers)
    response = connection.getresponse()
    body = response.read()
    assert response.headers["Content-Length"] == str(len(body))
    assert response.headers["Content-Type"] == "application/json"
    return response.status, json.loads(body)


def test_a_request_arrives_as_from_a_function_url(server, events, answers) -> None:
    """The function takes the event for HTTP, with the body as it was sent."""
    answers.append({"statusCode": 418, "headers": {}, "body": '{"a": "ñ"}', "isBase64Encoded": False})
    assert ask(server, '{"data": ["ñ"]}'.encode()) == (418, {"a": "ñ"})
    [[call], queued] = parse_event(events[0])
    assert (call.http, queued, call.payload()) == (True, False, {"data": ["ñ"]})
    assert (events[0]["rawPath"], events[0]["rawQueryString"]) == ("/a", "b=c")
    assert events[0]["requestContext"]["http"] == {
        "method": "POST", "path": "/a", "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1", "userAgent": "",
    }  # fmt: skip
    assert events[0]["isBase64Encoded"]
    assert abs(events[0]["requestContext"]["timeEpoch"] / 1000 - time.time()) < 600


def test_a_request_without_a_body_reaches_the_function(server, events, answers) -> None:
    """Its answer says what to send."""
    answers.append({"statusCode": 400, "body": {"error": {}}})
    assert ask(server, method="GET") == (400, {"error": {}})
    assert "body" not in events[0]
    assert events[0]["requestContext"]["http"]["method"] == "GET"


@pytest.mark.parametrize("answer", [["statusCode"], {"body": "{}"}, None])
def test_what_is_no_answer_is_a_502(server, answers, answer) -> None:
    """As Lambda says it."""
    answers.append(answer)
    assert ask(server, b"{}") == (502, {"Message": "Internal Server Error"})


def test_a_function_that_is_not_there_is_a_502(server, answers) -> None:
    """It says why."""
    answers.append(ConnectionRefusedError("nobody listens"))
    status, body = ask(server, b"{}")
    assert (status, body["error"]["message"]) == (502, "the function does not answer: nobody listens")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Origin": "http://evil.example"}, 403),
        ({"Content-Length": "x"}, 411),
        ({"Content-Length": "²"}, 411),
    ],
)
def test_others_are_not_answered(server, events, headers, status) -> None:
    """Neither another host name, nor a page in a browser, nor what Lambda would not take."""
    code, body = ask(server, b"{}", **headers)
    assert (code, body["error"]["code"]) == (status, "Refused")
    assert events == []


def test_a_request_that_lambda_would_not_take_is_refused(server, events, answers) -> None:
    """It has more than 6 MB."""
    answers.append({"statusCode": 200, "body": "{}"})
    assert ask(server, bytes(LIMIT)) == (200, {})
    assert len(events.pop()["body"]) == LIMIT * 4 // 3
    status, body = ask(server, bytes(LIMIT + 1))
    assert (status, body["error"]["message"]) == (413, "a request has at most 6,291,456 bytes")
    assert events == []


def test_a_taken_port_is_named(server) -> None:
    """With the option that chooses another."""
    with pytest.raises(OSError, match=rf"port {server.server_port}; choose another with --port"):
        FunctionUrl(print, server.server_port)
