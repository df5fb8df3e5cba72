"""Read what a start reads into the page cache, beside the imports that need it.

Imports read hundreds of small files, and loaded libraries in small pieces, in the order of their faults. Each
waits for the disk, one after another. A process reads ahead, because a thread would take the interpreter's
lock from the imports at each of some thousand calls.
"""

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress

_STEP = 256 << 10
"""Bytes that the kernel is asked for before the step that came before is waited for.

The disk answers in the order that it is asked. An import that reads a file of its own waits for what was
asked earlier.
"""


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
    asked, former = 0, None
    for descriptor, place, size in _list_steps(lists):
        with suppress(OSError):
            os.posix_fadvise(descriptor, place, size, os.POSIX_FADV_WILLNEED)
        asked += size
        if asked >= _STEP:
            if former:
                with suppress(OSError):
                    os.pread(former[0], 1, former[1])  # waits until it is there
                os.close(former[0])
            asked, former = 0, (os.dup(descriptor), place + size - 1)


def _list_steps(lists: Sequence[str]) -> Iterator[tuple[int, int, int]]:
    """Yield the pieces of files, no longer than a step: an open descriptor, the first byte and the length."""
    for path in lists:
        with suppress(FileNotFoundError):  # outside of Lambda a layer may lie elsewhere
            with open(path, encoding="utf-8") as file:  # noqa: PTH123 - fewer imports
                lines = file.read().splitlines()
            folder = os.path.dirname(path)  # noqa: PTH120 - fewer imports
            for line in lines:
                yield from _open_pieces(folder, *line.split(" ", 1))


def _open_pieces(folder: str, pieces: str, path: str) -> Iterator[tuple[int, int, int]]:
    try:
        descriptor = os.open(os.path.join(folder, path), os.O_RDONLY | os.O_CLOEXEC)  # noqa: PTH118
    except OSError:
        return
    try:
        for piece in pieces.split(","):
            first, length = map(int, piece.split("+"))
            for place in range(first, first + length, _STEP):
                yield descriptor, place, min(_STEP, first + length - place)
    finally:
        os.close(descriptor)
