"""Code of split libraries that was packed until it was called: how much, and what unpacking it took.

A layer's marker says that it has split libraries; their handler counts. At log level DEBUG a line has the
pages that were touched, which ``python -m layer trace`` takes back.
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
            if _telemetry.is_debugging():
                _telemetry.debug("cold code was unpacked", cold_code=self._list_touched())
        self._before = now

    def _list_touched(self) -> dict[str, dict[str, Any]]:
        """Return for each library how many pages of code it has, and which ones had a block unpacked."""
        handler = self._handler
        handler.hotcold_name.restype = ctypes.c_char_p
        handler.hotcold_pages.restype = ctypes.c_uint64
        handler.hotcold_touched.restype = ctypes.c_void_p
        libraries = {}
        for number in range(handler.hotcold_libraries()):
            marks = ctypes.string_at(handler.hotcold_touched(number), handler.hotcold_pages(number))
            touched = [page for page, mark in enumerate(marks) if mark]
            libraries[os.fsdecode(handler.hotcold_name(number))] = {"pages": len(marks), "touched": touched}
        return libraries
