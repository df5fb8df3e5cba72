"""The list of what a start reads: files that are opened, and pages of large ones."""

import io
import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from layer.builder.pack import start
from layer.builder.slim.split.layout import PAGE

LARGE = start.WHOLE + 1


@pytest.fixture
def tree(tmp_path):
    """Return a tree with files of many sizes."""
    for name, size in {
        "a.pyc": 5,
        "a.py": 6,
        "b.py": 7,
        "x/large.so": LARGE,
        "x/read.bin": LARGE,
        "x/unopened.so": LARGE,
        "x/small.so": start.WHOLE,
        "x/empty.pyc": 0,
        "unopened.pyc": 3,
    }.items():
        path = tmp_path / "tree" / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(bytes(size))
    return tmp_path / "tree"


OPENED = ["x/small.so", "b.py", "a.py", "x/large.so", "x/read.bin", "x/empty.py", "missing.py", "a.pyc"]


def test_list(tree):
    """Bytecode stands for its source; empty and missing files are left out; pages of large ones come last."""
    start.write(tree / "list.txt", OPENED, {"x/large.so": [(0, 2), (5, 4)], "x/read.bin": []})

    assert (tree / "list.txt").read_text().splitlines() == [
        f"0+{start.WHOLE} x/small.so",
        "0+7 b.py",
        "0+5 a.pyc",
        f"0+{2 * PAGE},{5 * PAGE}+{4 * PAGE} x/large.so",
    ]


class Found:
    """Pages of a tree's large files, as found by a build, and what it said."""

    def __init__(self, tree):
        self.tree = tree
        self.recipe = SimpleNamespace(folder=tree.parent / "recipe")
        self.target = SimpleNamespace(record="host")
        self.said = []

    def __call__(self, present, opened=OPENED, *, retrace=False):
        """Return them, from what a prediction had read."""
        return start.find_pages(
            self.tree, opened, self.recipe, self.target, present, self.said.append, retrace=retrace
        )

    def read_record(self):
        """Return the paths that are recorded."""
        return list(json.loads((self.recipe.folder / "host" / start.RECORD).read_text()))


def test_pages(tree):
    """Those that were read count with what lies between, and are recorded; a trace replaces them."""
    find = Found(tree)
    found = find({"x/large.so": [0, 5, 5 + start.GAP + 2], "x/small.so": [0], "x/unopened.so": [0]})

    assert found == {"x/large.so": [(0, 6), (5 + start.GAP + 2, 1)], "x/read.bin": []}
    assert find.read_record() == ["x/large.so", "x/read.bin"]
    assert find(None) == found == find({"x/large.so": [9]})
    assert find({"x/large.so": [9]}, retrace=True)["x/large.so"] == [(9, 1)]
    assert not find.said


def test_bytecode(tree):
    """A large module is looked up by what was compiled of it."""
    (tree / "large.pyc").write_bytes(bytes(LARGE))
    assert Found(tree)({"large.pyc": [1]}, ["large.py"]) == {"large.pyc": [(1, 1)]}


def test_other_files_than_recorded(tree):
    """A record of another file says nothing; where nobody can tell, it is named, and the others stay."""
    find = Found(tree)
    find({"x/large.so": [3], "x/read.bin": [0]})
    (tree / "x" / "large.so").write_bytes(bytes(LARGE + 1))
    assert find(None) == {"x/read.bin": [(0, 1)]}
    assert [line.split(":")[0] for line in find.said] == ["x/large.so"]
    assert find({"x/large.so": [4]})["x/large.so"] == [(4, 1)]


def test_no_large_file(tree):
    """Nothing is recorded of a layer without one."""
    find = Found(tree)
    for path in (tree / "x").iterdir():
        path.unlink()
    assert find({"x/large.so": [3]}, retrace=True) == {}
    assert find(None) == {}
    assert not find.recipe.folder.exists()
    assert not find.said


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="the system takes no advice")
def test_the_page_cache(tree, monkeypatch):
    """Large files are read anew, and no longer by readahead; where that is refused, the build goes on."""
    asked, read = [], []

    class Counting(io.FileIO):
        def read(self, size):
            read.append(super().read(size))
            return read[-1]

    monkeypatch.setattr(os, "posix_fadvise", lambda *call: asked.append(call[3]))
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", lambda path, *_, **__: Counting(path))
        start.cache_by_page(tree)
    assert asked == [os.POSIX_FADV_DONTNEED, os.POSIX_FADV_RANDOM] * 3
    assert [len(data) for data in read] == [start.WHOLE, 1, 0] * 3

    def refuse(_):
        raise OSError

    monkeypatch.setattr(os, "fsync", refuse)
    start.cache_by_page(tree)


def test_names():
    """Two layers of a function have two lists: in Lambda they lie in one folder."""
    assert start.get_name("a") != start.get_name("b")
