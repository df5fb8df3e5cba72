"""Whether a model is one that this function can load, told before its bytes are read."""

import os
from typing import TYPE_CHECKING

from lambda_inference import _layer_marker, _telemetry
from lambda_inference._errors import Unavailable

if TYPE_CHECKING:
    from lambda_inference._models import Manifest

_LARGEST = "10240"
"""Megabytes: what a function may have at most."""


def check(manifest: "Manifest") -> None:
    """Compare a model with the function's engine, memory and libraries.

    A library of another major version is refused; of another minor one it is logged.

    Raises:
        Unavailable: it is for another engine, too big, or saved with another major version of a library.

    """
    engine = os.environ.get("ENGINE", manifest.engine)
    if manifest.engine != engine:
        raise Unavailable(
            f"model {manifest.name} is made for the engine {manifest.engine}, and this function runs "
            f"{engine}; deploy it with Engine={manifest.engine}, or publish another model"
        )
    megabytes = int(os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", _LARGEST))
    if manifest.size > megabytes * 1024 * 1024:
        raise Unavailable(
            f"model {manifest.name} has {manifest.size:,} bytes, and this function {megabytes:,} MB of "
            "memory; deploy it with a larger MemorySize"
        )
    others = {}
    for name, saved in manifest.libraries.items():
        found = _found(name)
        if found is None or _exact(found) == _exact(saved):
            continue
        if _major(found) != _major(saved):
            raise Unavailable(
                f"model {manifest.name} was saved with {name} {saved}, and this function has {found}; save "
                f"and publish it again with {name} {_major(found)}, or build the layer with {_major(saved)}"
            )
        others[name] = f"saved with {saved}, loaded with {found}"
    if others:
        _telemetry.log("the model was saved with other versions", libraries=others)


def _found(name: str) -> str | None:
    """Return the version of a library: as the layer says, or without one as it is installed."""
    if _layer_marker.libraries:
        return _layer_marker.libraries.get(name.lower().replace("_", "-").replace(".", "-"))
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _exact(version: str) -> str:
    return version.partition("+")[0]  # torch's says there that it is for processors


def _major(version: str) -> str:
    """Return what a version must share with another one: before 1.0 that is the second number too."""
    first, _, rest = _exact(version).partition(".")
    return f"{first}.{rest.partition('.')[0]}" if first == "0" else f"{first}.x"
