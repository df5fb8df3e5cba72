"""A nested layer: an archive inside the layer, unpacked to /tmp while the function initialises.

Lambda takes 262,144,000 bytes unzipped. A layer that is bigger packs a part of itself, in the
format of ``layer/builder/pack/archive.py``, and names the archive in its marker ``layer_target.json``::

    {"archive": {"file": "layer.tar.zst", "index": "<sha256 of its index>", "bytes": 450000000}, …}

``ensure`` unpacks it and adds it to ``sys.path``. ``begin`` does so in the background; an import of a
packed module waits for it.

No byte of the archive is used unchecked: the index has to match the marker's hash, a frame the index's.
The thread that unpacks never imports anything: an import that waits for it holds the import lock.
"""

import bisect
import collections
import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, NoReturn

MARKER = "layer_target.json"

VERSION = 1
MAGIC = b"\x5e\x2a\x4d\x18"
TAG = b"LYRX"
FRAME_LIMIT = 8 << 20
"""The most bytes of one frame, decompressed."""

INDEX_LIMIT = 16 << 20

_COMPRESSED_LIMIT = FRAME_LIMIT + (FRAME_LIMIT >> 8) + 64  # zstd's own bound for what does not compress
_PATH_LIMIT = 4096  # the kernel's own
_DEPTH_LIMIT = 64  # removing a tree again takes a call and an open file a folder
_SPARE = 16 << 20  # what a file system needs for itself, generously
_SHA256 = re.compile(r"[0-9a-f]{64}")

Names = Callable[[frozenset[str]], None]


class UnpackError(RuntimeError):
    """A nested layer could not be unpacked."""


class Unpacked(NamedTuple):
    """The folder of an unpacked archive.

    Attributes:
        folder: its path, which belongs on ``sys.path``.
        seconds: the time it took.
        reused: whether the folder existed already.
        bytes: the size of all its files.

    """

    folder: Path
    seconds: float
    reused: bool
    bytes: int


class _File(NamedTuple):
    path: str
    size: int
    offset: int
    mode: int


class _Frame(NamedTuple):
    offset: int
    length: int
    raw: int
    sha256: str


class _Index(NamedTuple):
    files: list[_File]
    frames: list[_Frame]
    bytes: int


def unpack(archive: Path, index_sha256: str, *, temporary: Path | None = None) -> Unpacked:
    """Unpack an archive into a folder of its own, unless it exists already.

    The folder appears atomically, whenever the process ends. Of several processes one unpacks, and the
    others wait for it.

    Args:
        archive: its file.
        index_sha256: the hash of its index, from the layer's marker.
        temporary: the folder to unpack into; by default the system's folder for temporary files.

    Raises:
        UnpackError: the archive does not match the marker, or there is no space for it.

    """
    return _unpack(archive, index_sha256, temporary, lambda _: None)


def _unpack(archive: Path, index_sha256: str, temporary: Path | None, names: Names) -> Unpacked:
    start = time.perf_counter()
    if not _SHA256.fullmatch(index_sha256):
        raise UnpackError(f"{archive}: {index_sha256!r} is not the sha256 of an index; build the layer again")
    folder = (temporary or Path(tempfile.gettempdir())) / f"layer-{index_sha256[:32]}"
    try:
        with _open_archive(archive) as descriptor:
            index = _read_index(archive, descriptor, index_sha256)
            names(frozenset(file.path.partition("/")[0].partition(".")[0] for file in index.files))
            reused = not _make_folder(folder, lambda partial: _fill(archive, descriptor, index, partial))
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise UnpackError(
                f"{archive}: {folder.parent} was full before the archive was unpacked; raise "
                "EphemeralStorage in template.yaml, and deploy again"
            ) from error
        raise UnpackError(f"{archive}: it could not be unpacked to {folder}: {error}") from error
    return Unpacked(folder, time.perf_counter() - start, reused, index.bytes)


def _raise_damaged(archive: Path, what: str) -> NoReturn:
    raise UnpackError(f"{archive}: {what}; the layer is damaged or incomplete: deploy it again")


