"""Stands in for the little of pandas that fastai 2.8 names while it is imported."""

from types import SimpleNamespace

options = SimpleNamespace(display=SimpleNamespace())


class CategoricalDtype:
    """What no column's type is."""


class Series:
    """What no vocabulary is."""


class DataFrame:
    """What fastai gives another constructor."""
