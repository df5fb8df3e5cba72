"""Recipes: what goes into a layer."""

import re
import tomllib
from dataclasses import fields, replace

import pytest
from support.project import ROOT

from layer.builder import recipe as recipes
from layer.builder.errors import RecipeError
from layer.builder.recipe import RECIPES, Contents, Recipe, Smoke, load, normalise, parse
from layer.builder.slim.late.gate import Lazy
from layer.builder.slim.patch import Patch
from layer.builder.verify import inputs
from layer.builder.verify.inputs import check_model, list_code_files
from layer.builder.wheels.draft import check_script

MINIMAL = {"name": "small", "requirements": ["six==1.17.0"]}
PATCH = {"name": "fix", "reason": "r", "upstream": "u", "stage": "slim", "path": "a.py"}
SHIPPED = sorted(path.parent.name for path in RECIPES.glob("*/recipe.toml"))


class TestParse:
    """From a table to a recipe."""

    def test_common_and_own(self):
        """A target gets what is common and what is its own, its own pin in place of the common one."""
        recipe = parse(
            MINIMAL
            | {
                "requirements": ["six==1.17.0", "numpy==2.0.0"],
                "exclude": ["Jinja2"],
                "targets": {"python3.13-arm64": {"requirements": ["NumPy==2.4.6"], "exclude": ["sym_py"]}},
            }
        )

        contents = recipe.contents("python3.13-arm64")
        assert contents.requirements == ("NumPy==2.4.6", "six==1.17.0")
        assert contents.exclude == {"jinja2", "sym-py"}

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
            ({"requirements": []}, "recipe: missing name"),
            (MINIMAL | {"requirments": []}, "recipe: unknown requirments"),
            (MINIMAL | {"targets": {"host": {"cpu_index": "x"}}}, "target: unknown cpu_index"),
            (MINIMAL | {"rules": [{"name": "x", "globs": []}]}, "rule: missing reason"),
            (MINIMAL | {"smoke": {"code": []}}, "smoke: it takes script"),
            (MINIMAL | {"smoke": {"script": "gone.py"}}, "smoke: there is no script .*gone.py"),
        ],
    )
    def test_fields(self, table, message):
        """A field that is missing, or that nobody would read, is refused by its name."""
        with pytest.raises(RecipeError, match=message):
            parse(table)

    def test_least(self):
        """A name alone is a recipe; all else may be left out."""
        recipe = parse({"name": "small"})

        assert (recipe.name, recipe.engine, recipe.base_layer, recipe.smoke) == ("small", "", None, None)
        assert recipe.contents("host").requirements == recipe.rules == recipe.patches == ()

    def test_smoke(self, tmp_path):
        """Scripts are beside the recipe, all else is from the project's root; code alone is deployed."""
        (tmp_path / "predict.py").touch()
        table = {"script": "predict.py", "code": ["app"], "inputs": ["models/x"], "arguments": {"a": 1}}

        smoke = parse(MINIMAL | {"smoke": table}, tmp_path / "small").smoke
        other = parse(MINIMAL | {"smoke": table | {"function": ["lib"]}}, tmp_path / "small").smoke

        assert (smoke.script, smoke.code, smoke.inputs) == (
            tmp_path / "predict.py", (ROOT / "app",), (ROOT / "models" / "x",)
        )  # fmt: skip
        assert (smoke.arguments, smoke.prepare) == ({"a": 1}, None)
        assert (smoke.function, other.function) == ((ROOT / "app",), (ROOT / "lib",))

    def test_inputs_come_from_the_model(self, tmp_path):
        """Without any, they are what the model's model.toml names; one that is not there is named."""
        (tmp_path / "predict.py").touch()
        table = {"script": "predict.py", "arguments": {"model": "models/tumours"}}
        folder = ROOT / "models" / "tumours"
        names = ("model.toml", *tomllib.loads((folder / "model.toml").read_text())["files"])

        smoke = parse(MINIMAL | {"smoke": table}, tmp_path / "small").smoke
        stale = parse(MINIMAL | {"smoke": table | {"inputs": ["models/x"]}}, tmp_path / "small").smoke

        assert smoke.inputs == tuple(folder / name for name in names)
        with pytest.raises(RecipeError, match=r"no .*models/x: correct `inputs` below \[smoke\]"):
            list_code_files(stale)


