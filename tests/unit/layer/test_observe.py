"""What a deployed function unpacked becomes hot: by whole blocks, from the lines of its log."""

import json

import pytest
from support.libraries import make_library

from layer.builder.cli import main
from layer.builder.errors import BuildError
from layer.builder.recipe import parse
from layer.builder.slim.split import layout, observe, record
from layer.builder.slim.split.write import split
from layer.builder.target import get_target

TARGET = get_target("python3.13-x86_64")
PATH = "x/a.so"


@pytest.fixture
def recipe(tmp_path):
    """Return a recipe with a record of hot pages."""
    (tmp_path / "recipe").mkdir()
    recipe = parse({"name": "mine"}, tmp_path / "recipe")
    record.write(recipe, TARGET, {PATH: "a" * 64}, {PATH: [(0, 2)]})
    return recipe


@pytest.fixture
def python(tmp_path):
    """Return the folder of the layer that was deployed, in blocks of four pages."""
    path = tmp_path / "python" / PATH
    path.parent.mkdir(parents=True)
    path.write_bytes(split(layout.parse(make_library()), [(0, 2)], level=1, block=4))
    return tmp_path / "python"


@pytest.fixture
def pages():
    """Return how many pages of code the library has."""
    return layout.parse(make_library()).pages


def write_line(pages, *touched, path=f"/opt/python/{PATH}"):
    """Return a line of the log, as `sam logs` prints it."""
    fields = {"level": "DEBUG", "cold_code": {path: {"pages": pages, "touched": touched}}}
    return f"2026/01/01/[$LATEST]ab 2026-01-01T00:00:00 {json.dumps(fields)}\n"


def test_log(pages):
    """Lines of several environments are joined; others are passed over."""
    lines = [write_line(pages, 3), "START {", '{"level": "INFO"}', "{}", "[1]", write_line(pages, 3, 30)]
    assert observe.read_log(lines) == {f"/opt/python/{PATH}": (pages, {3, 30})}


@pytest.mark.parametrize("pages", ["1e999", "1.5", '"10"', "null", "[" * 100_000])
def test_a_line_without_numbers(pages):
    """A line of something else is passed over as a whole: JSON's numbers are not all whole, or finite."""
    first, second = (
        '"/opt/a.so": {"pages": 1, "touched": [1]}',
        f'"/opt/b.so": {{"pages": {pages}, "touched": []}}',
    )
    assert observe.read_log([f'{{"cold_code": {{{first}, {second}}}}}']) == {}


def test_whole_blocks(recipe, python, pages):
    """A page says nothing about its neighbours, so the block that was unpacked for it is hot."""
    added = observe.add(
        recipe, TARGET, python, observe.read_log([write_line(pages, 3, 11), write_line(pages, 12)])
    )
    assert added == {PATH: 2}
    assert record.read(recipe, TARGET, {PATH: "a" * 64}) == {PATH: [(0, 14)]}


def test_nothing_new(recipe, python, pages):
    """Another library's pages, or none, leave the record as it is."""
    before = record.path_of(recipe, TARGET).read_bytes()
    lines = [write_line(pages), write_line(9, 1, path="/opt/python/other.so")]
    assert observe.add(recipe, TARGET, python, observe.read_log(lines)) == {}
    assert record.path_of(recipe, TARGET).read_bytes() == before


def test_another_layer(recipe, python, pages):
    """A library of another size is another library."""
    with pytest.raises(BuildError, match=f"has {pages + 1} pages of code there, and {pages} in"):
        observe.add(recipe, TARGET, python, observe.read_log([write_line(pages + 1, 3)]))
    with pytest.raises(BuildError, match="another size in another line"):
        observe.read_log([write_line(pages, 3), write_line(pages + 1, 3)])


def test_no_record(recipe, python, pages):
    """The error ends with the command."""
    record.path_of(recipe, TARGET).unlink()
    with pytest.raises(BuildError, match=r"python -m layer build mine --target python3\.13-x86_64$"):
        observe.add(recipe, TARGET, python, observe.read_log([write_line(pages, 3)]))


def test_a_log_without_lines(tmp_path, capsys):
    """It says what the function has to log."""
    (tmp_path / "log").write_text("START\n")
    assert main(["trace", "opennmt", str(tmp_path / "log")]) == 2
    assert "have the function log at DEBUG" in capsys.readouterr().err
