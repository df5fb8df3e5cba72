"""Read what a start reads into the page cache, beside the imports that need it.

Imports read hundreds of small files, and loaded libraries in small pieces, in the order of their faults. Each
waits for the disk, one after another. A process reads ahead, because a thread would take the interpreter's
lock from the imports at each of some thousand calls.
"""

import os
import threading
from collections.abc import Sequence
from contextlib import suppress

_STEP = 256 << 10
"""Bytes that the kernel is asked for at once. Two steps are on their way: the disk answers in the order that
it is asked, and an import that reads a file of its own waits for what was asked before."""


def begin(lists: Sequence[str]) -> None:
    """Read in the background what lists name; what cannot be read is left out.

    A line has pieces of a file, as first byte + length, by commas, and its path beside the list.
    """
    if not hasattr(os, "posix_fadvise"):  # on macOS
        return
    try:
        reader = os.fork()
    except OSError:  # no further process is allowed
        return
    if not reader:
        try:
            _read(lists)
        finally:
            os._exit(0)
    threading.Thread(target=os.waitpid, args=(reader, 0), name="read-ahead", daemon=True).start()


def _read(lists: Sequence[str]) -> None:
    for path in lists:
        with suppress(FileNotFoundError):  # outside of Lambda a layer may lie elsewhere
            with open(path, encoding="utf-8") as file:  # noqa: PTH123 - fewer imports
                lines = file.read().splitlines()
            _read_files(os.path.dirname(path), lines)  # noqa: PTH120 - fewer imports


def _read_files(folder: str, lines: Sequence[str]) -> None:
    for line in lines:
        pieces, path = line.split(" ", 1)
        with suppress(OSError):
            descriptor = os.open(os.path.join(folder, path), os.O_RDONLY | os.O_CLOEXEC)  # noqa: PTH118
            try:
                for piece in pieces.split(","):
                    first, length = map(int, piece.split("+"))
                    for place in range(first, first + length, _STEP):
                        size = min(_STEP, first + length - place)
                        os.posix_fadvise(descriptor, place, size, os.POSIX_FADV_WILLNEED)
                        if place > first:
                            os.pread(descriptor, 1, place - 1)  # waits for the step before
            finally:
                os.close(descriptor)
