"""What a start reads is read ahead: every piece of each file that a layer's list names, and no error."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from lambda_inference import _read_ahead

needs_advice = pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="the system takes no advice")


@needs_advice
def test_pieces(tmp_path, monkeypatch):
    """The kernel is asked for all pieces, in the list's order; a missing file is passed over.

    Before more than two steps of it are on their way, what was asked first is waited for.
    """
    asked = []

    def advise(descriptor, start, size, advice):
        asked.append((Path(f"/proc/self/fd/{descriptor}").readlink().name, start, size, advice))

    monkeypatch.setattr(os, "posix_fadvise", advise)
    monkeypatch.setattr(os, "pread", lambda _, size, start: asked.append(("wait", start, size)))
    monkeypatch.setattr(_read_ahead, "_STEP", 1000)
    for name in ("a b.pyc", "c.so"):
        (tmp_path / name).write_bytes(b"x")
    list_ = tmp_path / "layer_start.txt"
    list_.write_text("0+9 missing.pyc\n0+7 a b.pyc\n4000+2001,8000+999 c.so\n0+1 a b.pyc\n")
    open_files = len(list(Path("/proc/self/fd").iterdir()))
    _read_ahead._read([str(list_)])

    needed = os.POSIX_FADV_WILLNEED
    assert asked == [
        ("a b.pyc", 0, 7, needed),
        ("c.so", 4000, 1000, needed),
        ("c.so", 5000, 1000, needed),
        ("wait", 4999, 1),
        ("c.so", 6000, 1, needed),
        ("c.so", 8000, 999, needed),
        ("wait", 5999, 1),
        ("a b.pyc", 0, 1, needed),
    ]
    assert len(list(Path("/proc/self/fd").iterdir())) == open_files + 1  # of the last step


@needs_advice
@pytest.mark.parametrize("lines", ["0+1 a.pyc\n", "damaged\n"])
def test_reader(tmp_path, lines):
    """Another process reads, and is waited for; whatever is wrong, it ends without a word."""
    list_ = tmp_path / "layer_start.txt"
    list_.write_text(lines)
    program = """
import os, sys, threading
from lambda_inference import _read_ahead
_read_ahead.begin(sys.argv[1:])
for thread in threading.enumerate():
    if thread.name == "read-ahead":
        thread.join()
try:
    os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    print("no child is left")
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(list_), str(tmp_path / "missing.txt")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.stdout, done.stderr, done.returncode) == ("no child is left\n", "", 0)


@needs_advice
def test_the_reader_reads(monkeypatch):
    """The new process reads the lists, and ends there."""
    steps = []

    class Ended(Exception):
        pass

    def end(status):
        steps.append(status)
        raise Ended

    monkeypatch.setattr(os, "fork", lambda: 0)
    monkeypatch.setattr(os, "_exit", end)
    monkeypatch.setattr(_read_ahead, "_read", steps.append)
    with pytest.raises(Ended):
        _read_ahead.begin(["x"])
    assert steps == [["x"], 0]


def test_a_system_without_advice(monkeypatch):
    """Where the kernel takes no advice, nothing is read."""
    monkeypatch.delattr(os, "posix_fadvise", raising=False)
    monkeypatch.setattr(os, "fork", lambda: pytest.fail("there is nothing to read"))
    _read_ahead.begin(["x"])


@needs_advice
def test_no_further_process(monkeypatch):
    """Where a limit of processes is reached, nothing is read ahead, and the import goes on."""

    def refuse():
        raise BlockingIOError("Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", refuse)
    _read_ahead.begin(["x"])
    assert "read-ahead" not in {thread.name for thread in threading.enumerate()}
