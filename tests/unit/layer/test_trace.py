"""Traces: recorded for certain wheels, and what is kept by them."""

import pytest

from layer.builder import tree as trees
from layer.builder.recipe import parse
from layer.builder.report.facts import Removed
from layer.builder.slim import trace
from layer.builder.target import get_target
from layer.builder.wheels.lock import Lock
from layer.builder.wheels.wheel import Wheel

ARM = get_target("python3.13-arm64")


def lock(tmp_path, sha256="a" * 64):
    """Return a lock of one wheel."""
    return Lock(tmp_path / "a.lock", (Wheel("a", "1", "a.whl", sha256),))


@pytest.fixture
def recipe(tmp_path):
    """Return a recipe with a folder of its own."""
    (tmp_path / "mine").mkdir()
    return parse({"name": "mine"}, tmp_path / "mine")


class TestRecord:
    """Traces as files."""

    def test_read(self, recipe, tmp_path):
        """What was recorded is read again, sorted, for these wheels and this target alone."""
        assert trace.write(recipe, ARM, lock(tmp_path), ["b.so", "a.py", "b.so"], ["a.py"]) == [
            "a.py",
            "b.so",
        ]

        assert trace.read(recipe, ARM, lock(tmp_path)) == ["a.py", "b.so"]
        assert trace.read(recipe, ARM, lock(tmp_path, "b" * 64)) is None
        assert trace.read(recipe, get_target("python3.13-x86_64"), lock(tmp_path)) is None
        assert [path.name for path in (recipe.folder / "python3.13-arm64").iterdir()] == ["files.trace"]

    @pytest.mark.parametrize("text", ["", "a.py\n"])
    def test_damaged(self, text, recipe, tmp_path):
        """A file that does not say which wheels it is of does not count."""
        trace.path_of(recipe, ARM).parent.mkdir()
        trace.path_of(recipe, ARM).write_text(text)

        assert trace.read(recipe, ARM, lock(tmp_path)) is None

    @pytest.mark.parametrize(
        ("opened", "kept"),
        [
            ("a/__pycache__/b.cpython-313.pyc", "a/b.py"),
            ("__pycache__/b.cpython-311.pyc", "b.py"),
            ("a/b.pyc", "a/b.py"),
            ("a/b.cpython-313-x86_64-linux-gnu.so", "a/b.cpython-313-x86_64-linux-gnu.so"),
            ("a/b.pyc.txt", "a/b.pyc.txt"),
        ],
    )
    def test_bytecode(self, opened, kept, recipe, tmp_path):
        """Who opened bytecode needs its source, from which it is compiled anew."""
        assert trace.write(recipe, ARM, lock(tmp_path), [opened], [opened]) == [kept]

    def test_imported(self, recipe, tmp_path):
        """Sources that are only read, or only opened by further imports, are told from imported ones."""
        opened = ["c/__pycache__/d.cpython-313.pyc", "a.py", "b.py", "a.json"]
        files = trace.write(recipe, ARM, lock(tmp_path), opened, ["c/d.py", "b.py", "not/opened.py"])

        assert files == trace.read(recipe, ARM, lock(tmp_path)) == ["a.json", "a.py", "b.py", "c/d.py"]
        assert trace.read_imported(recipe, ARM, lock(tmp_path)) == {"a.json", "b.py", "c/d.py"}
        assert trace.read_imported(recipe, ARM, lock(tmp_path, "b" * 64)) is None

    def test_named(self, recipe, tmp_path):
        """What stays because others name it is recorded with a key, until the trace is written anew."""
        trace.write(recipe, ARM, lock(tmp_path), ["a.py", "b.py"], ["a.py"])
        assert trace.read_named(recipe, ARM, lock(tmp_path)) is None

        assert trace.write_named(recipe, ARM, lock(tmp_path), "old", ["z.py"]) == ["z.py"]
        assert trace.write_named(recipe, ARM, lock(tmp_path), "key", ["d.py", "b.py", "c.txt"]) == [
            "c.txt",
            "d.py",
        ]
        assert trace.read_named(recipe, ARM, lock(tmp_path), "key") == ["c.txt", "d.py"]
        assert trace.read_named(recipe, ARM, lock(tmp_path)) == ["c.txt", "d.py"]
        assert trace.read_named(recipe, ARM, lock(tmp_path), "old") is None
        assert trace.read(recipe, ARM, lock(tmp_path)) == ["a.py", "b.py"]
        assert trace.read_imported(recipe, ARM, lock(tmp_path)) == {"a.py"}

        trace.write(recipe, ARM, lock(tmp_path), ["a.py"], [])
        assert trace.read_named(recipe, ARM, lock(tmp_path)) is None

    def test_not_told(self, recipe, tmp_path):
        """A trace may come from a builder that recorded only what was opened."""
        trace.write(recipe, ARM, lock(tmp_path), ["a.py"], ["a.py"])
        path = trace.path_of(recipe, ARM)
        path.write_text("\n".join(path.read_text().splitlines()[:2]) + "\n")

        assert trace.read(recipe, ARM, lock(tmp_path)) == ["a.py"]
        assert trace.read_imported(recipe, ARM, lock(tmp_path)) is None


class TestKeep:
    """What stays by a trace."""

    def kept(self, tree, paths, **choice):
        for path in paths:
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            (tree / path).write_bytes(b"0123456789")
        self.removed = trace.keep(tree, **({"protected": (), "package_data": ()} | choice))
        return [file.path for file in trees.files(tree)]

    def test_traced(self, tmp_path):
        """What was not opened goes, counted by package; a trace may name what is gone already."""
        paths = ["a/one.py", "a/three.py", "a/two.py", "b.py", "c.py"]

        assert self.kept(tmp_path, paths, traced=["a/one.py", "c.py", "gone.py"]) == ["a/one.py", "c.py"]
        reason = "neither opened nor mapped by the smoke test"
        assert self.removed == [Removed("unused", reason, "a", 2, 20), Removed("unused", reason, "b", 1, 10)]

    def test_protected(self, tmp_path):
        """What is protected stays, whether its package is used or not."""
        assert self.kept(tmp_path, ["a.py", "b/x.bin"], traced=[], protected=["b/**"]) == ["b/x.bin"]

    def test_used_packages(self, tmp_path):
        """A package of which something is used keeps its licence and its data; another one does not."""
        parts = ["{}/m.py", "{}/t.json", "{}-1.0.dist-info/METADATA", "{}-1.0.dist-info/licenses/LICENSE"]
        paths = [part.format(name) for name in ("used", "not") for part in parts]

        kept = self.kept(tmp_path, paths, traced=["used/m.py"], package_data=["**/*.json"])

        assert kept == ["used-1.0.dist-info/licenses/LICENSE", "used/m.py", "used/t.json"]
