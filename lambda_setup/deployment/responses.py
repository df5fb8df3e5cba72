"""What a function answered."""

import json
from typing import Any


def body_of(response: Any) -> dict[str, Any]:
    """Return a response's body, which HTTP has as a JSON string; empty where there is none."""
    body = response.get("body", {}) if isinstance(response, dict) else {}
    if isinstance(body, str):
        body = json.loads(body)
    return body if isinstance(body, dict) else {}


def succeeded(response: Any) -> bool:
    """Return whether a response says 200, or, to a queue, that no message failed."""
    if not isinstance(response, dict):
        return False
    if "batchItemFailures" in response:
        return not response["batchItemFailures"]
    return response.get("statusCode") == 200  # noqa: PLR2004
