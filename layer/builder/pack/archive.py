"""The nested layer's archive: a tree that is too big for a layer, packed to be unpacked fast.

An archive is an ordinary ``.tar.zst``, which ``tar --zstd -xf`` reads too. Its tar stream is cut into
pieces, and each piece is a zstd frame of its own, so that all cores can unpack at once and each
frame is checked before it is decompressed. What a reader needs for that stands behind the last frame,
in a skippable frame, which standard tools pass over::

    4 bytes   5E 2A 4D 18, the skippable frame's magic number
    4 bytes   its length, little-endian: that of the index, and 8
    index     JSON, in UTF-8
    4 bytes   the length of the index, little-endian
    4 bytes   "LYRX"

The index says where everything is; nothing in the tar stream but the files' data is looked at::

    {"version": 1,
     "bytes": total,                                    # of all files
     "frames": [[offset, length, raw, sha256], …],      # compressed place, decompressed length; the
                                                        # hash is of the compressed bytes
     "files": [[path, size, offset], …]}                # place in the tar stream, in its order; a
                                                        # fourth value, 1, marks an executable

The frames' hashes are in the index, and the hash of the index is in the layer's marker, so every
byte is checked. The same tree and level give the same archive, byte for byte.
"""

import collections
import hashlib
import json
import os
import stat
import tarfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from layer.builder.errors import ArchiveError

LEVEL = 9
FRAME = 4 << 20
"""Bytes of the tar stream in a frame: smaller ones compress worse, larger ones are spread worse."""

VERSION = 1
MAGIC = b"\x5e\x2a\x4d\x18"
TAG = b"LYRX"
INDEX_LIMIT = 16 << 20
"""Bytes that the unpacker takes for an index."""

DEPTH_LIMIT = 64
"""Parts of a path that the unpacker takes."""

_BIG = 1 << 20
_READ = 1 << 20


@dataclass(frozen=True)
class Packed:
    """An archive: its index's hash, for the marker, its size, and the size and number of its files."""

    index_sha256: str
    bytes: int
    tree_bytes: int
    files: int


@dataclass(frozen=True)
class _File:
    path: Path
    name: str
    size: int
    executable: bool


def pack(tree: Path, archive: Path, *, level: int = LEVEL) -> Packed:
    """Pack a folder's regular files, and no empty folder; the archive is there whole or not at all."""
    compress = _make_compressor(level)
    files = _list_files(tree)
    partial = archive.with_name(archive.name + ".partial")
    try:
        with partial.open("wb") as out:
            offsets: list[int] = []
            frames: list[list[int | str]] = []
            place = 0
            for raw, data in _compress(_cut(_yield_tar(files, offsets)), compress):
                frames.append([place, len(data), raw, hashlib.sha256(data).hexdigest()])
                place += out.write(data)
            index = _make_index(files, offsets, frames)
            length = len(index).to_bytes(4, "little")
            out.write(MAGIC + (len(index) + 8).to_bytes(4, "little") + index + length + TAG)
            size = out.tell()
        partial.replace(archive)
    finally:
        partial.unlink(missing_ok=True)
    return Packed(hashlib.sha256(index).hexdigest(), size, sum(file.size for file in files), len(files))


def _make_compressor(level: int) -> Callable[[bytes], bytes]:
    try:
        import zstandard
    except ImportError:
        raise ArchiveError("a nested layer is packed with zstandard: pip install zstandard") from None

    own = threading.local()

    def compress(piece: bytes) -> bytes:
        # A compressor belongs to one thread; the frame's header tells the piece's length.
        if not hasattr(own, "compressor"):
            own.compressor = zstandard.ZstdCompressor(level=level)
        data: bytes = own.compressor.compress(piece)
        return data

    return compress


def _list_files(tree: Path) -> list[_File]:
    files = []
    for folder, folders, names in os.walk(tree, onerror=_refuse_unreadable):
        for name in (*folders, *names):
            path = Path(folder, name)
            status = path.lstat()
            if stat.S_ISDIR(status.st_mode):
                continue
            if not stat.S_ISREG(status.st_mode):
                raise ArchiveError(f"{path} is neither a file nor a folder; a layer can have nothing else")
            inside = path.relative_to(tree).as_posix()
            try:
                inside.encode()
            except UnicodeEncodeError:
                raise ArchiveError(f"{os.fsencode(path)!r} is not named in UTF-8; rename it") from None
            if inside.count("/") >= DEPTH_LIMIT:
                raise ArchiveError(f"{path} has more than {DEPTH_LIMIT} parts in the tree; leave it out")
            files.append(_File(path, inside, status.st_size, bool(status.st_mode & stat.S_IXUSR)))
    # Big files first: their frames are the most work, and small ones fill the gaps at the end.
    return sorted(files, key=lambda file: (file.size < _BIG, file.name))


def _refuse_unreadable(error: OSError) -> NoReturn:
    raise ArchiveError(
        f"{error.filename} cannot be read, so its files would be missing: {error.strerror}"
    ) from error


def _yield_tar(files: list[_File], offsets: list[int]) -> Iterator[bytes]:
    """Yield the tar stream, and append where each file's data starts in it."""
    place = 0
    for file in files:
        info = tarfile.TarInfo(file.name)
        info.size = file.size
        info.mode = 0o755 if file.executable else 0o644
        header = info.tobuf(tarfile.PAX_FORMAT)
        yield header
        place += len(header)
        offsets.append(place)
        with file.path.open("rb") as data:
            left = file.size
            while part := data.read(min(_READ, left)):
                left -= len(part)
                yield part
            if left or data.read(1):
                raise ArchiveError(f"{file.path} changed while it was packed; pack again")
        padding = -file.size % tarfile.BLOCKSIZE
        yield bytes(padding)
        place += file.size + padding
    yield bytes(2 * tarfile.BLOCKSIZE)


def _cut(stream: Iterator[bytes]) -> Iterator[bytes]:
    buffer = bytearray()
    for part in stream:
        buffer += part
        while len(buffer) >= FRAME:
            yield bytes(buffer[:FRAME])
            del buffer[:FRAME]
    if buffer:
        yield bytes(buffer)


def _compress(pieces: Iterator[bytes], compress: Callable[[bytes], bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield each piece's length and its frame in order, compressed on all cores."""
    cores = os.cpu_count() or 1
    waiting: collections.deque[tuple[int, Future[bytes]]] = collections.deque()
    with ThreadPoolExecutor(cores) as pool:
        for piece in pieces:
            waiting.append((len(piece), pool.submit(compress, piece)))
            if len(waiting) > 2 * cores:  # a few pieces are in memory, never the tree
                raw, frame = waiting.popleft()
                yield raw, frame.result()
        for raw, frame in waiting:
            yield raw, frame.result()


def _make_index(files: list[_File], offsets: list[int], frames: list[list[int | str]]) -> bytes:
    index = {
        "version": VERSION,
        "bytes": sum(file.size for file in files),
        "frames": frames,
        "files": [
            [file.name, file.size, offset, 1] if file.executable else [file.name, file.size, offset]
            for file, offset in zip(files, offsets, strict=True)
        ],
    }
    text = json.dumps(index, ensure_ascii=False, separators=(",", ":")).encode()
    if len(text) > INDEX_LIMIT:
        raise ArchiveError(f"{len(files):,} files are too many for one archive; leave some out")
    return text
