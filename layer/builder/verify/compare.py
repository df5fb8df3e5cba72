"""Compare two JSON values: answers of different trees, processors, libraries or times."""

import math
from collections.abc import Callable
from typing import Any

TOLERANCE = 1e-4
"""How far floats of the same answer may lie apart: between processors, libraries and numbers of threads."""

Rule = Callable[[Any, Any, str], list[str] | None]


def differences(
    left: Any, right: Any, tolerance: float = 0.0, *, place: str = "answer", rule: Rule | None = None
) -> list[str]:
    """Return where two parsed JSON values differ, a line each, which begins with the place.

    Keys, lengths and types must be the same; floats may lie apart by the tolerance. A ``rule`` is asked
    first about each pair of values: it returns their differences, or None to have them compared as usual.
    """
    if rule and (found := rule(left, right, place)) is not None:
        return found
    if isinstance(left, dict) and isinstance(right, dict) and left.keys() == right.keys():
        pairs = [(left[key], right[key], f"{place}.{key}") for key in left]
    elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        pairs = [(*pair, f"{place}[{i}]") for i, pair in enumerate(zip(left, right, strict=True))]
    elif isinstance(left, float) and isinstance(right, float):
        same = math.isclose(left, right, rel_tol=0, abs_tol=tolerance)
        return [] if same else [f"{place}: {left}, {right}"]
    elif type(left) is type(right) and left == right:
        return []
    else:
        return [f"{place}: {str(left)[:60]}, not {str(right)[:60]}"]
    return [
        line
        for one, other, name in pairs
        for line in differences(one, other, tolerance, place=name, rule=rule)
    ]
