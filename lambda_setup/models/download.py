"""Get a model from a URL, S3 or a folder into place: ``python -m lambda_setup.models.download --help``.

Every file is fetched into ``.NAME.partial`` and checked. Only when all are there they get their names,
``model.toml`` the last. It may state what its files have to be::

    [sha256]
    "en-es.pt" = "<64 hexadecimal digits>"
"""

import argparse
import contextlib
import fcntl
import functools
import hashlib
import json
import os
import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta, Struct, field
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from lambda_inference._models import Manifest
from lambda_setup.deployment.local.process import termination_unwinds
from lambda_setup.functions import ROOT
from lambda_setup.models.describe import validate_file_names, validate_name
from lambda_setup.models.sources import EXPECTED, Failed, Folder, Refused, Source, source_of
from lambda_setup.output import status

MODELS = ROOT / "models"
RETRIES, CHUNK = 3, 256 * 1024
DESCRIPTION_LIMIT, PART_LIMIT = 16 * 1024 * 1024, 1024 * 1024 * 1024
_SHA256 = r"^[0-9a-fA-F]{64}\Z"

T = TypeVar("T")


class Description(Struct, frozen=True, kw_only=True):
    """What ``model.toml`` says."""

    name: str
    engine: str
    precision: str
    libraries: dict[str, str]
    files: Annotated[list[str], Meta(min_length=1)]
    sha256: dict[str, Annotated[str, Meta(pattern=_SHA256)]] = field(default_factory=dict)


@dataclass(frozen=True)
class Item:
    """A file to get: the sha256 of each of its parts, or of all of it when it has no ``part_size``."""

    name: str
    digests: list[str]
    part_size: int = 0

    def is_at(self, path: Path) -> bool:
        """Return whether this is what a path leads to."""
        return path.is_file() and _digests(path, self.part_size) == self.digests


@dataclass(frozen=True)
class Model:
    """A model to get; a model store keeps no ``model.toml``, its ``text`` is then empty."""

    description: Description
    items: list[Item]
    text: bytes


def read_model(source: Source, sha256: str = "") -> Model:
    """Return what a source says that it holds; nothing in it is trusted.

    Raises:
        Refused: it says nothing usable, or not what its files have to be.
        Failed: it cannot be read, or is not what ``sha256`` or the version's own name says.

    """
    version = re.search(r"/versions/([0-9a-f]{64})$", source.location)
    place = f"{source.location}/{'manifest.json' if version else 'model.toml'}"
    data = _retrying(source, lambda: _read_small(source, place.rpartition("/")[2]))
    if sha256 and (found := hashlib.sha256(data).hexdigest()) != sha256.lower():
        raise Failed(f"{place} has sha256 {found}, expected {sha256.lower()}; ask who gave you these")
    try:
        if version:
            return _from_manifest(msgspec.json.decode(data, type=Manifest), version[1])
        description = msgspec.convert(tomllib.loads(data.decode()), Description)
        _check_names(description)
    except ValueError as error:
        raise Refused(f"{place} is not usable: {error}") from None
    digests = {name: digest.lower() for name, digest in description.sha256.items()}
    if isinstance(source, Folder):
        for name in set(description.files) - set(digests):
            source.open(name).stream.close()
            digests[name] = _digests(source.path / name)[0]
    if missing := sorted(set(description.files) - set(digests)):
        raise Refused(f"{place} states no sha256 of {', '.join(missing)}; what comes over a network needs "
                      "one: add it to the table [sha256] there")  # fmt: skip
    return Model(description, [Item(name, [digests[name]]) for name in description.files], data)


