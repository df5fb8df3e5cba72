"""Stands in for the little of matplotlib.pyplot that fastai 2.8 names while it is imported."""

from typing import NoReturn


def subplots() -> NoReturn:
    """Say that nothing is drawn here."""
    raise ImportError("this layer draws nothing: matplotlib is not in it")


class Figure:
    """What nothing is drawn on."""


class Axes:
    """What nothing is drawn into."""

    imshow = staticmethod(subplots)
