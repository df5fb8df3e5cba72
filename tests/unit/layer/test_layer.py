"""A layer's folder, as a function has it: what its marker says, and the list of what a start reads."""

import json
from types import SimpleNamespace

import pytest

from layer.builder.pack import layer as module

TARGET = SimpleNamespace(runtime="python3.13", architecture="arm64")


def make_recipe(engine="toy", base=None, smoke=None):
    """Return what is read of a recipe."""
    base_layer = SimpleNamespace(name=base) if base else None
    return SimpleNamespace(name="own", engine=engine, base_layer=base_layer, smoke=smoke)


@pytest.fixture
def assemble(tmp_path):
    """Return a function that makes a layer of a small tree: its marker, its archive, and its files."""

    def assemble(strategy, recipe, **options):
        (tmp_path / "tree" / "toy").mkdir(parents=True)
        (tmp_path / "tree" / "toy" / "a.py").write_bytes(b"x = 1")
        archive, files = module.assemble(
            tmp_path / "tree", tmp_path / "layer", strategy, recipe, TARGET, {"toy": "1"}, **options
        )
        marker = tmp_path / "layer" / "python" / module.MARKER
        return (
            json.loads(marker.read_text()) if marker.exists() else None,
            archive,
            {(one.path, one.place) for one in files},
        )

    return assemble


FACTS = {
    "recipe": "own", "engine": "toy", "runtime": "python3.13", "architecture": "arm64",
    "libraries": {"toy": "1"},
}  # fmt: skip
LIST = "layer_start.own.txt"


@pytest.mark.parametrize(("base", "starts"), [(None, [LIST]), ("below", ["layer_start.below.txt", LIST])])
def test_a_direct_layer(assemble, tmp_path, base, starts):
    """Its files are the tree's; its marker names its list, behind that of the layer that it lies on."""
    marker, archive, files = assemble("direct", make_recipe(base=base), opened=["toy/a.py"], split=["b", "a"])
    assert marker == {**FACTS, "split": ["a", "b"], "starts": starts}
    assert (tmp_path / "layer" / "python" / LIST).read_text() == "0+5 toy/a.py\n"
    assert archive is None
    assert files == {("toy/a.py", "layer"), (LIST, "layer"), (module.MARKER, "layer")}


@pytest.mark.parametrize(
    ("recipe", "opened", "marked"),
    [
        (make_recipe(engine=""), ["toy/a.py"], False),  # libraries alone: nothing reads the list
        (make_recipe(), [], True),
        (make_recipe(engine="", smoke=SimpleNamespace(function="")), ["toy/a.py"], False),
    ],
)
def test_a_layer_without_a_list(assemble, recipe, opened, marked):
    """It has none if nobody saw what a start reads, or if nothing would read it."""
    marker, _, files = assemble("direct", recipe, opened=opened)
    assert marker == (FACTS if marked else None)
    assert files == {("toy/a.py", "layer")} | ({(module.MARKER, "layer")} if marked else set())


def test_a_nested_layer(assemble):
    """Its files are in the archive, which its marker describes, and are listed with those beside it."""
    marker, archive, files = assemble("nested", make_recipe(engine="", base="below"), opened=["toy/a.py"])
    inside = marker.pop("archive")
    assert marker == {**FACTS, "engine": "", "starts": ["layer_start.below.txt"]}
    assert (inside["file"], inside["bytes"], len(inside["index"])) == (module.ARCHIVE, 5, 64)
    assert archive.files == 1
    beside = {("unzip_requirements.py", "layer"), (module.MARKER, "layer")}
    assert files == beside | {("toy/a.py", "archive")}
