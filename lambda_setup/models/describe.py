"""A model's folder and the manifest that it becomes.

The folder holds ``model.toml`` beside the files::

    name = "en-es"
    engine = "opennmt"
    precision = "float16"
    files = ["en-es.pt", "enes.model"]
    card = "One sentence about the model."    # optional

    [libraries]
    torch = "2.13.0"

    [tokenizer]                               # optional; docs/how-to/models.md has its kinds
    kind = "regex"
    pattern = "..."

    [smoke]                                   # optional: sent before the model is promoted
    request = { data = ["..."] }
    predictions = [...]                       # the expected inline answer

A folder without a ``model.toml``, or with one that says nothing of engine and files, is described by the
``publishing.py`` of the function that recognises its files; its name is then the folder's.
"""

import difflib
import hashlib
import re
import tomllib
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from lambda_inference._models import PART_SIZE, TABLES, File, Manifest
from lambda_setup.errors import CommandError
from lambda_setup.functions import load_modules
from lambda_setup.models.toolkits.packages import fetch

HOOKS = "publishing"
"""Module of a function that recognises its models (``describe``) and converts them (``CONVERTERS``)."""

_REQUIRED = {"name", "engine", "precision", "libraries", "files"}
_KNOWN = _REQUIRED | {"card", "smoke"} | set(TABLES)
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,30}")
"""The pattern of the template's parameter ModelName."""


class Smoke(Struct, frozen=True):
    """A request to test a model with before it is promoted, and the predictions to expect."""

    request: dict[str, Any]
    predictions: list[Any]


class Description(Struct, frozen=True, kw_only=True):
    """A ``model.toml`` with all that it has to say."""

    name: str
    engine: str
    precision: str
    libraries: dict[str, str]
    files: list[str]
    card: str = ""
    smoke: Smoke | None = None
    tokenizer: dict[str, Any] = {}
    decoding: dict[str, Any] = {}
    languages: dict[str, Any] = {}


class PublishedManifest(Manifest, frozen=True, kw_only=True):
    """A manifest with the fields that only operators' commands read."""

    smoke: Smoke | None = None


def describe(folder: Path) -> PublishedManifest:
    """Return the manifest of the model in a folder; CommandError if its ``model.toml`` is invalid."""
    path = folder / "model.toml"
    description = read_description(path)
    if not description.keys() & _REQUIRED - {"name"}:
        description = {**_recognize(folder), **description}
    if missing := _REQUIRED - description.keys():
        raise CommandError(f"{path} lacks {', '.join(sorted(missing))}; see models/en-es/model.toml")
    fetch(folder)
    try:
        fields = msgspec.convert(description, Description)
        validate_file_names(fields.files)
    except (CommandError, msgspec.ValidationError) as error:
        raise CommandError(f"{path}: {error}") from None
    return PublishedManifest(
        name=validate_name(fields.name),
        engine=fields.engine,
        precision=fields.precision,
        libraries=fields.libraries,
        files=[_hash_file(folder / name, path) for name in fields.files],
        smoke=fields.smoke,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        card=fields.card,
        requires=[name for name in TABLES if getattr(fields, name)],
        tokenizer=fields.tokenizer,
        decoding=fields.decoding,
        languages=fields.languages,
    )


def read_description(path: Path) -> dict[str, Any]:
    """Return the contents of a ``model.toml``, if any; CommandError if it is not TOML, or misspelt."""
    try:
        description = tomllib.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except ValueError as error:
        raise CommandError(f"{path} is not TOML: {error}; correct it there") from None
    for name in description.keys() - _KNOWN:
        if near := difflib.get_close_matches(name, _KNOWN, 1):
            raise CommandError(f"{path} has {name}, which nothing reads; did you mean {near[0]}?")
    return description


def validate_name(name: str) -> str:
    """Return a model's name; CommandError if the template does not accept it."""
    if not _NAME.fullmatch(name):
        raise CommandError(f"invalid model name {name!r}; use 1 to 31 of a-z, 0-9 and -, the first not a -")
    return name


def derive_name(folder: Path) -> str:
    """Return the name of a model without one: its folder's, as far as a name may hold it."""
    return re.sub(r"[^a-z0-9]+", "-", folder.resolve().name.lower()).strip("-")[:31] or "model"


def validate_file_names(names: Collection[str]) -> None:
    """Check that file names are plain and different, also on file systems that ignore case."""
    for name in names:
        plain = name.isprintable() and name[:1] not in {"", "."} and not set(name) & set("/\\:")
        if not plain or name in {"manifest.json", "model.toml"}:
            raise CommandError(
                f"invalid file name {name!r}; use a plain name without / \\ : or a leading dot, and neither "
                "manifest.json nor model.toml"
            )
    if len({name.casefold() for name in names}) < len(names):
        raise CommandError("a file is named twice")


def _recognize(folder: Path) -> dict[str, Any]:
    if any(folder.glob(".*.partial")):
        raise FileNotFoundError(f"{folder} holds an incomplete download; run `model download` again")
    for hooks in load_modules(HOOKS):
        try:
            description = hooks.describe(folder)
        except ValueError as error:
            raise CommandError(str(error)) from None
        if description:
            return {"name": derive_name(folder), **description}
    raise FileNotFoundError(
        f"{folder} has no model.toml, and no function recognises its files; write one as "
        "models/en-es/model.toml"
    )


def _hash_file(path: Path, description: Path) -> File:
    if not path.is_file():
        raise CommandError(
            f"`files` in {description} names {path.name}, but {path} does not exist; correct the line, "
            "or train or download the model"
        )
    parts = []
    with path.open("rb") as file:
        while part := file.read(PART_SIZE):
            parts.append(hashlib.sha256(part).hexdigest())
    return File(name=path.name, size=path.stat().st_size, part_size=PART_SIZE, parts=parts)
