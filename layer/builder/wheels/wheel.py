"""Wheels: how pip reports one, how a lock names it, and where it lies in the cache."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from layer.builder.errors import ResolveError
from layer.builder.recipe import normalise


@dataclass(frozen=True)
class Source:
    """The source distribution that a wheel is built from."""

    file: str
    sha256: str


@dataclass(frozen=True)
class Wheel:
    """A wheel that pip chose, or that a lock names; names are normalised.

    ``version`` has its local part, such as ``2.13.0+cpu``. A wheel that is built here has a ``source``.
    A lock does not record ``requires``, the names of its dependencies on the target, nor ``requested``: that
    a requirements file names it.
    """

    name: str
    version: str
    file: str
    sha256: str
    requires: tuple[str, ...] = field(default=(), compare=False)
    source: Source | None = None
    requested: bool = field(default=False, compare=False)

    @property
    def requirement(self) -> str:
        """The pin of a recipe."""
        return f"{self.name}=={self.version}"

    def pin(self) -> str:
        """Return the requirement that only this file meets, or only the file that it is built from."""
        return f"{self.requirement} --hash=sha256:{(self.source or self).sha256}"


def parse_install(install: dict[str, Any]) -> Wheel:
    """Return the file of an entry of pip's installation report, without its dependencies."""
    metadata, download = install["metadata"], install["download_info"]
    try:
        sha256 = download["archive_info"]["hashes"]["sha256"]
    except KeyError:
        raise ResolveError(
            f"{metadata['name']} comes from {download['url']}, which has no hash to lock; name a version, or "
            "put its wheel into a folder and set PIP_FIND_LINKS to it"
        ) from None
    return Wheel(
        name=normalise(metadata["name"]),
        version=metadata["version"],
        file=unquote(download["url"].rpartition("/")[2]),
        sha256=sha256,
        requested=install.get("requested", False),
    )


def cache_path(cache: Path, wheel: Wheel) -> Path:
    """Return where a wheel lies in the cache."""
    return cache / wheel.sha256[:16] / wheel.file
