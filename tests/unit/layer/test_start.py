"""The list of what a start reads: files that are opened, and pages of large ones."""

import json
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
    """Pages of a tree's large files, as found by a build."""

    def __init__(self, tree):
        self.tree = tree
        self.recipe = SimpleNamespace(folder=tree.parent / "recipe")
        self.target = SimpleNamespace(record="host")

    def __call__(self, present, *, retrace=False):
        """Return them, from what a prediction had in memory."""
        return start.find_pages(self.tree, OPENED, self.recipe, self.target, present, retrace=retrace)

    def read_record(self):
        """Return the paths that are recorded."""
        return list(json.loads((self.recipe.folder / "host" / start.RECORD).read_text()))


def test_pages(tree):
    """Those of mapped files count with what lies between; what is not mapped is read whole, and recorded."""
    find = Found(tree)
    found = find({"x/large.so": [0, 5, 5 + start.GAP + 2], "x/small.so": [0], "x/unopened.so": [0]})

    assert found == {
        "x/large.so": [(0, 6), (5 + start.GAP + 2, 1)],
        "x/read.bin": [(0, -(-LARGE // PAGE))],
    }
    assert find.read_record() == ["x/large.so", "x/read.bin"]
    assert find(None) == found == find({"x/large.so": [9]})
    assert find({"x/large.so": [9]}, retrace=True)["x/large.so"] == [(9, 1)]


def test_other_files_than_recorded(tree):
    """A record of other files says nothing; where nothing predicted, it stays."""
    find = Found(tree)
    find({"x/large.so": [3]})
    (tree / "x" / "large.so").write_bytes(bytes(LARGE + 1))
    assert find(None) == {}
    assert find({"x/large.so": [4]})["x/large.so"] == [(4, 1)]


def test_no_large_file(tree):
    """Nothing is recorded of a layer without one."""
    find = Found(tree)
    for path in (tree / "x").iterdir():
        path.unlink()
    assert find({"x/large.so": [3]}, retrace=True) == {}
    assert not find.recipe.folder.exists()


def test_names():
    """Two layers of a function have two lists: in Lambda they lie in one folder."""
    assert start.get_name("a") != start.get_name("b")
