"""The step that splits libraries: what is hot is traced once, recorded, and taken from the record."""

import pytest
from support.libraries import CODE, make_library

from layer.builder.errors import ElfError
from layer.builder.recipe import RecipeError, parse
from layer.builder.report.facts import Split
from layer.builder.slim.split import layout, restore, step
from layer.builder.slim.split.layout import PAGE
from layer.builder.slim.split.restore import whole
from layer.builder.slim.split.write import split
from layer.builder.target import get_target

TARGET = get_target("python3.13-x86_64")
WANTED = {
    "libraries": ["x/*.so"],
    "environments": {"x86_64": [{"X": "1"}], "arm64": [{"X": "2"}]},
}


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Return a function that makes a Splitter of a tree with a library to split and one that cannot be."""
    monkeypatch.setattr(step, "HANDLERS", tmp_path)
    monkeypatch.setattr(step, "LEAST", len(CODE))
    (tmp_path / "libhotcold-x86_64.so").write_bytes(b"handler")
    (tmp_path / "recipe").mkdir()
    recipe = parse({"name": "mine", "split": [WANTED]}, tmp_path / "recipe")
    trees = iter(range(9))

    def make(target=TARGET, said=None, run_path=b"$ORIGIN", more=b""):
        tree = tmp_path / f"{next(trees)}" / "tree"
        (tree / "x").mkdir(parents=True)
        (tree / "x" / "a.so").write_bytes(make_library(run_path=run_path))
        (tree / "x" / "b.so").write_bytes(make_library(spare=2))
        (tree / "x" / "c.py").write_text("")
        (tree / "x" / "d.so").write_bytes(more)
        said = [] if said is None else said
        return step.Splitter(
            recipe.split, recipe, target, tree, tree.with_name("lib"), tmp_path / "cache", said.append
        )

    return make


def test_trace(make):
    """What a prediction touched is hot, also with other variables; the next build takes the record."""
    splitter, asked = make(), []

    def trace(environment):
        asked.append(environment)
        return {"x/a.so": [20, 21]}

    assert not splitter.read_hot()
    splitter.make_cold()
    splitter.find_hot({"x/a.so": [0, 3], "other": [9]}, trace)
    done = splitter.finish()
    again = make()

    assert asked == [{"X": "1"}]
    assert splitter.hot == {"x/a.so": [(0, 4), (20, 2)]}
    size = (splitter.tree / "x/a.so").stat().st_size
    assert done == (Split("x/a.so", len(make_library()), size, 6 * PAGE, 31 * PAGE),)
    assert again.read_hot()
    assert (again.hot, again.digest) == (splitter.hot, splitter.digest)
    assert {path.name for path in (splitter.tree / "x").iterdir()} == {
        "a.so", "b.so", "c.py", "d.so", "libhotcold.so",
    }  # fmt: skip


def test_no_record(make):
    """Without a record all code is cold, and all of it is there."""
    splitter = make()
    splitter.read_hot()
    [done] = splitter.finish()

    assert done.hot == 0
    assert len(whole((splitter.tree / "x/a.so").read_bytes())) == done.cold


def test_what_is_not_split(make):
    """A library that cannot be split stays as it is, and so do all where there is no handler."""
    said = []
    assert list(make(said=said).sources) == ["x/a.so"]
    [warning] = said
    assert warning == "x/b.so is not split: its dynamic section has no room for the handler's name"
    foreign = make(get_target("python3.13-arm64"))
    assert (foreign.sources, foreign.digest, foreign.finish()) == ({}, "", ())


def test_the_handler_takes_only_so_many(make, monkeypatch):
    """Of more libraries than a process may have, the largest are split."""
    larger = make_library(code=CODE * 2)
    assert list(make(more=larger).sources) == ["x/a.so", "x/d.so"]

    monkeypatch.setattr(step, "MOST", 1)
    splitter = make(more=larger)
    assert list(splitter.sources) == ["x/d.so"]
    assert (splitter.tree / "x/a.so").read_bytes() == make_library()


@pytest.mark.parametrize("run_path", [b"$ORIGIN", b"/"])
def test_undo(make, run_path):
    """The whole libraries are back, without a handler, and nothing is split."""
    splitter = make(run_path=run_path)
    splitter.read_hot()
    splitter.make_cold()
    place = splitter.tree / "x" if run_path == b"$ORIGIN" else splitter.lib
    assert (place / "libhotcold.so").exists()
    splitter.undo()

    assert (splitter.tree / "x/a.so").read_bytes() == make_library(run_path=run_path)
    assert not list(splitter.tree.parent.rglob("libhotcold.so"))
    assert (splitter.finish(), splitter.digest) == ((), "")


def test_recipe():
    """The table names libraries; an unknown key is an error."""
    [table] = parse({"name": "x", "split": [WANTED]}).split

    assert table.libraries == ("x/*.so",)
    with pytest.raises(RecipeError, match="split: unknown level"):
        parse({"name": "x", "split": [WANTED | {"level": 3}]})


def test_cache(make, monkeypatch):
    """A library is split once; a cached one that was damaged, or of other hot pages, is split anew."""
    first = make()
    first.read_hot()
    first.finish()
    expected = (first.tree / "x/a.so").read_bytes()
    calls = []
    monkeypatch.setattr(step, "split", lambda *args, **options: calls.append(args) or split(*args, **options))

    second = make()
    second.read_hot()
    second.finish()
    [cached] = second.cache.iterdir()
    assert not calls
    assert (second.tree / "x/a.so").read_bytes() == expected

    content = cached.read_bytes()
    cached.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    second.finish()
    assert len(calls) == 1
    assert (second.tree / "x/a.so").read_bytes() == expected

    second.find_hot({"x/a.so": [3]}, lambda _: {})
    second.finish()
    assert len(calls) == 2
    assert len(list(second.cache.iterdir())) == 2


@pytest.mark.parametrize("kept", [0, 3, 64, 100, 0x1000, -1])
def test_a_library_that_ends_too_early_is_refused(kept):
    """Wherever it ends, its index is an error of the layer and no traceback."""
    data = split(layout.parse(make_library()), [(0, 2)], level=1, block=4)
    assert restore.read_index(data).hot
    with pytest.raises(ElfError, match="split"):
        restore.read_index(data[:kept])
    with pytest.raises(ElfError, match="not a split library"):
        restore.read_index(b"\0" + data[:-1])