def get(source: Source, model: Model, folder: Path, *, force: bool = False, dry_run: bool = False) -> None:
    """Bring a model into a folder, or see that all of it is there when it comes from that folder.

    Raises:
        Refused: there is something else under one of its names, and ``force`` is not given.
        Failed: a file is not what it has to be, or the connection broke too often.

    """
    wanted = [item for item in model.items if not item.is_at(folder / item.name)]
    if isinstance(source, Folder) and source.path.resolve() == folder.resolve():
        if wanted:
            raise Failed(f"{folder / wanted[0].name} is missing or not what its sha256 says; "
                         "get the model again from where it came from")  # fmt: skip
        checked = sum(bool(item.part_size or item.name in model.description.sha256) for item in model.items)
        status(f"{folder} is in place: all {len(model.items)} files are there, {checked} checked by sha256")
        return
    described = _is_described(folder, model)
    names = [item.name for item in wanted] + ([] if described else ["model.toml"])
    taken = [name for name in names if (folder / name).exists()]
    if taken and not force:
        raise Refused(f"{folder} has another {' and '.join(taken)}; replace by --force, or give another --to")
    if dry_run:
        for item in model.items:
            fetch = f"would fetch {_size(source, item.name)} bytes" if item in wanted else "is there already"
            status(f"{item.name}: {fetch}")
        return
    folder.mkdir(parents=True, exist_ok=True)
    with _alone_in(folder), _progress() as progress:
        for item in wanted:
            _fetch(source, item, _partial(folder, item.name), progress)
        if wanted or not described:
            (folder / "model.toml").unlink(missing_ok=True)  # it describes what is about to change
            for item in wanted:
                _put(folder, item.name)
            _partial(folder, "model.toml").write_bytes(model.text or _toml(model.description, folder))
            _put(folder, "model.toml")
    there = len(model.items) - len(wanted)
    status(f"{folder} is whole: {len(wanted)} files fetched and checked, {there} were there already")


def _fetch(source: Source, item: Item, partial: Path, progress: Progress) -> None:
    """Get one file, going on with what an earlier run left of it; a wrong one is fetched anew, once."""
    update = functools.partial(progress.update, progress.add_task(item.name, total=None))
    for _ in range(2):
        if not item.is_at(partial):
            _retrying(source, lambda: _receive(source, item.name, partial, update))
        found = _digests(partial, item.part_size)
        _tag_file(partial).unlink(missing_ok=True)
        if found == item.digests:
            return
        partial.unlink()
    wrong = next(pair for pair in zip_longest(found, item.digests) if pair[0] != pair[1])
    raise Failed(f"{source.location}/{item.name} came twice with sha256 {wrong[0]}, expected {wrong[1]}; "
                 "it was not kept: tell who publishes it")  # fmt: skip


def _receive(source: Source, name: str, partial: Path, update: Callable[..., None]) -> None:
    """Append what is missing of a partial file, or all of it when the source has another one by now."""
    start = partial.stat().st_size if partial.exists() else 0
    tag = _tag_file(partial).read_text("latin-1") if _tag_file(partial).exists() else ""
    opened = source.open(name, start, tag if tag.isprintable() else "")
    with contextlib.closing(opened.stream) as stream, partial.open("ab") as file:
        file.truncate(opened.start)
        file.seek(opened.start)
        _tag_file(partial).write_text(opened.etag, "latin-1")
        while chunk := stream.read(CHUNK):
            file.write(chunk)
            update(total=opened.total, completed=file.tell())
        if opened.total not in {None, file.tell()}:
            raise ConnectionError(f"it ended after {file.tell()} of {opened.total} bytes of {name}")


def _retrying(source: Source, call: Callable[[], T]) -> T:
    broken = 0
    while True:
        try:
            return call()
        except source.broken as error:
            broken += 1
            if broken > RETRIES:
                raise Failed(f"the connection to {source.location} broke {broken} times, at last because "
                             f"{error}; try again later, it goes on from there") from None  # fmt: skip


def _read_small(source: Source, name: str) -> bytes:
    opened = source.open(name)
    with contextlib.closing(opened.stream) as stream:
        data: bytes = stream.read(DESCRIPTION_LIMIT)
    if opened.total not in {None, len(data)}:
        raise ConnectionError(f"it ended after {len(data)} of {opened.total} bytes of {name}")
    return data


def _size(source: Source, name: str) -> str:
    opened = _retrying(source, lambda: source.open(name))
    opened.stream.close()
    return "?" if opened.total is None else f"{opened.total:,}"


def _from_manifest(manifest: Manifest, version: str) -> Model:
    if manifest.version != version:
        raise Failed(f"version {version} is damaged: its manifest.json is that of {manifest.version}")
    stated = {key: getattr(manifest, key) for key in ("name", "engine", "precision", "libraries")}
    description = Description(**stated, files=[file.name for file in manifest.files])
    _check_names(description)
    if not all(0 < file.part_size <= PART_LIMIT for file in manifest.files):
        raise Refused(f"expected a part_size of 1 to {PART_LIMIT} bytes")
    return Model(description, [Item(file.name, file.parts, file.part_size) for file in manifest.files], b"")


