"""Stripping a tree: smaller where that works, as it was where it does not."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from layer.builder.report.facts import Stripped
from layer.builder.slim import strip as module
from layer.builder.slim.elf import is_elf
from layer.builder.slim.strip import strip_tree

SYMBOLS = b"symbols" * 1000


@pytest.fixture
def tree(tmp_path):
    """Return a tree with a library that has symbols, and a text."""
    core = Path(find_spec("msgspec._core").origin)
    if not is_elf(core):
        pytest.skip("no ELF on this system")
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "lib.so").write_bytes(core.read_bytes() + SYMBOLS)
    (tmp_path / "pkg" / "lib.so").chmod(0o755)
    (tmp_path / "pkg" / "text.py").write_text("ELF")
    (tmp_path / "empty").touch()
    return tmp_path


def test_stripped(tree, tmp_path_factory):
    """Libraries lose bytes and keep their mode; what they are linked from elsewhere stays."""
    path, elsewhere = tree / "pkg" / "lib.so", tmp_path_factory.mktemp("elsewhere") / "lib.so"
    elsewhere.hardlink_to(path)
    before = path.stat().st_size

    done = strip_tree(tree)

    after = path.stat().st_size
    assert done == Stripped(1, before, after, ())
    assert after <= before - len(SYMBOLS)
    assert path.stat().st_mode & 0o777 == 0o755
    assert elsewhere.stat().st_size == before
    assert (tree / "pkg" / "text.py").read_text() == "ELF"


def test_again(tree):
    """What is stripped already is not counted, nor touched."""
    strip_tree(tree)
    before = (tree / "pkg" / "lib.so").stat()

    assert strip_tree(tree) == Stripped(0, 0, 0, ())
    assert (tree / "pkg" / "lib.so").stat().st_ino == before.st_ino


@pytest.mark.parametrize(
    "broken",
    [lambda data: data[:5000], lambda data: data[:9000].ljust(len(data) - 7000, b"x"), lambda data: data[1:]],
    ids=["cut off", "overwritten", "no library"],
)
def test_broken(broken, tree, monkeypatch):
    """Where stripping breaks a library, it stays as it was, and is told."""
    before = (tree / "pkg" / "lib.so").read_bytes()
    monkeypatch.setattr(module, "strip", broken)

    assert strip_tree(tree) == Stripped(0, 0, 0, ("pkg/lib.so",))
    assert (tree / "pkg" / "lib.so").read_bytes() == before


def test_damaged(tree):
    """A library that is damaged already stays as it is, and the others are stripped."""
    (tree / "pkg" / "cut.so").write_bytes((tree / "pkg" / "lib.so").read_bytes()[:5000])

    done = strip_tree(tree)

    assert (done.files, done.restored) == (1, ("pkg/cut.so",))
    assert (tree / "pkg" / "cut.so").stat().st_size == 5000