@contextmanager
def _open_archive(archive: Path) -> Iterator[int]:
    try:
        descriptor = os.open(archive, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        _raise_damaged(archive, f"it cannot be opened: {error.strerror}")
    try:
        yield descriptor
    finally:
        os.close(descriptor)


# The index.


def _read_index(archive: Path, descriptor: int, index_sha256: str) -> _Index:
    size = os.fstat(descriptor).st_size
    tail = os.pread(descriptor, 8, max(0, size - 8))
    length = int.from_bytes(tail[:4], "little")
    start = size - length - 16
    if tail[4:] != TAG or length > INDEX_LIMIT or start < 0:
        _raise_damaged(archive, "there is no index at its end")
    block = os.pread(descriptor, length + 8, start)
    if block[:8] != MAGIC + (length + 8).to_bytes(4, "little"):
        _raise_damaged(archive, "its index has another beginning")
    text = block[8:]
    if hashlib.sha256(text).hexdigest() != index_sha256:
        _raise_damaged(archive, "its index is not the one that the layer was built with")
    try:
        return _parse_index(json.loads(text), start)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        _raise_damaged(archive, f"its index is wrong: {error}")


def _parse_index(index: Any, end: int) -> _Index:
    """Validate a decoded index.

    Raises:
        ValueError, TypeError, KeyError: it is invalid.

    """
    if index["version"] != VERSION:
        raise ValueError(f"version {index['version']!r}, and this function reads {VERSION}")
    frames, place, stream = [], 0, 0
    for number, entry in enumerate(index["frames"]):
        offset, length, raw, sha256 = entry
        sizes = _is_count(offset) and _is_count(length) and _is_count(raw) and 0 < raw <= FRAME_LIMIT
        if not sizes or not 0 < length <= _COMPRESSED_LIMIT or offset != place or offset + length > end:
            raise ValueError(f"frame {number} is not where it can be")
        frames.append(_Frame(offset, length, raw, sha256))
        place += length
        stream += raw
    if place != end:
        raise ValueError("its frames do not fill the archive")
    files, last = [], 0
    for path, size, offset, *executable in index["files"]:
        _check_path(path)
        if (
            not _is_count(size)
            or not _is_count(offset)
            or not last <= offset < stream
            or offset + size > stream
        ):
            raise ValueError(f"{path!r} is not where it can be")
        if executable not in ([], [1]):
            raise ValueError(f"{path!r} is marked as nobody knows")
        files.append(_File(path, size, offset, 0o755 if executable else 0o644))
        last = offset + size
    _check_distinct(files)
    total = sum(file.size for file in files)
    if index["bytes"] != total:
        raise ValueError(f"its files are {total} bytes, not {index['bytes']!r}")
    return _Index(files, frames, total)


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0  # True is an int, too


def _check_path(path: Any) -> None:
    if type(path) is not str:
        raise ValueError(f"{path!r} is not a path")
    parts, length = path.split("/"), len(path.encode())
    if "\0" in path or not {"", ".", ".."}.isdisjoint(parts):
        raise ValueError(f"{path[:200]!r} is not a path inside a layer")
    if length >= _PATH_LIMIT or len(parts) > _DEPTH_LIMIT:
        raise ValueError(
            f"{path[:200]!r} is a path of {length} bytes and {len(parts)} parts; that is too long"
        )


def _check_distinct(files: list[_File]) -> None:
    seen: set[str] = set()
    for file in files:
        if file.path in seen:
            raise ValueError(f"{file.path!r} is there twice")
        seen.add(file.path)
    if clash := seen.intersection(_list_folders(files)):
        raise ValueError(f"{min(clash)!r} is a file and a folder")


def _list_folders(files: list[_File]) -> list[str]:
    """Return the files' folders, parents first."""
    folders: set[str] = set()
    for file in files:
        folder = file.path.rpartition("/")[0]
        while folder and folder not in folders:
            folders.add(folder)
            folder = folder.rpartition("/")[0]
    return sorted(folders)


# The folder.


def _make_folder(folder: Path, fill: Callable[[int], None]) -> bool:
    """Fill a folder unless it exists, and return whether it was filled now.

    The folder is filled under another name, which is locked meanwhile: the kernel releases a lock when
    its process ends, however that ends. The next process discards the rest.
    """
    partial = folder.with_name(folder.name + ".partial")
    while not _stat_own(folder):
        with _lock_folder(partial) as held:
            if held is None:
                continue
            try:
                if _stat_own(folder):  # made between the look and the lock
                    shutil.rmtree(partial, ignore_errors=True)
                    break
                _clear(held)
                fill(held)
                partial.rename(folder)
            except BaseException:
                shutil.rmtree(partial, ignore_errors=True)
                raise
            return True
    return False


def _stat_own(path: Path) -> os.stat_result | None:
    """Return the status of a folder that only this user can have filled, or None if it does not exist.

    Raises:
        UnpackError: another user may have put something in its place.

    """
    try:
        status = path.lstat()
    except FileNotFoundError:
        return None
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise UnpackError(
            f"{path} exists, and is not a folder that only this user can write to; find out who made it, "
            "and remove it"
        )
    return status


@contextmanager
def _lock_folder(folder: Path) -> Iterator[int | None]:
    """Create a folder and lock it; yield None if it is gone once the lock is held."""
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    try:
        _stat_own(folder)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        yield None
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        # The last holder has renamed or removed the folder, or was killed and has left it.
        there = _stat_own(folder)
        yield descriptor if there and os.path.samestat(os.fstat(descriptor), there) else None
    finally:
        os.close(descriptor)


def _clear(folder: int) -> None:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.name, dir_fd=folder)
            else:
                os.unlink(entry.name, dir_fd=folder)


