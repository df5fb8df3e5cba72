"""Records: what was measured of a library for a target, one JSON file each, in ``records/TARGET``.

A record names the library's entry and the builder by their hashes: while both are the same, it stands.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import layer.builder
from bench.packages.catalogue import Package

RECORDS = Path(__file__).with_name("records")
BUILDER = Path(layer.builder.__file__).parent


@dataclass(frozen=True, kw_only=True)
class Record:
    """One library on one target.

    ``bytes`` are those of the trees ``pip``, ``usual`` and ``ours``. ``largest`` are those of the largest
    shared library of the usual tree. ``imports`` holds the processor time of importing our tree as a ratio
    to ``pip`` and ``usual``, a number a repetition; on the host alone. ``verdict`` is ``proven``,
    ``unproven`` or ``failed``, and ``reason`` says how or why. ``other`` says how the second script
    answers on our tree: ``same``, or what is different.
    """

    package: str
    target: str
    runtime: str
    entry: str
    builder: str
    versions: dict[str, str]
    bytes: dict[str, int]
    largest: int = 0
    imports: dict[str, list[float]]
    verdict: str
    reason: str
    other: str

    @property
    def is_proven(self) -> bool:
        """Whether the tree gave the reference's answers, those of the second script included."""
        return self.verdict == "proven" and self.other == "same"


def path_of(package: str, target: str, folder: Path = RECORDS) -> Path:
    """Return where a record stands."""
    return folder / target / f"{package}.json"


def read(package: str, target: str, folder: Path = RECORDS) -> Record | None:
    """Return the record of a library for a target, if there is one."""
    path = path_of(package, target, folder)
    return Record(**json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None


def write(record: Record, folder: Path = RECORDS) -> Path:
    """Write a record, and return its path."""
    path = path_of(record.package, record.target, folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(record), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def is_current(record: Record | None, package: Package) -> bool:
    """Return whether a record is of a library's entry and of the builder as both are now."""
    return record is not None and (record.entry, record.builder) == (package.digest, digest_builder())


def digest_builder(folder: Path = BUILDER) -> str:
    """Return the sha256 of the modules and rules that decide what a layer holds, reports left aside."""
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if path.suffix in {".py", ".toml"} and inside.parts[0] not in {"cli", "cli.py", "publish", "report"}:
            total.update(f"{inside.as_posix()}\0".encode() + path.read_bytes())
    return total.hexdigest()
