"""The check that a function can load a model, before its bytes are read."""

from typing import TYPE_CHECKING

from lambda_inference import _layer_marker, _telemetry
from lambda_inference._errors import Unavailable
from lambda_inference._models import TABLES
from lambda_inference._settings import Settings

if TYPE_CHECKING:
    from lambda_inference._models import Manifest

_MAX_MEMORY = 10_240
"""Megabytes: the most that Lambda grants."""


def check_requirements(manifest: "Manifest") -> None:
    """Check that this release knows all that a manifest requires of its reader.

    Raises:
        Unavailable: it does not; the manifest's other fields mean nothing then.

    """
    if unknown := set(manifest.requires) - set(TABLES):
        raise Unavailable(
            f"model {manifest.name} requires {', '.join(sorted(unknown))}, which this function does not "
            "know; deploy the function again from the release that published the model"
        )


def check(manifest: "Manifest") -> None:
    """Compare a model with the function's engine, memory and libraries.

    Another major version of a library is refused; another minor version is logged.

    Raises:
        Unavailable: the model is for another engine, too large, or saved with another major version.

    """
    settings = Settings.read()
    engine = settings.engine or manifest.engine
    if manifest.engine != engine:
        raise Unavailable(
            f"model {manifest.name} is for the engine {manifest.engine}, and this function runs "
            f"{engine}; deploy it with Engine={manifest.engine}, or publish another model"
        )
    megabytes = settings.memory or _MAX_MEMORY
    if manifest.size > megabytes * 1024 * 1024:
        raise Unavailable(
            f"model {manifest.name} has {manifest.size:,} bytes, and this function {megabytes:,} MB of "
            "memory; deploy it with a larger MemorySize"
        )
    others = {}
    for name, saved in manifest.libraries.items():
        present = _find_version(name)
        if present is None or _strip_local(present) == _strip_local(saved):
            continue
        if _major_version(present) != _major_version(saved):
            raise Unavailable(
                f"model {manifest.name} was saved with {name} {saved}, and this function has {present}; save "
                f"and publish it again with {name} {_major_version(present)}, or build the layer with "
                f"{_major_version(saved)}"
            )
        others[name] = f"saved with {saved}, loaded with {present}"
    if others:
        _telemetry.log("the model was saved with other versions", libraries=others)


def _find_version(name: str) -> str | None:
    """Return the version of a library from the layer's marker, or without one from its installation."""
    if _layer_marker.libraries:
        return _layer_marker.libraries.get(name.lower().replace("_", "-").replace(".", "-"))
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name)
    except (PackageNotFoundError, ValueError):  # an empty name
        return None


def _strip_local(version: str) -> str:
    return version.partition("+")[0]  # torch has its platform there


def _major_version(version: str) -> str:
    """Return the part of a version that has to match: before 1.0 with the second number."""
    first, _, rest = _strip_local(version).partition(".")
    return f"{first}.{rest.partition('.')[0]}" if first == "0" else f"{first}.x"
