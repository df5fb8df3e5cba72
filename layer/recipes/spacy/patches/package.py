"""spaCy for prediction: what loads and runs a pipeline, without what trains, draws and measures one."""

from .errors import setup_default_warnings

setup_default_warnings()

# A warning may come as early as this.
# ruff: noqa: E402
from . import pipeline, util
from .about import __version__
from .language import Language
from .util import load_model as load
from .util import registry
from .vocab import Vocab

__all__ = ["Language", "Vocab", "__version__", "load", "pipeline", "registry", "util"]
