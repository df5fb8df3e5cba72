"""Downloads of models: each file is fetched into ``.NAME.partial``, checked, and renamed when all are there.

``model.toml`` is written last. It may state the sha256 of its files::

    [sha256]
    "en-es.pt" = "<64 hexadecimal digits>"
"""

import contextlib
import hashlib
import os
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
import tomlkit
from msgspec import Meta, Struct, field

from lambda_inference._models import Manifest
from lambda_setup.errors import CommandError
from lambda_setup.models.describe import validate_file_names, validate_name
from lambda_setup.models.sources import DownloadError, Folder, Source
from lambda_setup.output import status, transfer
from layer.builder.tree import lock_exclusive

RETRIES, CHUNK = 3, 256 * 1024
DESCRIPTION_LIMIT, PART_LIMIT = 16 * 1024 * 1024, 1024 * 1024 * 1024
SHA256 = r"^[0-9a-fA-F]{64}\Z"

T = TypeVar("T")


class Description(Struct, frozen=True, kw_only=True):
    """The fields of ``model.toml``."""

    name: str
    engine: str
    precision: str
    libraries: dict[str, str]
    files: Annotated[list[str], Meta(min_length=1)]
    sha256: dict[str, Annotated[str, Meta(pattern=SHA256)]] = field(default_factory=dict)


@dataclass(frozen=True)
class Item:
    """A file to fetch: the sha256 of each of its parts, or of the whole if ``part_size`` is 0."""

    name: str
    digests: list[str]
    part_size: int = 0

    def matches(self, path: Path) -> bool:
        """Return whether the file at a path has these digests."""
        return path.is_file() and _hash(path, self.part_size) == self.digests


@dataclass(frozen=True)
class Model:
    """A model to fetch; ``text`` is its ``model.toml``, empty for a version in a model bucket."""

    description: Description
    items: list[Item]
    text: bytes


def read_model(source: Source, sha256: str = "") -> Model:
    """Return the description of a source's model, validated: a source is not trusted.

    CommandError if it is invalid, DownloadError if it differs from ``sha256`` or the version in the URL.
    """
    version = re.search(r"/versions/([0-9a-f]{64})$", source.location)
    name = "manifest.json" if version else "model.toml"
    url = f"{source.location}/{name}"
    data = _retry(source, lambda: _read_small(source, name))
    if sha256 and (actual := hashlib.sha256(data).hexdigest()) != sha256.lower():
        raise DownloadError(f"{url} has sha256 {actual}, expected {sha256.lower()}; ask who gave you these")
    try:
        if version:
            return _parse_manifest(msgspec.json.decode(data, type=Manifest), version[1])
        description = msgspec.convert(tomllib.loads(data.decode()), Description)
        _validate_names(description)
    except DownloadError:
        raise
    except (CommandError, ValueError) as error:
        raise CommandError(f"{url} is not usable: {error}") from None
    digests = {name: digest.lower() for name, digest in description.sha256.items()}
    if isinstance(source, Folder):
        for name in set(description.files) - set(digests):
            source.open(name).body.close()
            digests[name] = _hash(Path(source.location, name))[0]
    if missing := sorted(set(description.files) - set(digests)):
        raise CommandError(
            f"{url} has no sha256 of {', '.join(missing)}; add it to the table [sha256] there, "
            "which a download over a network needs"
        )
    return Model(description, [Item(name, [digests[name]]) for name in description.files], data)


def download(
    source: Source, model: Model, folder: Path, *, force: bool = False, dry_run: bool = False
) -> None:
    """Fetch a model into a folder, or check it if the folder is its source.

    CommandError if the folder has other files of these names, unless ``force``.
    """
    needed = [item for item in model.items if not item.matches(folder / item.name)]
    if isinstance(source, Folder) and Path(source.location).resolve() == folder.resolve():
        if needed:
            raise DownloadError(f"{folder / needed[0].name} is missing or does not match its sha256; "
                                "download the model again from its origin")  # fmt: skip
        checked = sum(bool(item.part_size or item.name in model.description.sha256) for item in model.items)
        status(f"{folder} is in place: all {len(model.items)} files are there, {checked} checked by sha256")
        return
    is_described = _is_described(folder, model)
    names = [item.name for item in needed] + ([] if is_described else ["model.toml"])
    if not force and (existing := [name for name in names if (folder / name).exists()]):
        raise CommandError(
            f"{folder} has another {' and '.join(existing)}; replace by --force, or give another --out"
        )
    if dry_run:
        for item in model.items:
            fetch = f"would fetch {_format_size(source, item.name)} bytes"
            status(f"{item.name}: {fetch if item in needed else 'is there already'}")
        return
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with lock_exclusive(folder, wait=False):
            for item in needed:
                _fetch(source, item, _partial(folder, item.name))
            if needed or not is_described:
                (folder / "model.toml").unlink(missing_ok=True)  # it describes the former files
                for item in needed:
                    _rename(folder, item.name)
                _partial(folder, "model.toml").write_bytes(
                    model.text or _draw_toml(model.description, folder)
                )
                _rename(folder, "model.toml")
    except BlockingIOError:
        raise CommandError(f"another download into {folder} is running; wait for it") from None
    existing_count = len(model.items) - len(needed)
    status(
        f"{folder} is complete: {len(needed)} files fetched and checked, {existing_count} were there already"
    )


