"""Code of split libraries that was packed until it was called: how much, and what unpacking it took.

A layer's marker says that it has split libraries; their handler counts.
"""

import ctypes
import os
from typing import Any

from lambda_inference import _telemetry

_HANDLER = "libhotcold.so"
_FIELDS = ("faults", "blocks", "bytes", "nanoseconds")


class _Statistics(ctypes.Structure):
    """The handler's ``struct hc_stats``, with room for fields that it may add."""

    _fields_ = (*((name, ctypes.c_uint64) for name in _FIELDS), ("others", ctypes.c_uint64 * 28))


class ColdCode:
    """Counts what was unpacked since the last time."""

    def __init__(self) -> None:
        self._before = _Statistics()
        self._handler: Any = None

    def record(self) -> None:
        """Record metrics of this invocation, if anything was unpacked."""
        if self._handler is None:
            try:
                self._handler = ctypes.CDLL(_HANDLER, os.RTLD_NOLOAD)
            except OSError:
                return  # no split library is loaded yet
        now = _Statistics()
        self._handler.hotcold_stats(ctypes.byref(now))
        if blocks := now.blocks - self._before.blocks:
            _telemetry.count("ColdBlocks", blocks)
            _telemetry.record_duration("ColdCode", (now.nanoseconds - self._before.nanoseconds) / 1e6)
        self._before = now
