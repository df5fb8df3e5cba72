"""Names that an earlier release had: they work for one more release, with a warning."""

import warnings
from collections.abc import Mapping
from typing import Any


def resolve(module: str, name: str, successors: Mapping[str, tuple[Any, str]]) -> Any:
    """Return what a module's former name stands for, for that module's ``__getattr__``.

    Args:
        module: the module that is asked for the name.
        name: the name.
        successors: by former name, its object, and the import statement to use instead.

    Raises:
        AttributeError: the module never had that name.

    """
    if name not in successors:
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    value, statement = successors[name]
    warnings.warn(f"{module}.{name} goes in the next release; use: {statement}", FutureWarning, stacklevel=3)
    return value
