"""Responses of a function, in the one form that callers want to see."""

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def get_body(response: Any) -> dict[str, Any]:
    """Return a response's body, which HTTP has as a JSON string; empty where there is none."""
    body = response.get("body", {}) if isinstance(response, dict) else {}
    if isinstance(body, str):
        body = json.loads(body)
    return body if isinstance(body, dict) else {}


def is_success(response: Any) -> bool:
    """Return whether a response says 200, or, to a queue, that no message failed."""
    if not isinstance(response, dict):
        return False
    if "batchItemFailures" in response:
        return not response["batchItemFailures"]
    return response.get("statusCode") == 200  # noqa: PLR2004


def save_objects(client: "S3Client", response: Any, folder: Path) -> list[Path]:
    """Fetch the objects that a response names into folder/<key>, and return their paths."""
    body = get_body(response)
    paths = []
    for key in (value for name, value in body.items() if name.endswith("_key")):
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.partial")
        client.download_file(body["s3_bucket"], key, str(partial))
        partial.rename(path)
        paths.append(path)
    return paths


def parse_response(payload: str) -> Any:
    """Return the response in Lambda's payload, a raised error in the form of a returned one.

    A fault that the function raised carries its response as its message; everything else that Lambda
    reports gets one.
    """
    try:
        response = json.loads(payload)
    except (ValueError, RecursionError):  # "Task timed out after 3.00 seconds", a response over the limit
        return _error(504 if "timed out" in payload else 502, "FunctionError", payload.strip())
    if not (isinstance(response, dict) and "errorType" in response):
        return response
    message = str(response.get("errorMessage", ""))
    with contextlib.suppress(ValueError, RecursionError):
        carried = json.loads(message)
        if isinstance(carried, dict) and "statusCode" in carried:
            return carried
    return _error(502, str(response["errorType"]), message)


def _error(status: int, code: str, message: str) -> dict[str, Any]:
    return {"statusCode": status, "body": {"error": {"code": code, "message": message}}}