class TestPatches:
    """From tables to patches."""

    def test_actions(self, tmp_path):
        """Each patch does one thing; what a file shall hold is read from beside the recipe."""
        (tmp_path / "stub.py").write_text("stub\n")
        actions = [{"remove": True}, {"empty": True}, {"content": "stub.py"}, {"old": "a", "new": "b"}]

        done = parse(MINIMAL | {"patches": [PATCH | one for one in actions]}, tmp_path / "small").patches

        assert [one.action for one in done] == ["remove", "empty", "content", "replace"]
        assert (done[2].content, done[3].old, done[3].new) == ("stub\n", "a", "b")

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({}, "patch fix: it takes one of remove, empty, content, or old and new; got none"),
            ({"remove": True, "empty": True}, "got empty, remove"),
            ({"old": "a"}, "got old"),
            ({"remove": True, "new": "b"}, "got remove"),
            ({"remove": True, "stage": "late"}, "stage is one of fix, slim, lazy, not late"),
            ({"remove": True, "expect": {}}, "patch fix: unknown expect"),
        ],
    )
    def test_refused(self, change, message):
        """A patch that says nothing clear is refused by its name."""
        with pytest.raises(RecipeError, match=message):
            parse(MINIMAL | {"patches": [PATCH | change]})


class TestLoad:
    """From a name to a recipe."""

    def test_unknown(self):
        """A recipe that does not exist is refused with the names of those that do."""
        with pytest.raises(RecipeError, match=rf"no recipe .*known recipes: {', '.join(SHIPPED)}"):
            load("opennnmt")

    @pytest.mark.parametrize(
        "line",
        ['include = ["NAME"]', 'extends = "NAME"', 'smoke.script = "NAME"', 'smoke.script = "/"',
         'smoke.arguments.model = "NAME"\nsmoke.script = "mine.toml"'],
    )  # fmt: skip
    def test_path_too_long(self, tmp_path, line):
        """A path that no file can have is named as the recipe's fault; so is a folder in a file's place."""
        path = tmp_path / "mine.toml"
        path.write_text(f'name = "mine"\nrequirements = []\n{line.replace("NAME", "a" * 300)}\n')
        with pytest.raises(RecipeError, match=r"mine\.toml: "):
            load(str(path))
        with pytest.raises(RecipeError, match=r"there is no recipe"):
            load("a" * 300)

    def test_file(self, tmp_path):
        """A recipe may stand anywhere; a fault in it is told with its path."""
        path = tmp_path / "mine.toml"
        path.write_text('engine = "mine"')

        with pytest.raises(RecipeError, match=r"mine.toml: recipe: missing name"):
            load(str(path))

    def test_extends(self, tmp_path):
        """A recipe is another one with its own requirements besides, and its own word where both have one."""
        script = "def answer(): pass"
        (tmp_path / "smoke.py").write_text(script)
        (tmp_path / "base.toml").write_text(
            'name = "base"\nengine = "one"\nrequirements = ["six==1.17.0"]\n[smoke]\nscript = "smoke.py"\n'
            'inputs = ["a"]\narguments.model = "a"\narguments.engine = "one"'
        )
        path = tmp_path / "more.toml"
        path.write_text(
            'name = "more"\nextends = "base"\nrequirements = ["numpy==2.4.6"]\n[smoke]\ninputs = ["b"]\n'
            'arguments.model = "b"'
        )

        found = load(str(path))

        assert (found.name, found.engine, found.folder) == ("more", "one", tmp_path / "more")
        assert found.contents("host").requirements == ("numpy==2.4.6", "six==1.17.0")
        assert [one.name for one in found.smoke.inputs] == ["b"]
        assert found.smoke.arguments == {"model": "b", "engine": "one"}
        assert "six==1.17.0" in found.text  # what the other one says counts as this one's

        path.write_text('name = "more"\nextends = "nothing"')
        with pytest.raises(RecipeError, match=r"more\.toml: .*nothing\.toml"):
            load(str(path))

    @pytest.mark.parametrize(
        "line",
        ["requirements = [5]", "patches = ['x']", "smoke = 5", "rules = 1", "targets = []",
         "include = 5", "[[split]]\nlibraries = 5", "[lazy]\nverified = 1\npackages = 1", "patches = [1]"],
    )  # fmt: skip
    def test_other_type(self, line, tmp_path):
        """An entry of another type than it takes is an error that names the file."""
        (tmp_path / "recipe.toml").write_text(f"{line}\n")
        with pytest.raises(RecipeError, match=r"recipe\.toml: "):
            load(str(tmp_path / "recipe.toml"))

    def test_extends_itself(self, tmp_path):
        """Recipes that extend each other are refused, with the chain."""
        (tmp_path / "one.toml").write_text('name = "one"\nextends = "other"')
        (tmp_path / "other.toml").write_text('name = "other"\nextends = "one"')

        with pytest.raises(RecipeError, match=r"one\.toml: extends itself: .*other\.toml"):
            load(str(tmp_path / "one.toml"))

    def test_include(self, tmp_path, monkeypatch):
        """Lists of a part are added to the recipe's, targets too; a single value of the recipe's own wins."""
        monkeypatch.setattr(recipes, "PARTS", tmp_path / "parts")
        (tmp_path / "parts").mkdir()
        (tmp_path / "parts" / "stub.py").write_text("stub\n")
        patch = 'reason = "r"\nupstream = "u"\nstage = "slim"\npath = "a.py"\n'
        (tmp_path / "parts" / "shared.toml").write_text(
            'cpu_index = "theirs"\nrequirements = ["six==1.16.0"]\nexclude = ["a"]\n'
            '[targets.host]\nrequirements = ["x==1"]\nexclude = ["c"]\n'
            f'[[patches]]\nname = "shared"\n{patch}content = "stub.py"\n'
            '[[rules]]\nname = "shared"\nreason = "r"\nglobs = []\n'
        )
        path = tmp_path / "mine.toml"
        path.write_text(
            'name = "mine"\ninclude = ["shared"]\ncpu_index = "mine"\nrequirements = ["six==1.17.0"]\n'
            'exclude = ["b"]\n[targets.host]\nrequirements = ["y==1"]\n'
            f'[[patches]]\nname = "own"\n{patch}remove = true\n'
        )

        mine = load(str(path))

        assert mine.cpu_index == "mine"
        assert mine.contents("host").requirements == ("six==1.17.0", "x==1", "y==1")
        assert mine.contents("host").exclude == {"a", "b", "c"}
        assert [(one.name, one.content) for one in mine.patches] == [("shared", "stub\n"), ("own", "")]
        assert [rule.name for rule in mine.rules] == ["shared"]
        assert "six==1.16.0" in mine.text  # a change of the part is a change of the recipe

    def test_a_pin_outweighs_a_parts_exclude(self, tmp_path, monkeypatch):
        """What a recipe pins is in its layer, though a part leaves it out; its own exclude counts."""
        monkeypatch.setattr(recipes, "PARTS", tmp_path / "parts")
        (tmp_path / "parts").mkdir()
        (tmp_path / "parts" / "shared.toml").write_text(
            'exclude = ["Sym_Py", "other", "own"]\n[targets.host]\nexclude = ["there"]\n'
        )
        (tmp_path / "mine.toml").write_text(
            'name = "mine"\ninclude = ["shared"]\nexclude = ["own"]\nrequirements = ["sym-py==1", "own==1"]\n'
            '[targets.host]\nrequirements = ["there==1"]\n'
        )

        contents = load(str(tmp_path / "mine.toml")).contents("host")

        assert contents.requirements == ("sym-py==1", "there==1")
        assert contents.exclude == {"other", "own"}

    @pytest.mark.parametrize(
        ("part", "include", "message"),
        [
            ("", "gone", "there is no part gone; known parts: shared"),
            ('engine = "x"', "shared", "part shared: unknown engine"),
        ],
    )
    def test_include_refused(self, part, include, message, tmp_path, monkeypatch):
        """A part that does not exist is refused with the names of those that do; it may not be a recipe."""
        monkeypatch.setattr(recipes, "PARTS", tmp_path / "parts")
        (tmp_path / "parts").mkdir()
        (tmp_path / "parts" / "shared.toml").write_text(part)
        (tmp_path / "mine.toml").write_text(f'name = "mine"\ninclude = ["{include}"]')

        with pytest.raises(RecipeError, match=rf"mine\.toml: {message}"):
            load(str(tmp_path / "mine.toml"))

    def test_old_names(self, tmp_path):
        """Keys and stages of the previous release still work, each with a warning that names the new one."""
        renamed = {"beside": "base_layer", "left_out": "exclude", "cut": "slim", "mend": "fix"}
        patch = '[[patches]]\nname = "x"\nreason = "r"\nupstream = "u"\npath = "a"\nempty = true\n'
        text = (
            'name = "mine"\nbase_layer = "inference"\nexclude = ["a"]\n[targets.host]\nexclude = ["b"]\n'
            f'{patch}stage = "slim"\n{patch}stage = "fix"\n'
        )
        path = tmp_path / "mine.toml"
        path.write_text(text)
        expected = load(str(path))
        for old, new in renamed.items():
            text = text.replace(new, old)
        path.write_text(text)

        with pytest.warns(FutureWarning) as warned:
            mine = load(str(path))

        assert replace(mine, text="") == replace(expected, text="")
        assert {str(one.message) for one in warned} == {
            f"{path}: {old if old in {'beside', 'left_out'} else f'stage = {old}'} is called {new} now; rename it"  # noqa: E501
            for old, new in renamed.items()
        }

    def test_base_layer(self, tmp_path):
        """A layer's companion is a recipe of its own; one that does not exist is told with both paths."""
        path = tmp_path / "mine.toml"
        path.write_text('name = "mine"\nbase_layer = "inference"')
        assert load(str(path)).base_layer == load("inference")

        path.write_text('name = "mine"\nbase_layer = "interference"')
        with pytest.raises(
            RecipeError, match=r"mine\.toml: there is no recipe .*interference.recipe\.toml; known"
        ):
            load(str(path))

    @pytest.mark.parametrize("name", SHIPPED)
    @pytest.mark.parametrize("target", ["host", "python3.13-arm64", "python3.13-x86_64"])
    def test_same_versions_as_tested(self, name, target):
        """A layer and the one beside it have the versions that the project is developed and tested with."""
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        stated = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
        tested = {
            normalise(key): version for key, version in (pin.split("==") for pin in stated if "==" in pin)
        }
        recipe = load(name)
        pins = pinned(recipe, target)
        beside = pinned(recipe.base_layer, target) if recipe.base_layer else {}

        assert {key: pins[key] for key in pins.keys() & beside.keys()} == {
            key: beside[key] for key in pins.keys() & beside.keys()
        }
        together = pins | beside
        assert {"msgspec", "obstore"} <= together.keys() & tested.keys()
        assert {key: together[key] for key in together.keys() & tested.keys()} == {
            key: tested[key] for key in together.keys() & tested.keys()
        }


