"""Documents that are right but for a few places."""

import copy
from typing import Any

from hypothesis import strategies as st

ODD_VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, 1e308, float("inf"), float("nan"), "", " ", "\ud800",
    "null", "[]", "..", "/", "a/b", "\x00", "a" * 300, [], {}, [[]], [None], ["a", 5], {"a": {}}, [1, 2, 3],
]  # fmt: skip
ODD = st.sampled_from(ODD_VALUES).map(copy.deepcopy)
JSON = st.recursive(
    ODD | st.text(max_size=8) | st.integers() | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def list_places(value: Any) -> list[tuple[Any, Any]]:
    """Return every container with each of its keys or indexes, in a fixed order."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else []
    found = [(value, key) for key in keys]
    for key in keys:
        found += list_places(value[key])
    return found


@st.composite
def draw_mutation(draw: st.DrawFn, documents: list[Any], values: st.SearchStrategy[Any] = JSON) -> Any:
    """Draw one of some documents, in which up to three places hold another value, are gone, or are new."""
    whole = [copy.deepcopy(draw(st.sampled_from(documents)))]
    for _ in range(draw(st.integers(1, 3))):
        holder, key = draw(st.sampled_from(list_places(whole)))
        act = draw(st.sampled_from(["replace", "remove", "add"]))
        if act == "replace" or holder is whole:
            holder[key] = draw(values)
        elif act == "remove":
            del holder[key]
        elif isinstance(holder, dict):
            holder[draw(st.text(max_size=8))] = draw(values)
        else:
            holder.insert(key, draw(values))
    return whole[0]


@st.composite
def draw_damage(draw: st.DrawFn, files: list[bytes]) -> bytes:
    """Draw one of some files, in which a few bytes are others, are gone, or were inserted."""
    data = bytearray(draw(st.sampled_from(files)))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.sampled_from([start, min(start + 1, len(data)), min(start + 4, len(data)), len(data)]))
        data[start:end] = draw(st.binary(max_size=4))
    return bytes(data)
