"""The forms in which Lambda delivers requests and expects answers."""

import re
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Struct

from lambda_inference._errors import ForeignEvent
from lambda_inference._foreign import PREFLIGHT, decode_message, unwrap
from lambda_inference._requests import ID_PATTERN, BaseRequest


class Call(Struct, frozen=True):
    """One request, as its transport delivered it.

    Attributes:
        payload: decodes the request, or raises BadRequest.
        http: whether the answer goes back over HTTP.
        message_id: the id of the queue's message.
        attempt: the number of Step Functions' attempt, from 0 on.
        manifest: whether it is a batch whose manifest is to be written.

    """

    payload: Callable[[], Any]
    http: bool = False
    message_id: str | None = None
    attempt: int | None = None
    manifest: bool = False

    def answer(self, status: int, body: dict[str, Any]) -> dict[str, Any]:
        """Return the response in the caller's form."""
        if not self.http:
            return {"statusCode": status, "body": body}
        return {
            "statusCode": status,
            "headers": {"Content-Type": "application/json"},
            "body": msgspec.json.encode(body).decode(),
            "isBase64Encoded": False,
        }


def parse_event(event: Any, request_type: type[BaseRequest] = BaseRequest) -> tuple[list[Call], bool]:
    """Return the calls that an event holds, and whether a queue sent them.

    Events are direct invocations, API Gateway's payloads 1.0 and 2.0, function URLs, SQS messages, and the
    tasks of statemachines/: a request with the number of its attempt, or a batch whose manifest to write.
    ``_foreign`` has what other services send, ``_bodies`` what an HTTP body may be.

    Args:
        event: what Lambda delivers.
        request_type: the function's, which says what bodies beside JSON it takes.

    """
    if not isinstance(event, dict):
        return [Call(lambda: event)], False
    context = event.get("requestContext")
    if isinstance(context, dict) and ("httpMethod" in event or "http" in context):
        return [Call(lambda: _decode_http(event, request_type), http=True)], False
    records = event.get("Records")
    if isinstance(records, list) and records and all(map(_is_message, records)):
        return [_parse_message(record) for record in records], True
    if event.keys() == {"request", "attempt"} and isinstance(event["attempt"], int):
        return [Call(lambda: event["request"], attempt=event["attempt"])], False
    if event.keys() == {"manifest"}:
        return [Call(lambda: event["manifest"], manifest=True)], False
    return [Call(lambda: unwrap(event))], False


def _is_message(record: Any) -> bool:
    return (
        isinstance(record, dict)
        and record.get("eventSource") == "aws:sqs"
        and isinstance(record.get("messageId"), str)
        and re.fullmatch(ID_PATTERN, record["messageId"]) is not None
        and isinstance(record.get("body"), str)
    )


def _parse_message(record: dict[str, Any]) -> Call:
    return Call(lambda: decode_message(record["body"], "body"), message_id=record["messageId"])


def _decode_http(event: dict[str, Any], request_type: type[BaseRequest]) -> Any:
    http = event["requestContext"].get("http")
    if "OPTIONS" in (event.get("httpMethod"), http.get("method") if isinstance(http, dict) else None):
        raise ForeignEvent(PREFLIGHT)
    from lambda_inference._bodies import decode_body

    return decode_body(event, request_type)