def _fill(archive: Path, descriptor: int, index: _Index, folder: int) -> None:
    folders = _list_folders(index.files)
    _check_space(archive, folder, index, len(folders))
    for name in folders:
        os.mkdir(name, 0o755, dir_fd=folder)
    _Work(archive, descriptor, index, folder).run()


def _check_space(archive: Path, folder: int, index: _Index, folders: int) -> None:
    disk = os.fstatvfs(folder)
    block = disk.f_frsize
    needed = (folders + sum(-(-file.size // block) for file in index.files)) * block
    free = disk.f_bavail * block
    if disk.f_blocks and needed > free:
        least = -(-(disk.f_blocks * block - free + needed + _SPARE) // 2**20)
        raise UnpackError(
            f"{archive}: it takes {needed:,} bytes in the folder for temporary files, and {free:,} are free; "
            f"raise EphemeralStorage in template.yaml to at least {least} (MB), and deploy again"
        )


class _Work:
    """The unpacking of an archive's frames into a folder, on all cores."""

    def __init__(self, archive: Path, descriptor: int, index: _Index, folder: int) -> None:
        self.zstandard: Any = _import_zstandard(archive)
        self.archive = archive
        self.descriptor = descriptor
        self.files = index.files
        self.folder = folder
        self.offsets = [file.offset for file in index.files]
        self.longest = max((frame.length for frame in index.frames), default=0)
        self.largest = max((frame.raw for frame in index.frames), default=0)
        self.errors: list[BaseException] = []
        # In the archive's order, so that the kernel reads ahead.
        self.waiting: collections.deque[tuple[int, _Frame]] = collections.deque()
        place = 0
        for frame in index.frames:
            self.waiting.append((place, frame))
            place += frame.raw

    def run(self) -> None:
        """Unpack all frames, and raise the first error."""
        count = min(_count_cores(), len(self.waiting))
        threads = [threading.Thread(target=self._work, name="unpack") for _ in range(count - 1)]
        try:
            for thread in threads:
                thread.start()
            self._work()
        finally:
            self.waiting.clear()
            for thread in threads:
                if thread.ident:
                    thread.join()
        if self.errors:
            raise self.errors[0]

    def _work(self) -> None:
        try:
            # Two buffers serve all frames: fresh ones would cost over half of the decompression's time.
            compressed = memoryview(bytearray(self.longest))
            data = memoryview(bytearray(self.largest + 1))
            decompressor = self.zstandard.ZstdDecompressor(max_window_size=FRAME_LIMIT)
            for place, frame in self._take_frames():
                self._load(frame, compressed[: frame.length])
                self._decompress(frame, decompressor, compressed[: frame.length], data)
                self._write(data[: frame.raw], place)
        except BaseException as error:  # noqa: BLE001 - raised by the thread that waits for all
            self.errors.append(error)
            self.waiting.clear()

    def _take_frames(self) -> Iterator[tuple[int, _Frame]]:
        with suppress(IndexError):
            while True:
                yield self.waiting.popleft()

    def _load(self, frame: _Frame, buffer: memoryview) -> None:
        got = 0
        while got < frame.length:
            count = os.preadv(self.descriptor, [buffer[got:]], frame.offset + got)
            if not count:
                _raise_damaged(self.archive, f"it ends at byte {frame.offset + got}")
            got += count
        if hashlib.sha256(buffer).hexdigest() != frame.sha256:
            _raise_damaged(self.archive, f"the bytes from {frame.offset} on are not those of the index")

    def _decompress(self, frame: _Frame, decompressor: Any, compressed: memoryview, data: memoryview) -> None:
        # The frame's header is checked first, so that a decompression bomb is never started. One byte more
        # than allowed is read, so that a second frame behind the first one is noticed.
        try:
            if self.zstandard.frame_content_size(compressed) == frame.raw:
                reader = decompressor.stream_reader(compressed, read_across_frames=True)
                if reader.readinto(data[: frame.raw + 1]) == frame.raw:
                    return
        except self.zstandard.ZstdError:
            pass
        _raise_damaged(self.archive, f"the frame at byte {frame.offset} does not hold {frame.raw} bytes")

    def _write(self, data: memoryview, place: int) -> None:
        end = place + len(data)
        number = bisect.bisect_left(self.offsets, place)
        if number and self.offsets[number - 1] + self.files[number - 1].size > place:
            number -= 1
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        while number < len(self.files) and self.offsets[number] < end:
            file = self.files[number]
            first, last = max(file.offset, place), min(file.offset + file.size, end)
            target = os.open(file.path, flags, file.mode, dir_fd=self.folder)
            try:
                while first < last:
                    first += os.pwrite(target, data[first - place : last - place], first - file.offset)
            finally:
                os.close(target)
            number += 1


def _count_cores() -> int:
    # Not os.cpu_count(): a container may have fewer.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# The process.


class _Layer:
    """The nested layer of a folder on ``sys.path``, until it is on ``sys.path`` itself."""

    def __init__(self, entry: Path, archive: Path, index_sha256: str) -> None:
        self.entry = entry
        self.archive = archive
        self.index_sha256 = index_sha256
        self.claimed = False
        self.thread: threading.Thread | None = None
        self.names: frozenset[str] | None = None
        self.listed = threading.Event()
        self.done = threading.Event()
        self.unpacked: Unpacked | None = None
        self.error: BaseException | None = None

    def run(self) -> None:
        """Unpack, and let imports see it; ``wait`` returns the result."""
        try:
            self.unpacked = _unpack(self.archive, self.index_sha256, None, self._list)
            self._publish(str(self.unpacked.folder))
        except BaseException as error:
            self.error = error
            if not isinstance(error, Exception):
                raise
        finally:
            self.listed.set()
            self.done.set()

    def wait(self) -> Unpacked:
        """Wait until it is unpacked, and return the result.

        Raises:
            UnpackError: it failed; every caller gets the error.

        """
        self.done.wait()
        if self.unpacked is None or self.error is not None:
            raise UnpackError(str(self.error)) from self.error
        return self.unpacked

    def find_spec(
        self, name: str, path: Sequence[str] | None, _: ModuleType | None = None, /
    ) -> ModuleSpec | None:
        """Find a module that no other finder on ``sys.meta_path`` has found.

        Raises:
            ImportError: it may be in the archive, and that could not be unpacked.

        """
        # A package is either packed or not, but a namespace package can be both.
        if (path is not None and type(path).__name__ != "_NamespacePath") or (
            threading.current_thread() is self.thread
        ):
            return None
        self.listed.wait()
        if self.names is not None and name.partition(".")[0] not in self.names:
            return None
        try:
            self.wait()
        except UnpackError as error:
            raise ImportError(f"{name} cannot be imported: {error}", name=name) from error.__cause__
        return PathFinder.find_spec(name, path)

    def _list(self, names: frozenset[str]) -> None:
        self.names = names
        self.listed.set()

    def _publish(self, folder: str) -> None:
        if folder not in sys.path:
            entries = _search_path()
            place = entries.index(self.entry) + 1 if self.entry in entries else len(entries)
            sys.path.insert(place, folder)
        # A new list: an import that iterates over the old one must not skip the finder after this.
        sys.meta_path = [finder for finder in sys.meta_path if finder is not self]


_layers: dict[Path, _Layer] = {}
_lock = threading.Lock()


def ensure(folder: Path | None = None) -> Unpacked | None:
    """Unpack the nested layer, if there is one, and add it to ``sys.path`` behind its marker's folder.

    Args:
        folder: the marker's folder; by default the first one on ``sys.path`` with an archive.

    Raises:
        UnpackError: it could not be unpacked.

    """
    layer, mine = _claim(folder)
    if layer is None:
        return None
    if mine:
        layer.run()
    return layer.wait()


def begin(folder: Path | None = None) -> None:
    """Unpack the nested layer in the background; only imports of packed modules wait for it.

    If the archive cannot be unpacked, those imports raise ImportError.

    Args:
        folder: as for ``ensure``.

    Raises:
        UnpackError: the layer's marker cannot be read, or zstandard is missing.

    """
    layer, mine = _claim(folder)
    if layer is not None and mine:
        layer.thread = threading.Thread(target=layer.run, name="unpack")
        sys.meta_path.append(layer)
        layer.thread.start()


def result() -> Unpacked | None:
    """Return the result of the last unpacking that has ended, if any."""
    done = [layer.unpacked for layer in _layers.values() if layer.unpacked]
    return done[-1] if done else None


def _search_path() -> list[Path]:
    return [Path(entry) for entry in sys.path]


def _claim(folder: Path | None) -> tuple[_Layer | None, bool]:
    """Return a folder's layer, and whether the caller is the one to unpack it."""
    for entry in [folder] if folder else _search_path():
        with _lock:
            if entry not in _layers:
                marked = _read_marker(entry)
                if marked is None:
                    continue
                _import_zstandard(marked.archive)  # here, where an import is allowed
                _layers[entry] = marked
            layer = _layers[entry]
            mine, layer.claimed = not layer.claimed, True
            return layer, mine
    return None, False


def _read_marker(entry: Path) -> _Layer | None:
    marker = entry / MARKER
    try:
        text = marker.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UnpackError(f"{marker} cannot be read: {error}") from error
    try:
        archive = json.loads(text).get("archive")
        if archive is None:
            return None
        file, index_sha256 = archive["file"], archive["index"]
        valid = Path(file).name == file and _SHA256.fullmatch(index_sha256)
    except (ValueError, TypeError, KeyError, AttributeError):
        valid = None
    if not valid:
        raise UnpackError(f"{marker} does not describe its archive; build the layer again")
    return _Layer(entry, entry / file, index_sha256)


def _import_zstandard(archive: Path) -> ModuleType:
    try:
        import zstandard
    except ImportError as error:
        raise UnpackError(
            f"{archive}: zstandard, which unpacks it, is missing beside it; add it to the layer's recipe"
        ) from error
    return zstandard