def pinned(recipe, target) -> dict[str, str]:
    """Return version by name, as a target gets it."""
    pins = (pin.split("==") for pin in recipe.contents(target).requirements)
    return {normalise(name): version for name, version in pins}


class TestPage:
    """docs/layers.md says all about recipes."""

    TEXT = (ROOT / "docs" / "layers.md").read_text(encoding="utf-8").partition("## From a requirements")[2]

    def test_keys(self):
        """Each key has a row, and no row is about something else."""
        derived = {"common", "folder", "text", "donors"}
        keys = {field.name for kind in (Recipe, Contents, Smoke) for field in fields(kind)} - derived
        spelled = {"targets": "[targets.NAME]", "lazy": "[lazy]"}
        spelled |= {name: f"[[{name}]]" for name in ("rules", "patches", "split")}

        assert self.list_keys("## A recipe", "### A patch") == sorted(
            {spelled.get(key, key) for key in keys - {"smoke"}} | {"extends", "include"}
        )
        assert "`[smoke]`" in self.TEXT

    def test_keys_of_patches(self):
        """Each key of a patch and of the gate has a row, and no row is about something else."""
        patch = {field.name for field in fields(Patch)} - {"action"} | {"remove", "empty"}
        lazy = {field.name for field in fields(Lazy)} - {"later"} | {"[[lazy.later]]"}

        assert self.list_keys("### A patch", "## Publish") == sorted(
            [*patch, *lazy, "[[patches]]", "[lazy]"]  # the last two in the tables' heads
        )

    def list_keys(self, start, end):
        """Return what the first cells of the rows between two headings name."""
        part = self.TEXT.partition(start)[2].partition(end)[0]
        rows = re.findall(r"^\| ([^|]*`[^|]+) \|", part, re.MULTILINE)
        return sorted(name for row in rows for name in re.findall(r"`([^`]+)`", row))

    def test_examples(self, tmp_path):
        """The recipe and the patch are such, and the smoke script has an answer in at most ten lines."""
        recipe, patch = re.findall(r"```toml\n(.*?)```", self.TEXT, re.DOTALL)
        (script,) = re.findall(r"```python\n(.*?)```", self.TEXT, re.DOTALL)
        (tmp_path / "smoke.py").write_text(script)

        mine = parse({**tomllib.loads(recipe), "name": "mine"}, files=[tmp_path])

        check_script(mine.smoke.script)
        assert mine.contents("host").donors == {"scikit-learn"}
        assert len(script.splitlines()) <= 10
        assert parse({**MINIMAL, **tomllib.loads(patch)}).patches[0].action == "replace"


def test_a_model_without_its_weights_is_refused_with_the_command_that_fetches_them(tmp_path, monkeypatch):
    """As in a fresh clone; where there is no package, the message says whose they are."""
    monkeypatch.setattr(inputs, "ROOT", tmp_path)
    folder = tmp_path / "models" / "mine"
    folder.mkdir(parents=True)
    (folder / "model.toml").write_text('files = ["a.onnx", "a.onnx.data"]')
    (folder / "a.onnx").touch()
    smoke = Smoke(None, (), (folder / "a.onnx.data",), {"model": "models/mine"})
    with pytest.raises(RecipeError, match=r"models/mine lacks a\.onnx\.data, .* from where your training"):
        check_model(smoke)
    (folder / "fetch.json").touch()
    for call in (check_model, list_code_files):
        with pytest.raises(RecipeError, match=r": python -m lambda_setup model fetch models/mine$"):
            call(smoke)
    check_model(replace(smoke, prepare=folder / "convert.py"))  # which makes other files
    (folder / "a.onnx.data").touch()
    check_model(smoke)
