"""The smoke test of a published version: its own request, and the answer that was published with it."""

import json
from collections.abc import Callable
from typing import Any

from lambda_setup.models.bucket import SHOWN
from lambda_setup.models.describe import PublishedManifest
from lambda_setup.output import status
from layer.builder.verify.compare import TOLERANCE, differences


def run_smoke_test(manifest: PublishedManifest, invoke: Callable[[Any], Any]) -> list[str]:
    """Send a version's smoke request to a function, and return how the answer differs from the published one.

    A version without a smoke request is only loaded.

    Args:
        manifest: of the version, which the function's channel points to.
        invoke: sends an event and returns the response.

    """
    smoke = manifest.smoke
    if smoke is None:
        status("no smoke request was published with this version: it is only loaded")
    response = invoke({**smoke.request, "result": "inline"} if smoke else {"warmup": True})
    if not isinstance(response, dict) or response.get("statusCode") != 200:  # noqa: PLR2004
        return [f"it answers {json.dumps(response, ensure_ascii=False)[:500]}"]
    if smoke is None:
        return []
    body = response["body"]
    if (version := body["model"]["version"]) != manifest.version:
        return [f"{version[:SHOWN]} answered: did dev move, or does the function follow another channel?"]
    return differences(body["predictions"], smoke.predictions, TOLERANCE)