def _check_names(description: Description) -> None:
    validate_name(description.name)
    validate_file_names(description.files)


def _is_described(folder: Path, model: Model) -> bool:
    """Return whether the folder's ``model.toml`` already says what the model's does."""
    with contextlib.suppress(OSError, ValueError):
        there = msgspec.convert(tomllib.loads((folder / "model.toml").read_text("utf-8")), Description)
        return (there if model.text else msgspec.structs.replace(there, sha256={})) == model.description
    return False


def _toml(description: Description, folder: Path) -> bytes:
    """Return a ``model.toml``; JSON's strings and lists are TOML's but for one character."""
    digests = {name: _digests(folder / name)[0] for name in description.files}
    quoted = functools.partial(json.dumps, ensure_ascii=False)
    lines = [
        f"{key} = {quoted(getattr(description, key))}" for key in ("name", "engine", "precision", "files")
    ]
    for table, pairs in {"libraries": description.libraries, "sha256": digests}.items():
        lines += ["", f"[{table}]", *(f"{quoted(key)} = {quoted(value)}" for key, value in pairs.items())]
    return ("\n".join(lines) + "\n").replace("\x7f", "\\u007f").encode()


def _digests(path: Path, part_size: int = 0) -> list[str]:
    with path.open("rb") as file:
        if not part_size:
            return [hashlib.file_digest(file, "sha256").hexdigest()]
        return [hashlib.sha256(part).hexdigest() for part in iter(lambda: file.read(part_size), b"")]


def _partial(folder: Path, name: str) -> Path:
    return folder / f".{name}.partial"


def _tag_file(partial: Path) -> Path:
    return partial.with_name(f"{partial.name}.etag")


def _put(folder: Path, name: str) -> None:
    """Give a partial file its name, such that a power cut leaves all of it or none."""
    _sync(_partial(folder, name))
    _partial(folder, name).replace(folder / name)
    _sync(folder)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Keep a second download out of a folder: both would write the same partial files."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise Refused(f"another download into {folder} is running; wait for it") from None
    finally:
        os.close(descriptor)


def _progress() -> Progress:
    return Progress(TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(),
                    TimeRemainingColumn(), console=Console(stderr=True))  # fmt: skip


def _near(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def main(arguments: list[str] | None = None) -> int:
    """Get the model that the command line names, print its folder and return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        with termination_unwinds():
            if options.sha256 and not re.match(_SHA256, options.sha256):
                raise Refused(f"--sha256 {options.sha256} is no sha256; expected 64 hexadecimal digits")
            source = source_of(options.source)
            model = read_model(source, options.sha256)
            folder = options.to or _near(MODELS / model.description.name)
            get(source, model, folder, force=options.force, dry_run=options.dry_run)
    except KeyboardInterrupt:
        return 130
    except (OSError, RuntimeError, ValueError) as error:
        print("error:", " ".join(str(error).split()), file=sys.stderr)
        return 2 if isinstance(error, ValueError) else 1
    print(folder)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lambda_setup.models.download",
        description="Get a model into place, every file checked by its sha256, and print its folder. What "
        "was interrupted goes on where it stopped. Exits 1 if that fails, 2 if it is refused.",
        epilog="example: python -m lambda_setup.models.download https://host/models/en-es --to models/en-es",
    )
    shipped = str(_near(MODELS / "en-es"))
    parser.add_argument("source", nargs="?", default=shipped, metavar="SOURCE",
                        help=f"{EXPECTED}, or a version in a model bucket, s3://bucket/models/NAME/versions/"
                             "SHA256; a model that is not in a folder has to state sha256s "
                             "(default: %(default)s)")  # fmt: skip
    parser.add_argument("--to", type=Path, metavar="DIR", help="the model's folder (default: models/NAME)")
    parser.add_argument("--sha256", default="", metavar="HEX",
                        help="what model.toml, or a version's manifest.json, has to be")  # fmt: skip
    parser.add_argument("--force", action="store_true", help="replace other files of the same names")
    parser.add_argument("--dry-run", action="store_true", help="say what would be fetched, and write nothing")
    return parser


if __name__ == "__main__":
    sys.exit(main())
