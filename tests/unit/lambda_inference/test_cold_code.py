"""Code that was packed until it was called shows in the metrics, so that an operator sees a stale trace."""

import ctypes

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


def test_not_loaded(seen):
    """Before a split library is imported there is nothing to count."""
    _cold_code.ColdCode().record()

    assert seen == []
