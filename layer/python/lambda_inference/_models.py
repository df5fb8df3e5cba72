"""Models: the manifest of a version, and a version in memory."""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from lambda_inference._errors import Unavailable

PART_SIZE = 8 * 1024 * 1024
"""Bytes of a part: what one ranged read fetches and one hash covers."""


TABLES = ("tokenizer", "decoding", "languages")
"""Tables of a manifest that decide a model's answers; a model without them has the version it always had."""


class File(Struct, frozen=True):
    """One file of a model: its size in bytes, and the sha256 of each of its parts."""

    name: str
    size: int
    part_size: int
    parts: list[str]

    def __post_init__(self) -> None:
        if not self.name or "/" in self.name or self.name == "manifest.json":
            raise ValueError("invalid file name")
        if self.size < 0 or self.part_size < 1 or len(self.parts) != -(-self.size // self.part_size):
            raise ValueError("a file's size does not match its parts")


class Manifest(Struct, frozen=True, kw_only=True):
    """A model version: its files, its engine, and the libraries that saved it.

    Attributes:
        engine: the engine that loads it.
        precision: its weights' precision as stored, in the engine's own words.
        libraries: versions of the libraries that saved it, by distribution name.
        files: its files.
        tokenizer: how its texts become tokens, where its files alone do not say it.
        decoding: defaults of its requests.
        languages: how a request's languages become tokens.
        requires: what a reader has to know, such as ``tokenizer``; a function refuses what it does not know.

    """

    name: str
    engine: str
    precision: str
    libraries: dict[str, str]
    files: list[File]
    tokenizer: dict[str, Any] = {}
    decoding: dict[str, Any] = {}
    languages: dict[str, Any] = {}
    requires: list[str] = []
    created: str = ""
    card: str = ""

    def __post_init__(self) -> None:
        if len({file.name for file in self.files}) != len(self.files):
            raise ValueError("two files have the same name")

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files)

    @property
    def version(self) -> str:
        """The sha256 of the canonical JSON of what decides the answers; name, date and card do not count."""
        import hashlib

        content = {
            "engine": self.engine,
            "precision": self.precision,
            "libraries": self.libraries,
            "files": sorted(msgspec.to_builtins(self.files), key=lambda file: file["name"]),
            **{name: value for name in TABLES if (value := getattr(self, name))},
        }
        return hashlib.sha256(msgspec.json.encode(content, order="sorted")).hexdigest()


class Model(Struct, frozen=True):
    """A model version in memory.

    Attributes:
        version: its version, a sha256.
        files: name to bytes; read-only views of ``bytes`` objects (``view.obj``), which stay valid for as
            long as they are referenced.

    """

    manifest: Manifest
    version: str
    files: Mapping[str, memoryview]

    def only(self, suffix: str) -> memoryview:
        """Return the only file whose name ends with a suffix.

        Raises:
            Unavailable: there is no such file, or more than one.

        """
        names = [name for name in self.files if name.endswith(suffix)]
        if len(names) != 1:
            raise Unavailable(
                f"model {self.manifest.name} holds {len(names)} files *{suffix}, and needs one; "
                "name it in `files` of its model.toml, and publish it again"
            )
        return self.files[names[0]]
