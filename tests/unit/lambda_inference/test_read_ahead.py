"""Split libraries are read while the rest is imported: as much of each as a start needs, and no error."""

import os
import threading

from lambda_inference import _read_ahead


def test_read(tmp_path, monkeypatch):
    """The kernel is asked for all of the first bytes, in pieces; a file that is not there is passed over."""
    asked = []
    monkeypatch.setattr(
        os,
        "posix_fadvise",
        lambda _, start, size, advice: asked.append((start, size, advice)),
        raising=False,
    )
    (tmp_path / "a.so").write_bytes(b"x")
    size = (5 << 20) + 1
    _read_ahead.begin({str(tmp_path / "missing.so"): 9, str(tmp_path / "a.so"): size})
    for thread in threading.enumerate():
        if thread.name == "read-ahead":
            thread.join()

    assert [start for start, _, _ in asked] == [0, 2 << 20, 4 << 20]
    assert sum(length for _, length, _ in asked) == size
    assert {advice for _, _, advice in asked} == {os.POSIX_FADV_WILLNEED}
