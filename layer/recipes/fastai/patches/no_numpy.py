"""Stands in for the names of numpy that fastai 2.8 asks types with; nothing here is an array."""

from typing import Any, NoReturn


class ndarray:  # noqa: N801 - numpy's name
    """What no image, and no tensor is."""


def array(_: Any) -> NoReturn:
    """Say that no arrays are made here."""
    raise ImportError("this layer makes no arrays: numpy is not in it")
