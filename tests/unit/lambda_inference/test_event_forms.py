"""Transports: each is recognised by what it surely has, and everything else is a direct event."""

import json

import pytest

from lambda_inference._errors import BadRequest, ForeignEvent
from lambda_inference._events import parse_event
from lambda_inference._foreign import TEST_EVENT

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


NOTIFICATION = {"Records": [{"eventSource": "aws:s3", "s3": {}}]}
SCHEDULE = {"detail-type": "Scheduled Event", "source": "aws.events", "detail": {}}
ENVELOPE = {"Type": "Notification", "TopicArn": "arn:aws:sns:eu-west-1:1:t", "Message": '{"data": ["a"]}'}
TEST = {"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "b"}


def in_queue(body):
    """Return a queue's event with one message."""
    return {"Records": [SQS | {"body": json.dumps(body)}]}


def by_topic(message):
    """Return the envelope in which a topic delivers a message to a queue."""
    return ENVELOPE | {"Message": json.dumps(message)}


@pytest.mark.parametrize(
    "event",
    [
        in_queue({"data": ["a"]}),
        in_queue(ENVELOPE),
        {"Records": [{"EventSource": "aws:sns", "Sns": {"MessageId": "n-1", "Message": '{"data": ["a"]}'}}]},
        in_queue(ENVELOPE | {"Message": json.dumps(ENVELOPE)}),
    ],
    ids=["raw", "envelope", "direct", "twice"],
)
def test_what_a_topic_delivers_is_a_request(event):
    """A topic's message arrives raw, in its envelope, or without a queue: the request is the same."""
    [call], _ = parse_event(event)
    assert call.payload() == {"data": ["a"]}


@pytest.mark.parametrize("event", [in_queue(TEST), TEST, in_queue(by_topic(TEST)), by_topic(TEST)])
def test_a_test_event_is_acknowledged(event):
    """S3 sends one when a bucket begins to notify: it is no request and no fault."""
    [call], _ = parse_event(event)
    assert call.payload() is TEST_EVENT


@pytest.mark.parametrize(
    ("event", "advice"),
    [
        (NOTIFICATION, "remove the bucket's notification"),
        (in_queue(NOTIFICATION), "remove the bucket's notification"),
        (in_queue(by_topic(NOTIFICATION)), "remove the bucket's notification"),
        (SCHEDULE, "constant input"),
        (in_queue(SCHEDULE), "constant input"),
        (in_queue(by_topic(SCHEDULE)), "constant input"),
        (ENVELOPE | {"Message": "Backup is done."}, "Message is not JSON: .*; a message has to be a request"),
        (in_queue("Hello"), "body is a string of 5 characters; a message has to be a request"),
        ({"Records": [SQS | {"body": "Hello"}]}, "body is not JSON: .*; a message has to be a request"),
        ({"Records": [{"eventSource": "aws:kinesis", "kinesis": {}}]}, "records of aws:kinesis"),
        ({"httpMethod": "OPTIONS", "requestContext": {}}, "CORS settings"),
        ({"requestContext": {"http": {"method": "OPTIONS"}}}, "CORS settings"),
    ],
)
def test_other_services_are_told_which_setting_to_change(event, advice):
    """What another service made is refused by a message about its settings, which the log may have."""
    [call], _ = parse_event(event)
    with pytest.raises(ForeignEvent, match=advice):
        call.payload()
