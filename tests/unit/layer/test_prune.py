"""Pruning: the common rules, and how rules are obeyed and counted."""

from importlib.metadata import PathDistribution

import pytest

from layer.builder import tree as trees
from layer.builder.recipe import load_common_rules
from layer.builder.report.facts import Removed
from layer.builder.slim.prune import Rule, prune

REMOVED = {
    "headers": ["torch/include/ATen/x.cuh", "numpy/core/npy.h", "share/cmake/a.txt", "x/lib/y.cmake"],
    "static libraries": ["numpy/lib/libnpymath.a"],
    "sources of extensions": ["x/fast.pyx", "x/fast.c", "x/src/fast.cpp"],
    "tests": ["numpy/tests/data/big.npy", "tests/test_top.py", "x/test/y.py", "x/conftest.py"],
    "types": ["x/y.pyi", "x/py.typed"],
    "commands": ["bin/run"],
    "bytecode": ["x/__pycache__/y.cpython-313.pyc", "z.pyc"],
    "installer's records": [
        "x-1.0.dist-info/RECORD",
        "x-1.0.dist-info/WHEEL",
        "x-1.0.dist-info/sboms/a.json",
    ],
}
KEPT = [
    "x-1.0.dist-info/LICENSE",
    "x-1.0.dist-info/METADATA",
    "x-1.0.dist-info/entry_points.txt",
    "x-1.0.dist-info/licenses/NOTICE",
    "x/binary.py",
    "x/data.json",
    "x/lib.so",
    "x/testing.py",
    "x/typed.py",
]


def planted(folder, *paths):
    """Fill a folder with files of 10 bytes, and return it."""
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(b"0123456789")
    return folder


def paths(tree):
    """Return the paths that are left."""
    return [file.path for file in trees.files(tree)]


class TestCommonRules:
    """rules.toml."""

    @pytest.mark.parametrize("rule", REMOVED)
    def test_rule(self, rule, tmp_path):
        """Each rule takes out what it names, and is told with its bytes and its reason."""
        planted(tmp_path, *REMOVED[rule], *KEPT)

        removed = prune(tmp_path, load_common_rules(), ())

        assert {one.step_or_rule for one in removed} == {rule}
        assert sum(one.bytes for one in removed) == 10 * len(REMOVED[rule])
        assert all(one.reason for one in removed)
        assert paths(tmp_path) == KEPT

    def test_every_rule(self):
        """Every rule is tested above, and no two have one name."""
        assert [rule.name for rule in load_common_rules()] == list(REMOVED)

    def test_metadata(self, tmp_path):
        """What a program may ask about an installed package, it may still ask."""
        folder = planted(tmp_path, "x-1.0.dist-info/RECORD", "x/a.py") / "x-1.0.dist-info"
        (folder / "METADATA").write_text("Name: x\nVersion: 1.0\n")
        (folder / "entry_points.txt").write_text("[plugins]\na = x.a:main\n")
        prune(tmp_path, load_common_rules(), ())

        (found,) = (PathDistribution(path) for path in tmp_path.glob("*.dist-info"))
        assert (found.name, found.version) == ("x", "1.0")
        assert [one.value for one in found.entry_points] == ["x.a:main"]


class TestPrune:
    """Rules, one after the other."""

    RULES = (Rule("big", "it is big", ("**/*.bin",)), Rule("all of a", "nobody needs a", ("a/**",)))

    def test_counted(self, tmp_path):
        """The first rule that names a file counts it, package by package."""
        planted(tmp_path, "a/1.bin", "a/2.bin", "a/3.txt", "b/1.bin", "b/1.txt")

        assert prune(tmp_path, self.RULES, ()) == [
            Removed("big", "it is big", "a", 2, 20),
            Removed("big", "it is big", "b", 1, 10),
            Removed("all of a", "nobody needs a", "a", 1, 10),
        ]
        assert paths(tmp_path) == ["b/1.txt"]

    def test_protected(self, tmp_path):
        """What a recipe protects stays, whatever the rules say."""
        planted(tmp_path, "a/1.bin", "a/2.bin", "b/1.bin")

        assert prune(tmp_path, self.RULES, ("a/1.bin", "b/**")) == [Removed("big", "it is big", "a", 1, 10)]
        assert paths(tmp_path) == ["a/1.bin", "b/1.bin"]

    def test_nothing(self, tmp_path):
        """A rule that matches nothing takes nothing out and is not told."""
        planted(tmp_path, "c/1.txt")

        assert prune(tmp_path, self.RULES, ()) == []
        assert paths(tmp_path) == ["c/1.txt"]
