"""Requests whose items hold a value for each input of a network, and the arrays that they become."""

import os
from collections.abc import Mapping
from typing import Annotated, Any

from msgspec import Meta

from lambda_inference import BadRequest, BaseRequest

MAX_ITEMS = int(os.environ.get("MAX_ITEMS", "10000"))
TYPES = {
    "tensor(float)": ("float32", "iuf"),
    "tensor(double)": ("float64", "iuf"),
    "tensor(float16)": ("float16", "iuf"),
    **{f"tensor({kind})": (kind, "iu") for kind in ("int8", "uint8", "int16", "uint16", "int32", "int64")},
    "tensor(bool)": ("bool", "b"),
    "tensor(string)": ("object", "U"),
}
"""Types of inputs, each with numpy's, and the kinds of values that are taken for it."""


class NetworkRequest(BaseRequest, kw_only=True):
    """Items, each a value for every input."""

    data: Annotated[
        list[dict[str, Any]],
        Meta(
            min_length=1,
            max_length=MAX_ITEMS,
            description=f"a list of 1 to {MAX_ITEMS:,} objects with a value for each input of the network",
        ),
    ]


def read_item(numpy: Any, inputs: Mapping[str, Any], item: dict[str, Any], field: str) -> dict[str, Any]:
    """Return an item's values as arrays.

    Args:
        numpy: the library, imported.
        inputs: of the network, by name.
        item: a value for each of them.
        field: the request's that has the item, for errors.

    Raises:
        BadRequest: they are not the network's inputs.

    """
    if item.keys() != inputs.keys():
        raise BadRequest(f"{field} takes a value for {', '.join(inputs)}", field=field)
    row = {}
    for name, one in inputs.items():
        kind, takes = TYPES[one.type]
        shape = [size if isinstance(size, int) else "n" for size in one.shape[1:]]
        try:
            value = numpy.array(item[name])
        except ValueError:  # lists of different lengths
            value = numpy.array(None)
        right = len(value.shape) == len(shape) and all(
            size in {"n", got} for size, got in zip(shape, value.shape, strict=True)
        )
        if not right or value.dtype.kind not in takes:
            words = f"{kind.replace('object', 'str')} of shape {shape}"
            raise BadRequest(f"{field}: {name} takes {words}; got shape {[*value.shape]}", field=field)
        row[name] = _convert(numpy, value, kind)
        if row[name] is None:
            raise BadRequest(f"{field}: {name} takes {kind}; got a number beyond its range", field=field)
    return row


def _convert(numpy: Any, value: Any, kind: str) -> Any:
    """Return an array of another type, None if a number has no place in it."""
    with numpy.errstate(over="ignore", invalid="ignore"):
        converted = value.astype(kind)
    if converted.dtype.kind in "iu":
        return converted if (converted == value).all() else None
    if converted.dtype.kind == "f":
        return converted if numpy.isfinite(converted).all() else None
    return converted
