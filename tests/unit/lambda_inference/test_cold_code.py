"""Code that was packed until it was called shows in the metrics, so that an operator sees a stale trace."""

import ctypes
from unittest.mock import Mock

import pytest

from lambda_inference import _cold_code, _telemetry


class Handler:
    """Counts as libhotcold.so does."""

    def __init__(self):
        self.blocks = self.nanoseconds = 0

    def hotcold_stats(self, to):
        """Fill in the counters."""
        to._obj.blocks, to._obj.nanoseconds = self.blocks, self.nanoseconds


@pytest.fixture
def seen(monkeypatch):
    """Return the list of metrics that are recorded."""
    metrics = []
    monkeypatch.setattr(_telemetry, "count", lambda name, value: metrics.append((name, value)))
    monkeypatch.setattr(_telemetry, "record_duration", lambda name, value: metrics.append((name, value)))
    return metrics


def test_blocks(seen, monkeypatch):
    """Each invocation has its own; one that unpacked nothing has no metric."""
    handler, code = Handler(), _cold_code.ColdCode()
    monkeypatch.setattr(ctypes, "CDLL", lambda *_: handler)
    handler.blocks, handler.nanoseconds = 3, 4_500_000
    code.record()
    code.record()
    handler.blocks, handler.nanoseconds = 4, 5_000_000
    code.record()

    assert seen == [("ColdBlocks", 3), ("ColdCode", 4.5), ("ColdBlocks", 1), ("ColdCode", 0.5)]


class Library:
    """Has one library of six pages, of which two were touched."""

    def __init__(self):
        marks = ctypes.create_string_buffer(b"\0\1\0\0\1\0", 6)
        for name, answer in (
            ("libraries", 1), ("name", b"a.so"), ("pages", 6), ("touched", ctypes.addressof(marks)),
        ):  # fmt: skip
            setattr(self, f"hotcold_{name}", Mock(return_value=answer))
        self.marks = marks

    def hotcold_stats(self, to):
        """Fill in the counters."""
        to._obj.blocks = 1


@pytest.mark.usefixtures("seen")
def test_pages_that_were_touched(monkeypatch):
    """At log level DEBUG a line has them, for ``python -m layer trace``."""
    lines = []
    monkeypatch.setattr(ctypes, "CDLL", lambda *_: Library())
    monkeypatch.setattr(_telemetry, "is_debugging", lambda: True)
    monkeypatch.setattr(_telemetry, "debug", lambda _, **fields: lines.append(fields))
    _cold_code.ColdCode().record()
    assert lines == [{"cold_code": {"a.so": {"pages": 6, "touched": [1, 4]}}}]


def test_not_loaded(seen):
    """Before a split library is imported there is nothing to count."""
    _cold_code.ColdCode().record()

    assert seen == []
