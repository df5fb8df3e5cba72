"""Trees: their files, their digest, and globs over them."""

import os

import pytest

from layer.builder import tree as trees
from layer.builder.errors import TreeError
from layer.builder.slim.globs import matches
from layer.builder.tree import File


@pytest.fixture
def tree(tmp_path):
    """Return a tree of three files."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "deep.txt").write_text("deep")
    (tmp_path / "a" / "one.py").write_text("1")
    (tmp_path / "top.py").write_text("top")
    return tmp_path


class TestFiles:
    """What is in a tree."""

    def test_sorted(self, tree):
        """All files come sorted by path, with their bytes, whatever else was made before."""
        assert trees.files(tree) == [File("a/b/deep.txt", 4), File("a/one.py", 1), File("top.py", 3)]
        assert trees.size(tree) == 8

    @pytest.mark.parametrize("target", ["top.py", "a", "nowhere"])
    def test_links(self, target, tree):
        """A link, to whatever, is refused by its name: a layer holds none."""
        (tree / "link").symlink_to(target)

        with pytest.raises(TreeError, match=r"link is a link or special file"):
            trees.files(tree)

    @pytest.mark.parametrize(
        ("path", "package"),
        [
            ("torch/lib/libtorch.so", "torch"),
            ("torch.libs/libgomp.so.1", "torch"),
            ("torch-2.13.0+cpu.dist-info/METADATA", "torch"),
            ("six.py", "six"),
            ("_cffi.cpython-313-x86_64-linux-gnu.so", "_cffi"),
            (".hidden", ".hidden"),
        ],
    )
    def test_package(self, path, package):
        """A file belongs to its folder or module; libraries and metadata beside it belong to it too."""
        assert File(path, 0).package == package


class TestDigest:
    """What a proof is bound to."""

    @pytest.mark.parametrize(
        "change",
        [
            lambda tree: (tree / "top.py").write_text("pot"),
            lambda tree: (tree / "top.py").rename(tree / "pot.py"),
            lambda tree: (tree / "top.py").rename(tree / "a" / "top.py"),
            lambda tree: (tree / "top.py").unlink(),
            lambda tree: (tree / "new").touch(),
        ],
        ids=["content", "name", "place", "one less", "one more"],
    )
    def test_changes(self, change, tree):
        """Another content, name or number of files is another digest."""
        before = trees.digest(tree)
        change(tree)

        assert trees.digest(tree) != before

    @pytest.mark.parametrize(
        "change",
        [
            lambda tree: os.utime(tree / "top.py", (0, 0)),
            lambda tree: (tree / "top.py").chmod(0o600),
            lambda tree: (tree / "empty").mkdir(),
        ],
        ids=["time", "mode", "empty folder"],
    )
    def test_stays(self, change, tree):
        """What differs from machine to machine with the same files does not count."""
        before = trees.digest(tree)
        change(tree)

        assert trees.digest(tree) == before


class TestRemove:
    """Files taken out."""

    def test_empty_folders(self, tree):
        """Folders that are empty after that go as well, and no others."""
        trees.remove(tree, ["a/b/deep.txt"])
        assert sorted(path.name for path in tree.rglob("*")) == ["a", "one.py", "top.py"]

        trees.remove(tree, ["a/one.py", "top.py"])
        assert list(tree.rglob("*")) == []
        assert tree.is_dir()


@pytest.mark.parametrize(
    ("glob", "yes", "no"),
    [
        ("*.py", ["a.py", ".py"], ["a/b.py", "a.pyc", "a_py"]),
        ("**/*.py", ["a.py", "a/b.py", "a/b/c.py"], ["a.pyi"]),
        ("**/tests/**", ["tests/a", "x/tests/a/b"], ["tests", "mytests/a", "tests.py"]),
        ("pkg/**", ["pkg/a", "pkg/a/b"], ["pkg", "pkg2/a", "x/pkg/a"]),
        ("a/*/c", ["a/b/c"], ["a/c", "a/b/b/c"]),
        ("a?.so", ["ab.so"], ["a.so", "a/.so", "abb.so"]),
        ("LICEN[CS]E*", ["LICENSE", "LICENCE.txt"], ["LICENXE", "x/LICENSE"]),
        ("[!_]*.py", ["a.py"], ["_a.py", ".py", "a/b.py"]),
        ("x[!_]y", ["x-y"], ["x/y", "x_y"]),
        ("c++(1).so", ["c++(1).so"], ["ccc1.so"]),
    ],
)
def test_globs(glob, yes, no):
    """A star stays in its folder, two cross folders, and all else means itself."""
    assert [path for path in (*yes, *no) if matches(path, ["other", glob])] == yes
