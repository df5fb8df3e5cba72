"""Transports: each is recognised by what it surely has, and everything else is a direct event."""

import pytest

from lambda_inference._errors import BadRequest
from lambda_inference._events import parse_event

SQS = {"eventSource": "aws:sqs", "messageId": "m-1", "body": '{"data": []}'}


@pytest.mark.parametrize(
    "event",
    [
        {"requestContext": None, "httpMethod": "POST"},
        {"requestContext": "http"},
        {"Records": []},
        {"Records": None},
        {"Records": [{"eventSource": "aws:sqs"}]},
        {"Records": [SQS, {"eventSource": "aws:s3"}]},
        {"Records": [SQS | {"body": None}]},
        {"Records": [SQS | {"messageId": "../other"}]},
        "text",
        [],
        None,
    ],
)
def test_what_only_looks_like_a_transport_is_direct(event):
    """A half of an HTTP or SQS event is answered as the direct request it then is."""
    found, queued = parse_event(event)
    assert not queued
    assert [(call.http, call.message_id, call.payload()) for call in found] == [(False, None, event)]


@pytest.mark.parametrize("body", ["ñ", "a", "e30=\n!", "not base64"])
def test_what_is_no_base64_is_refused(body):
    """A body that is marked as base64 and is anything else is the caller's mistake."""
    [call], _ = parse_event({"requestContext": {"http": {}}, "body": body, "isBase64Encoded": True})
    with pytest.raises(BadRequest) as caught:
        call.payload()
    assert caught.value.field == "body"


def test_step_functions_say_which_attempt_it_is():
    """The request stands beside its number; anything else is a direct event."""
    [call], queued = parse_event({"attempt": 2, "request": {"data": ["a"]}})
    assert (call.payload(), call.attempt, queued) == ({"data": ["a"]}, 2, False)
    for event in ({"attempt": "2", "request": {}}, {"attempt": 2}, {"attempt": 2, "request": {}, "id": "a"}):
        [call], _ = parse_event(event)
        assert (call.payload(), call.attempt) == (event, None)


def test_messages_keep_their_ids():
    """Each record of a queue's event is a call that its message's id names."""
    found, queued = parse_event({"Records": [SQS, SQS | {"messageId": "m-2", "body": "{"}]})
    assert queued
    assert [call.message_id for call in found] == ["m-1", "m-2"]
    assert found[0].payload() == {"data": []}
    with pytest.raises(BadRequest):
        found[1].payload()


def test_http_answers_are_json_in_a_string():
    """An HTTP caller gets headers and a body that is a string; a direct one gets the object."""
    [http], _ = parse_event({"requestContext": {"http": {}}, "body": "{}"})
    assert http.answer(200, {"a": "ñ"}) == {
        "statusCode": 200,
        "headers": {"Content-Type": "application/json"},
        "body": '{"a":"ñ"}',
        "isBase64Encoded": False,
    }
    [direct], _ = parse_event({})
    assert direct.answer(200, {"a": 1}) == {"statusCode": 200, "body": {"a": 1}}
