"""Requests whose items hold a value for each input of a module, and the tensors that they become."""

import os
from collections.abc import Mapping
from typing import Annotated, Any

from msgspec import Meta

from lambda_inference import BadRequest, BaseRequest

MAX_ITEMS = int(os.environ.get("MAX_ITEMS", "10000"))
KINDS: dict[str, set[type]] = {"bool": {bool}, "float32": {int, float}, "int64": {int}}
"""Types of inputs, each with the types of JSON's values that are taken for it."""
WORDS = {
    "bool": ("true or false", "true and false"),
    "float32": ("a number", "numbers"),
    "int64": ("a whole number", "whole numbers"),
}


class ModuleRequest(BaseRequest, kw_only=True):
    """Items, each a value for every input."""

    data: Annotated[
        list[dict[str, Any]],
        Meta(
            min_length=1,
            max_length=MAX_ITEMS,
            description=f"a list of 1 to {MAX_ITEMS:,} objects with a value for each input of the module",
        ),
    ]


def read_item(
    torch: Any, inputs: Mapping[str, tuple[str, int]], item: dict[str, Any], field: str
) -> dict[str, Any]:
    """Return an item's values as tensors.

    Args:
        torch: the library, imported.
        inputs: of the module, each with its type and the number of its dimensions.
        item: a value for each of them.
        field: the request's that has the item, for errors.

    Raises:
        BadRequest: they are not the module's inputs.

    """
    if item.keys() != inputs.keys():
        raise BadRequest(f"{field} takes a value for {', '.join(inputs)}", field=field)
    row = {}
    for name, (kind, dimensions) in inputs.items():
        try:
            row[name] = torch.tensor(item[name], dtype=getattr(torch, kind))
            fits = list_types(item[name]) <= KINDS[kind] and row[name].dim() == dimensions
        except (OverflowError, TypeError, ValueError, RuntimeError):
            fits = False
        if not fits:
            one, many = WORDS[kind]
            depth = "a list" if dimensions == 1 else f"lists of {dimensions} dimensions"
            takes = f"{many}, in {depth}" if dimensions else one
            raise BadRequest(f"{field}: {name} takes {takes}", field=field)
    return row


def list_types(value: Any) -> set[type]:
    """Return the types of the values in nested lists."""
    return set().union(*map(list_types, value)) if isinstance(value, list) else {type(value)}
