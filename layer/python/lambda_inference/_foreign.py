"""Events of other services where a request is expected: unwrapped, acknowledged, or refused with advice."""

import re
from typing import Any

from lambda_inference._errors import BadRequest, ForeignEvent
from lambda_inference._requests import decode_json, describe

TEST_EVENT = object()
"""S3's message to a new receiver of notifications, in place of a request."""

_ADVICE = {
    "aws:s3": "an S3 notification names an object and is not a request; remove the bucket's notification, "
    "and send a request that names the object",
    "aws:sns": "an SNS event has one record with a message; this one has not",
}
_OTHER = "records of {} are not requests; invoke the function with a request in their place"
_EVENTBRIDGE = (
    "an EventBridge event is not a request; give the rule's target a constant input, such as "
    '{"warmup": true}, or the input path $.detail where that is the request'
)
PREFLIGHT = (
    "a browser asks by OPTIONS whether it may call from another site; that is answered by the CORS settings "
    "of the API or of the function's URL: add the site there"
)


def decode_message(text: str, field: str) -> Any:
    """Return the request in a queue's or a topic's message, or ``TEST_EVENT``.

    Nobody waits for the answer, so the log is to have what is wrong.

    Raises:
        ForeignEvent: another service made it, or it is not a JSON object.

    """
    try:
        payload = decode_json(text, field)
    except BadRequest as error:
        reason = error.message
    else:
        if isinstance(payload, dict):
            return unwrap(payload)
        reason = f"{field} is {describe(payload)}"
    raise ForeignEvent(f"{reason}; a message has to be a request, which is a JSON object", field=field)


def unwrap(payload: Any) -> Any:
    """Return the request inside an SNS envelope, ``TEST_EVENT``, or else the payload.

    Raises:
        ForeignEvent: another service made it, and it holds no request.

    """
    if not isinstance(payload, dict):
        return payload
    if payload.get("Type") == "Notification" and isinstance(payload.get("TopicArn"), str):
        return decode_message(str(payload.get("Message")), "Message")
    if payload.get("Event") == "s3:TestEvent":
        return TEST_EVENT
    if payload.keys() >= {"detail-type", "source", "detail"}:
        raise ForeignEvent(_EVENTBRIDGE)
    records = payload.get("Records")
    if not isinstance(records, list) or not records or not all(isinstance(one, dict) for one in records):
        return payload
    sources = {str(one.get("eventSource") or one.get("EventSource")) for one in records}
    source = sources.pop()
    if sources or source == "aws:sqs" or not re.fullmatch(r"aws:[a-z0-9-]{1,32}", source):
        return payload
    message = records[0].get("Sns")
    if source == "aws:sns" and len(records) == 1 and isinstance(message, dict):
        return decode_message(str(message.get("Message")), "Message")
    raise ForeignEvent(_ADVICE.get(source, _OTHER.format(source)))
