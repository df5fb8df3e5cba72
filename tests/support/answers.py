"""Compare a response with the answer file that an event has beside it."""

import json
import re
from typing import Any

from layer.builder.verify import compare

PATTERNS = {
    "<sha256>": r"[0-9a-f]{64}",
    "<digest>": r"[0-9a-f]{16}",
    "<request id>": r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    "<count>": r"[0-9,]+",
}


def differences(expected: Any, actual: Any) -> list[str]:
    """Return where a response is not what its answer file says; empty when it is.

    In answer files ``"<number>"`` stands for any number, ``"<attention>"`` for a map whose rows
    sum to 1, ``{"<json>": …}`` for a string that holds that JSON, and the ``PATTERNS`` for parts
    of strings. Everything else stands for itself, and nothing may be missing or more.
    """
    return compare.differences(expected, actual, place="$", rule=_match_placeholders)


def _match_placeholders(expected: Any, actual: Any, place: str) -> list[str] | None:
    """Return how a value differs from a placeholder; None where there is no placeholder."""
    match expected:
        case {"<json>": inner} if isinstance(actual, str):
            return compare.differences(
                inner, json.loads(actual), place=f"{place}<json>", rule=_match_placeholders
            )
        case "<number>":
            fits = isinstance(actual, int | float) and not isinstance(actual, bool)
        case "<attention>":
            fits = all(abs(sum(row) - 1) < 1e-3 for row in actual)
        case str() if isinstance(actual, str):
            pattern = re.escape(expected)
            for placeholder, meaning in PATTERNS.items():
                pattern = pattern.replace(re.escape(placeholder), meaning)
            fits = re.fullmatch(pattern, actual) is not None
        case _:
            return None
    return [] if fits else [f"{place}: {expected!r} expected, got {actual!r}"]
