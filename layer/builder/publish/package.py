"""The package of a layer: the zip that Lambda takes from S3."""

import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path

from layer.builder.tree import file_sha256

_DATE = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Package:
    """A layer's zip: its path, its hash in hexadecimal, and its bytes."""

    path: Path
    sha256: str
    bytes: int


def pack(folder: Path, target: Path) -> Package:
    """Zip a folder; the same files give the same bytes, whenever and by whomever they were made."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(folder.rglob("*"), key=lambda path: path.relative_to(folder).as_posix()):
            if not path.is_file():
                continue
            entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), _DATE)
            entry.compress_type, entry.create_system = zipfile.ZIP_DEFLATED, 3
            # Lambda's functions run as another user than the one who owns a layer's files.
            entry.external_attr = (0o100755 if path.stat().st_mode & 0o111 else 0o100644) << 16
            entry.file_size = path.stat().st_size
            with path.open("rb") as source, file.open(entry, "w") as sink:
                shutil.copyfileobj(source, sink, 1 << 20)
    return Package(target, file_sha256(target), target.stat().st_size)
