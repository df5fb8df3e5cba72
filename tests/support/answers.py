"""Compare a response with the answer file that an event has beside it."""

import json
import re
from typing import Any

PATTERNS = {
    "<sha256>": r"[0-9a-f]{64}",
    "<digest>": r"[0-9a-f]{16}",
    "<request id>": r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    "<count>": r"[0-9,]+",
}


def differences(expected: Any, actual: Any, place: str = "$") -> list[str]:
    """Return where a response is not what its answer file says; empty when it is.

    In answer files ``"<number>"`` stands for any number, ``"<attention>"`` for a map whose rows
    sum to 1, ``{"<json>": …}`` for a string that holds that JSON, and the ``PATTERNS`` for parts
    of strings. Everything else stands for itself, and nothing may be missing or more.
    """
    match expected:
        case {"<json>": inner} if isinstance(actual, str):
            return differences(inner, json.loads(actual), f"{place}<json>")
        case dict() if isinstance(actual, dict):
            if expected.keys() != actual.keys():
                return [f"{place}: fields {sorted(expected)} expected, got {sorted(actual)}"]
            return [
                difference
                for key in expected
                for difference in differences(expected[key], actual[key], f"{place}.{key}")
            ]
        case list() if isinstance(actual, list):
            if len(expected) != len(actual):
                return [f"{place}: {len(expected)} items expected, got {len(actual)}"]
            return [
                difference
                for number, (one, other) in enumerate(zip(expected, actual, strict=True))
                for difference in differences(one, other, f"{place}[{number}]")
            ]
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
            fits = type(expected) is type(actual) and expected == actual
    return [] if fits else [f"{place}: {expected!r} expected, got {actual!r}"]
