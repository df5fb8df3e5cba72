"""The forms in which Lambda brings a request, and in which each wants its answer."""

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from lambda_inference._errors import BadRequest
from lambda_inference._requests import ID_PATTERN, decode_json


@dataclass(frozen=True)
class Call:
    """One request as it came.

    Attributes:
        payload: makes the request, or raises BadRequest.
        http: whether the answer goes back over HTTP.
        message_id: the queue's message id, where a queue sent it.
        attempt: which attempt it is, from 0 on, where Step Functions says so.

    """

    payload: Callable[[], Any]
    http: bool = False
    message_id: str | None = None
    attempt: int | None = None

    @property
    def direct(self) -> bool:
        """Whether it is an invocation of Lambda's own, by somebody or by Step Functions."""
        return not self.http and self.message_id is None

    def answer(self, status: int, body: dict[str, Any]) -> dict[str, Any]:
        """Return the response in the form that the caller wants."""
        if not self.http:
            return {"statusCode": status, "body": body}
        return {
            "statusCode": status,
            "headers": {"Content-Type": "application/json"},
            "body": msgspec.json.encode(body).decode(),
            "isBase64Encoded": False,
        }


def calls(event: Any) -> tuple[list[Call], bool]:
    """Return the calls that an event holds, and whether a queue sent them.

    Known are direct invocations, API Gateway's payloads 1.0 and 2.0, function URLs, SQS, and the tasks of
    statemachines/, which send the request beside the number of the attempt.
    """
    if not isinstance(event, dict):
        return [Call(lambda: event)], False
    context = event.get("requestContext")
    if isinstance(context, dict) and ("httpMethod" in event or "http" in context):
        return [Call(lambda: _http_body(event), http=True)], False
    records = event.get("Records")
    if isinstance(records, list) and records and all(map(_is_message, records)):
        return [_message(record) for record in records], True
    if event.keys() == {"request", "attempt"} and isinstance(event["attempt"], int):
        return [Call(lambda: event["request"], attempt=event["attempt"])], False
    return [Call(lambda: event)], False


def _is_message(record: Any) -> bool:
    return (
        isinstance(record, dict)
        and record.get("eventSource") == "aws:sqs"
        and isinstance(record.get("messageId"), str)
        and re.fullmatch(ID_PATTERN, record["messageId"]) is not None
        and isinstance(record.get("body"), str)
    )


def _message(record: dict[str, Any]) -> Call:
    return Call(lambda: decode_json(record["body"], "body"), message_id=record["messageId"])


def _http_body(event: dict[str, Any]) -> Any:
    body = event.get("body")
    if not body:
        raise BadRequest("the HTTP request has no body; POST a JSON object", field="body")
    if not isinstance(body, str):
        raise BadRequest("the HTTP event's body is not a string", field="body")
    if event.get("isBase64Encoded"):
        try:
            body = base64.b64decode(body, validate=True).decode()
        except UnicodeDecodeError:
            raise BadRequest("body is not UTF-8", field="body") from None
        except ValueError:  # not base64, or not even ASCII
            raise BadRequest("body is marked as base64 and is not", field="body") from None
    return decode_json(body, "body")