def _fetch(source: Source, item: Item, partial: Path) -> None:
    """Fetch one file, resuming an earlier run; a damaged one is fetched again, once."""
    for _ in range(2):
        if not item.matches(partial):
            _retry(source, lambda: _receive(source, item.name, partial))
        digests = _hash(partial, item.part_size)
        _etag_path(partial).unlink(missing_ok=True)
        if digests == item.digests:
            return
        partial.unlink()
    actual, expected = next(pair for pair in zip_longest(digests, item.digests) if pair[0] != pair[1])
    raise DownloadError(
        f"{source.location}/{item.name} came twice with sha256 {actual}, expected {expected}; "
        "it was deleted: tell its publisher"
    )


def _receive(source: Source, name: str, partial: Path) -> None:
    """Append the rest of a partial file, or all of it if the source's file has changed."""
    start = partial.stat().st_size if partial.exists() else 0
    etag = _etag_path(partial).read_text("latin-1") if _etag_path(partial).exists() else ""
    stream = source.open(name, start, etag if etag.isprintable() else "")
    with (
        contextlib.closing(stream.body),
        partial.open("ab") as file,
        transfer(name, stream.total) as progress,
    ):
        file.truncate(stream.start)
        progress(stream.start)
        _etag_path(partial).write_text(stream.etag, "latin-1")
        while chunk := stream.body.read(CHUNK):
            file.write(chunk)
            progress(len(chunk))
        if stream.total not in {None, file.tell()}:
            raise ConnectionError(f"it ended after {file.tell()} of {stream.total} bytes of {name}")


def _retry(source: Source, call: Callable[[], T]) -> T:
    failures = 0
    while True:
        try:
            return call()
        except source.retryable as error:
            failures += 1
            if failures > RETRIES:
                raise DownloadError(
                    f"the connection to {source.location} broke {failures} times, the last time because "
                    f"{error}; run it again later to resume"
                ) from None


def _read_small(source: Source, name: str) -> bytes:
    stream = source.open(name)
    with contextlib.closing(stream.body):
        data: bytes = stream.body.read(DESCRIPTION_LIMIT)
    if stream.total not in {None, len(data)}:
        raise ConnectionError(f"it ended after {len(data)} of {stream.total} bytes of {name}")
    return data


def _format_size(source: Source, name: str) -> str:
    stream = _retry(source, lambda: source.open(name))
    stream.body.close()
    return "?" if stream.total is None else f"{stream.total:,}"


def _parse_manifest(manifest: Manifest, version: str) -> Model:
    if manifest.version != version:
        raise DownloadError(f"version {version} is damaged: its manifest.json is that of {manifest.version}")
    fields = {key: getattr(manifest, key) for key in ("name", "engine", "precision", "libraries")}
    description = Description(**fields, files=[file.name for file in manifest.files])
    _validate_names(description)
    if not all(0 < file.part_size <= PART_LIMIT for file in manifest.files):
        raise CommandError(f"expected a part_size of 1 to {PART_LIMIT} bytes")
    return Model(description, [Item(file.name, file.parts, file.part_size) for file in manifest.files], b"")


def _validate_names(description: Description) -> None:
    validate_name(description.name)
    validate_file_names(description.files)


def _is_described(folder: Path, model: Model) -> bool:
    """Return whether the folder's ``model.toml`` equals the model's."""
    with contextlib.suppress(OSError, ValueError):
        current = msgspec.convert(tomllib.loads((folder / "model.toml").read_text("utf-8")), Description)
        return (current if model.text else msgspec.structs.replace(current, sha256={})) == model.description
    return False


def _draw_toml(description: Description, folder: Path) -> bytes:
    digests = {name: _hash(folder / name)[0] for name in description.files}
    return tomlkit.dumps({**msgspec.structs.asdict(description), "sha256": digests}).encode()


def _hash(path: Path, part_size: int = 0) -> list[str]:
    with path.open("rb") as file:
        if not part_size:
            return [hashlib.file_digest(file, "sha256").hexdigest()]
        return [hashlib.sha256(part).hexdigest() for part in iter(lambda: file.read(part_size), b"")]


def _partial(folder: Path, name: str) -> Path:
    return folder / f".{name}.partial"


def _etag_path(partial: Path) -> Path:
    return partial.with_name(f"{partial.name}.etag")


def _rename(folder: Path, name: str) -> None:
    """Give a partial file its name, durably: after a power cut it is complete or absent."""
    _sync(_partial(folder, name))
    _partial(folder, name).replace(folder / name)
    _sync(folder)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
