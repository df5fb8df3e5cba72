"""Names of a package that are imported when they are first asked for (PEP 562)."""

import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def late(
    package: str, submodules: Sequence[str] = (), names: Mapping[str, str] | None = None
) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a package.

    ``submodules`` are those that it finds; ``names`` holds, by name, the module that a name is taken from.
    A package without ``__all__`` gives all of them to ``from package import *``.
    """

    def find(name: str) -> Any:
        module = sys.modules[package]
        path = f"{package}.{name}"
        if name in submodules and importlib.util.find_spec(path):
            return importlib.import_module(path)
        if names and name in names:
            value = getattr(importlib.import_module(names[name]), name)
            setattr(module, name, value)
            return value
        if name == "__all__":
            known = {*vars(module), *submodules, *(names or ())}
            return sorted(one for one in known if not one.startswith("_"))
        raise AttributeError(f"module {package!r} has no attribute {name!r}", name=name, obj=module)

    return find
