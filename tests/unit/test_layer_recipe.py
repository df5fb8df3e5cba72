"""Recipes: what goes into a layer."""

import tomllib

import pytest
from conftest import ROOT

from layer.recipe import RecipeError, load, parse

MINIMAL = {"name": "small", "engine": "none", "requirements": ["six==1.17.0"]}


class TestParse:
    """From a table to a recipe."""

    def test_common_and_own(self):
        """A target gets what is common and what is its own, its own pin in place of the common one."""
        recipe = parse(
            MINIMAL
            | {
                "requirements": ["six==1.17.0", "numpy==2.0.0"],
                "left_out": ["Jinja2"],
                "targets": {"python3.13-arm64": {"requirements": ["NumPy==2.4.6"], "left_out": ["sym_py"]}},
            }
        )

        contents = recipe.contents("python3.13-arm64")
        assert contents.requirements == ("NumPy==2.4.6", "six==1.17.0")
        assert contents.left_out == {"jinja2", "sym-py"}

    def test_no_deps_go_in(self):
        """What is named in no_deps is installed like everything else."""
        contents = parse(MINIMAL | {"no_deps": ["OpenNMT_py==3.5.1"]}).contents("host")

        assert contents.requirements == ("OpenNMT_py==3.5.1", "six==1.17.0")
        assert contents.no_deps == {"opennmt-py"}

    def test_every_target(self):
        """A recipe that distinguishes no targets is for all of them."""
        assert parse(MINIMAL).contents("python3.14-x86_64").requirements == ("six==1.17.0",)

    def test_unknown_target(self):
        """A recipe that distinguishes targets refuses one that it has not, and names those it has."""
        recipe = parse(MINIMAL | {"targets": {"host": {}, "python3.13-arm64": {}}})

        with pytest.raises(RecipeError, match=r"no target python3.12-arm64; it has host, python3.13-arm64"):
            recipe.contents("python3.12-arm64")

    @pytest.mark.parametrize(
        "pin", ["six", "six>=1", "six==1.*", "six==1 ; python_version > '3'", "-r other.txt"]
    )
    def test_only_pins(self, pin):
        """What is not pinned to one version is refused: the same recipe gives the same layer tomorrow."""
        with pytest.raises(RecipeError, match="is not pinned; write name==version"):
            parse(MINIMAL | {"requirements": [pin]})

    @pytest.mark.parametrize(
        ("table", "message"),
        [
            ({"name": "small"}, "it lacks engine"),
            (MINIMAL | {"requirments": []}, "a field nobody reads: requirments"),
            (MINIMAL | {"targets": {"host": {"cpu_index": "x"}}}, "a field nobody reads: cpu_index"),
        ],
    )
    def test_fields(self, table, message):
        """A field that is missing, or that nobody would read, is refused by its name."""
        with pytest.raises(RecipeError, match=message):
            parse(table)


class TestLoad:
    """From a name to a recipe."""

    def test_unknown(self):
        """A recipe that does not exist is refused with the names of those that do."""
        with pytest.raises(RecipeError, match=r"no recipe .*known recipes: ctranslate2, opennmt"):
            load("opennnmt")

    def test_file(self, tmp_path):
        """A recipe may stand anywhere; a fault in it is told with its path."""
        path = tmp_path / "mine.toml"
        path.write_text('name = "mine"')

        with pytest.raises(RecipeError, match=r"mine.toml: it lacks engine"):
            load(str(path))

    @pytest.mark.parametrize("name", ["ctranslate2", "opennmt"])
    def test_same_versions_as_tested(self, name):
        """A layer has the versions that the project is developed and tested with."""
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        stated = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
        tested = dict(pin.split("==") for pin in stated if "==" in pin)

        pins = dict(pin.split("==") for pin in load(name).contents("python3.13-arm64").requirements)
        assert {key: pins[key] for key in pins.keys() & tested.keys()} == {
            key: tested[key] for key in pins.keys() & tested.keys()
        }
        assert {"msgspec", "obstore", "sentencepiece", "aws-lambda-powertools"} <= pins.keys() & tested.keys()
