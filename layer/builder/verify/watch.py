"""Watch which files of a tree are opened, by whatever process: native code raises no audit events.

inotify counts by inode, so what is opened in other mount namespaces, and under an emulator, is seen too.
"""

import ctypes
import errno
import os
import select
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from layer.builder.errors import SmokeError

_OPEN, _OVERFLOW, _FOLDER = 0x20, 0x4000, 0x40000000
_EVENT = struct.Struct("iIII")


@dataclass
class Opened:
    """The files that were opened, relative to their tree; ``unseen`` says why native code's are not there."""

    files: set[str] = field(default_factory=set)
    unseen: str = ""


@contextmanager
def watch(tree: Path) -> Iterator[Opened]:
    """Yield what is opened in a tree meanwhile, complete at the end; lost events are a SmokeError."""
    opened = Opened()
    try:
        inotify, folders = _start(tree)
    except OSError as error:
        opened.unseen = str(error.strerror)
        yield opened
        return
    reader, writer = os.pipe()
    lost: list[bool] = []
    thread = threading.Thread(target=_collect, args=(inotify, reader, folders, opened.files, lost))
    thread.start()
    try:
        yield opened
    finally:
        os.close(writer)
        thread.join()
        os.close(reader)
        os.close(inotify)
    if lost:
        raise SmokeError(
            "the kernel lost track of the files that the prediction opened: its queue, of "
            "fs.inotify.max_queued_events, was full. Build again when the machine is less busy, or make it "
            "longer: sysctl fs.inotify.max_queued_events=131072"
        )


def _start(tree: Path) -> tuple[int, dict[int, str]]:
    """Return an inotify descriptor, and the watched folders by number, as prefixes of relative paths."""
    library = ctypes.CDLL(None, use_errno=True)
    if not hasattr(library, "inotify_init1"):
        raise OSError(errno.ENOSYS, "there is no inotify")
    inotify = _check(library.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK))
    folders: dict[int, str] = {}
    try:
        for folder, _, _ in os.walk(tree):
            number = _check(library.inotify_add_watch(inotify, os.fsencode(folder), _OPEN))
            folders[number] = os.path.join(folder, "").removeprefix(f"{tree}{os.sep}")  # noqa: PTH118
    except OSError:
        os.close(inotify)
        raise
    return inotify, folders


def _check(number: int) -> int:
    """Return what a call of inotify returned; a failure is an OSError that names the limits."""
    if number < 0:
        reason = os.strerror(ctypes.get_errno())
        raise OSError(ctypes.get_errno(), f"inotify: {reason}; its limits are in /proc/sys/fs/inotify")
    return number


def _collect(inotify: int, end: int, folders: dict[int, str], files: set[str], lost: list[bool]) -> None:
    """Add the files of all events, until the end closes and no event is left."""
    poll = select.poll()
    poll.register(inotify, select.POLLIN)
    poll.register(end, select.POLLHUP)
    while inotify in (ready := dict(poll.poll())) or end not in ready:
        data, start = os.read(inotify, 65536), 0
        while start < len(data):
            number, mask, _, length = _EVENT.unpack_from(data, start)
            start += _EVENT.size + length
            if mask & _OVERFLOW:
                lost.append(True)
            elif mask & _OPEN and not mask & _FOLDER and length:
                name = data[start - length : start].rstrip(b"\0")
                files.add(folders[number] + os.fsdecode(name))
