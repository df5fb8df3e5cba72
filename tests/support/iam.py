"""The policies in docs/how-to/iam, filled in, and what they allow."""

import json
import re
from collections.abc import Mapping

from support.permissions import to_list
from support.project import ROOT

FOLDER = ROOT / "docs" / "how-to" / "iam"
VALUES = {
    "ACCOUNT": "123456789012", "REGION": "eu-central-1", "STACK": "mine",
    "MODEL_BUCKET": "mine-models", "RESULT_BUCKET": "mine-results",
}  # fmt: skip


def load(name: str, values: Mapping[str, str] = VALUES) -> list[dict]:
    """Return a policy's statements with its words in capitals filled in."""
    text = (FOLDER / f"{name}.json").read_text()
    for word, value in values.items():
        text = re.sub(rf"\b{word}\b", value, text)
    return json.loads(text)["Statement"]


def like(pattern: str, text: str) -> bool:
    """Return whether a text is what IAM's wildcards say."""
    return re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), text) is not None


def allows(statements: list[dict], action: str, resource: str) -> bool:
    """Return whether a policy allows an action on a resource."""
    return any(
        any(like(one, action) for one in to_list(statement["Action"]))
        and any(like(one, resource) for one in to_list(statement["Resource"]))
        for statement in statements
    )
