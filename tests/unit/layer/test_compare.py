"""Comparing answers."""

import pytest

from layer.builder.verify.compare import TOLERANCE, differences


@pytest.mark.parametrize(
    ("left", "right", "found"),
    [
        ({"a": [1.0, "x"]}, {"a": [1.00009, "x"]}, []),
        ({"a": [1.0, "x"]}, {"a": [1.00011, "x"]}, ["answer.a[0]: 1.0, 1.00011"]),
        ({"a": 1}, {"b": 1}, ["answer: {'a': 1}, not {'b': 1}"]),
        ([1, 2], [1], ["answer: [1, 2], not [1]"]),
        ([1, True, None], [1.0, 1, "None"], [
            "answer[0]: 1, not 1.0", "answer[1]: True, not 1", "answer[2]: None, not None"]),
        ({"a": {"b": "x"}}, {"a": {"b": "y"}}, ["answer.a.b: x, not y"]),
    ],
)  # fmt: skip
def test_differences(left, right, found):
    """Numbers with a fraction may be apart by a little, and nothing else by anything."""
    assert differences(left, right, TOLERANCE) == found
    assert (differences(left, right) == []) == (left == right and not found)


def test_rule():
    """A rule decides for the values it knows, at whatever depth; the others are compared as usual."""

    def accept_any(left, *_):
        return [] if left == "<any>" else None

    assert differences({"a": ["<any>", 1]}, {"a": [5, 2]}, place="$", rule=accept_any) == ["$.a[1]: 1, not 2"]
