"""What languages import from here; components are imported when a pipeline names them."""

from .lemmatizer import Lemmatizer

__all__ = ["Lemmatizer"]
