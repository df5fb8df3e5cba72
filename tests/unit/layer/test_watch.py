"""Files of a tree that are opened, by whatever process, are traced."""

import ctypes
import errno
import json
import os
import struct
import sys

import pytest
from support.toy import Toy

from layer.builder import tree as trees
from layer.builder.errors import SmokeError
from layer.builder.verify import watch as watching
from layer.builder.verify.watch import watch

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")
NATIVE = "import ctypes\nctypes.CDLL(None).open(str(pkg.HERE / 'data.json').encode(), 0)"


@pytest.fixture
def toy(tmp_path):
    """Return a toy layer."""
    return Toy(tmp_path)


@pytest.mark.parametrize(
    "body", [NATIVE, "import subprocess\nsubprocess.run(['cat', str(pkg.HERE / 'data.json')], check=True)"]
)
def test_native_code(body, toy):
    """What C opens, or another program, is traced, and what the builder reads itself is not."""
    toy.write("tree/other/deep/unread.bin", "")
    done = toy.run(body)
    trees.digest(toy.tree)

    assert done.opened == {"pkg/__init__.py", "pkg/data.json"}
    assert done.unseen == ""


def test_names(tmp_path):
    """Files are named by their paths in the tree; folders that are read do not count, nor do other files."""
    for name in ("top", "a/é.txt", "a/b/c", "unread"):
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).touch()
    (tmp_path / "outside").touch()

    with watch(tmp_path / "tree") as opened:
        for name in ("tree/top", "tree/a/é.txt", "tree/a/b/c", "outside"):
            (tmp_path / name).read_bytes()
        list((tmp_path / "tree" / "a").iterdir())
    (tmp_path / "tree" / "unread").read_bytes()

    assert opened.files == {"top", "a/é.txt", "a/b/c"}


def test_lost(tmp_path, monkeypatch):
    """Where the kernel lost events, the trace is not taken for a whole one."""
    reader, writer = os.pipe()
    os.write(writer, struct.pack("iIII", -1, 0x4000, 0, 0))
    monkeypatch.setattr(watching, "_start", lambda _: (reader, {}))

    with (
        pytest.raises(SmokeError, match=r"lost track .* sysctl fs\.inotify\.max_queued_events"),
        watch(tmp_path),
    ):
        pass
    os.close(writer)


def test_no_inotify(toy, monkeypatch):
    """Where it does not work, Python's own trace is taken, and that is said."""

    def reach_limit(_):
        ctypes.set_errno(errno.ENOSPC)
        return watching._check(-1)

    monkeypatch.setattr(watching, "_start", reach_limit)
    done = toy.run("return (pkg.HERE / 'data.json').read_text()")

    assert done.opened == {"pkg/__init__.py", "pkg/data.json"}
    assert json.loads(done.answer) == "[1]"
    assert done.unseen == "inotify: No space left on device; its limits are in /proc/sys/fs/inotify"
