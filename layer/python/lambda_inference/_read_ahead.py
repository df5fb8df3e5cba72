"""Read split libraries into the page cache, beside the imports that will load them.

Loaded, they are read in small pieces in the order of their faults, each of which waits for the disk.
"""

import os
import threading
from collections.abc import Mapping
from contextlib import suppress

_STEP = 2 << 20
"""Bytes that the kernel is asked for at once; of more it may read less."""


def begin(libraries: Mapping[str, int]) -> None:
    """Read the first bytes of files in the background, so many of each; what cannot be read is left out."""
    threading.Thread(target=_read, args=(libraries,), name="read-ahead", daemon=True).start()


def _read(libraries: Mapping[str, int]) -> None:
    for path, size in libraries.items():
        with suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                for start in range(0, size, _STEP):
                    length = min(_STEP, size - start)
                    os.posix_fadvise(descriptor, start, length, os.POSIX_FADV_WILLNEED)
            finally:
                os.close(descriptor)
