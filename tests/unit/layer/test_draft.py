"""From a requirements file to a recipe and its layer; toy wheels from a folder, no network."""

import os
import tomllib
from dataclasses import replace

import pytest
from support.packages import make_wheel

from layer.builder import build
from layer.builder import recipe as recipe_module
from layer.builder.cli import main, recipes
from layer.builder.errors import RecipeError, ResolveError
from layer.builder.recipe import load
from layer.builder.target import Target, get_target
from layer.builder.wheels import draft as drafts
from layer.builder.wheels import install, pins
from layer.builder.wheels import lock as locks
from layer.builder.wheels.draft import Draft
from layer.builder.wheels.resolve import resolve_file
from layer.builder.wheels.unused import list_unused
from layer.builder.wheels.wheel import Wheel

ARM, X86, HOST = (get_target(name) for name in drafts.TARGETS)
NEWER = Target("python3.99-arm64", "python3.99", "arm64")
SMOKE = "def answer():\n    import app\n    return app.NAME\n"


@pytest.fixture(autouse=True)
def index(tmp_path, monkeypatch):
    """Return the folder that is all pip knows: app, and what it needs on this Python or on Lambda's."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    folder = tmp_path / "index"
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    make_wheel(folder, "app", requires=("new; python_version >= '3.13'", "old; python_version < '3.13'"))
    make_wheel(folder, "old")
    make_wheel(folder, "new")
    make_wheel(folder, "spare")
    return folder


@pytest.fixture
def requirements(tmp_path):
    """Return a requirements file."""
    path = tmp_path / "requirements.txt"
    path.write_text("app\n")
    return path


@pytest.fixture
def homes(tmp_path, monkeypatch):
    """Return the folder that recipes go to, beside one for wheels."""
    monkeypatch.setattr(recipes, "RECIPES", tmp_path / "recipes")
    monkeypatch.setattr(drafts, "RECIPES", tmp_path / "recipes")
    monkeypatch.setattr(recipes, "_WHEELS", tmp_path / "wheels")
    return tmp_path / "recipes"


@pytest.mark.skipif(HOST.python == ARM.python, reason="markers differ only between two Pythons")
def test_new_and_pin(homes, requirements, tmp_path, index, capsys):
    """A recipe has the pins of each target by that target's markers, and its locks; then it is renewed."""
    homes.mkdir()  # as it is beside other recipes
    smoke = tmp_path / "mine.py"
    smoke.write_text(SMOKE)
    assert main(["new", "mine", str(requirements), "--smoke", str(smoke)]) == 0

    recipe = load(str(homes / "mine" / "recipe.toml"))
    assert recipe.contents(ARM.name).requirements == ("app==1.0", "new==1.0")
    assert recipe.contents(HOST.name).requirements == ("app==1.0", "old==1.0")
    assert recipe.smoke.imports == ("app",)
    assert recipe.smoke.script.read_text() == SMOKE
    for target in (ARM, X86, HOST):
        assert locks.read(recipe, target) is not None
        assert "layer" in (homes / "mine" / target.name / "Makefile").read_text()

    make_wheel(index, "new", version="2.0")
    file = homes / "mine" / "recipe.toml"
    file.write_text(
        file.read_text().replace("[smoke]", 'libraries = { "libx.so" = "spare==1.0" }\n\n[smoke]', 1)
    )
    capsys.readouterr()
    assert main(["pin", str(homes / "mine" / "recipe.toml")]) == 0
    changes = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("·")]
    assert changes == [
        f"{target}: {change}" for target in (ARM.name, X86.name) for change in ("- new==1.0", "+ new==2.0")
    ]
    renewed = load(str(homes / "mine" / "recipe.toml"))
    assert [wheel.requirement for wheel in locks.read(renewed, ARM).wheels] == [
        "app==1.0",
        "new==2.0",
        "spare==1.0",
    ]


def test_newer_python(index, requirements, tmp_path):
    """What requires a newer Python than the one that runs here is resolved, locked and installed for it."""
    make_wheel(index, "app", {"app.py": "NAME = 2\n"}, version="2.0", python=f">={NEWER.python}")
    wheels = resolve_file(requirements, NEWER, tmp_path)
    assert [wheel.requirement for wheel in wheels] == ["app==2.0"]
    assert "app==1.0" in [wheel.requirement for wheel in resolve_file(requirements, HOST, tmp_path)]

    recipe = recipe_module.parse({"name": "mine", "requirements": ["app==2.0"]}, tmp_path / "mine")
    lock = locks.make(recipe, NEWER, tmp_path)
    install.fetch(lock, NEWER, "", tmp_path / "wheels", print)
    install.install(lock, NEWER, tmp_path / "wheels", tmp_path / "tree")
    assert (tmp_path / "tree" / "app.py").read_text() == "NAME = 2\n"


def test_same_versions(index, requirements, tmp_path):
    """Targets have what the oldest of their Pythons can have; another version only where that is missing."""
    requirements.write_text("app\nspare\n")
    make_wheel(index, "app", version="2.0", python=f">={NEWER.python}")
    make_wheel(index, "spare", version="2.0", tag=f"cp{HOST.python.replace('.', '')}-none-any")
    choices = drafts.resolve_targets(requirements, (NEWER, HOST), tmp_path, print)
    pins = {name: {wheel.requirement for wheel in wheels} for name, wheels in choices.items()}
    assert pins[NEWER.name] == {"app==2.0", "spare==1.0"}
    assert {"app==1.0", "spare==2.0"} < pins[HOST.name]
    assert list(choices) == [NEWER.name, HOST.name]

    requirements.write_text("app\n")
    choices = drafts.resolve_targets(requirements, (NEWER, HOST), tmp_path, print)
    assert "app==1.0" in [wheel.requirement for wheel in choices[NEWER.name]]


@pytest.fixture
def beside(tmp_path, monkeypatch):
    """Return a recipe whose part pins what a requirements file may need, too."""
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "shared.toml").write_text('requirements = ["base==1.0"]\nexclude = ["common"]\n')
    monkeypatch.setattr(recipe_module, "PARTS", tmp_path / "parts")
    path = tmp_path / "mine" / "recipe.toml"
    path.parent.mkdir()
    path.write_text(
        'include = ["shared"]\nrequirements = []\n\n[targets.host]\n\n[smoke]\nscript = "smoke.py"\n'
    )
    path.with_name("smoke.py").write_text(SMOKE)
    return path


def test_new_packages_beside_a_parts(beside, requirements, tmp_path, monkeypatch):
    """A part's pins are constraints and no pins of the recipe; what only they depend on stays out."""
    asked = []

    def choose(file, target, _, constraints):
        asked.append((file, target.name, constraints))
        wheels = {
            "app": ("base", "common"),
            "base": ("common", "deep"),
            "deep": (),
            "common": (),
            "extra": (),
        }
        return tuple(
            Wheel(name, "2.0", "", "", requires=requires, requested=name in {"app", "base"})
            for name, requires in wheels.items()
        )

    monkeypatch.setattr(drafts, "resolve_file", choose)
    found = drafts.resolve_own(load(str(beside)), requirements, HOST, tmp_path)
    assert asked == [(requirements, HOST.name, ("base==1.0",))]
    # "common" is excluded for the part alone, and "extra" is what an extra of some package asks for.
    assert [wheel.name for wheel in found] == ["app", "common", "extra"]


def test_extended_recipe(beside, requirements, tmp_path, index):
    """The file's packages are pinned and imported, and fit the part's; `pin` renews them so."""
    for version in ("1.0", "2.0"):
        make_wheel(index, "base", version=version)
    make_wheel(index, "app", requires=("base",), version="1.1")
    beside.write_text(drafts.extend(load(str(beside)), requirements, tmp_path / "wheels", print))
    (beside.parent / "requirements.txt").write_text("app\n")
    recipe = load(str(beside))
    assert recipe.contents("host").requirements == ("app==1.1", "base==1.0")
    assert recipe.smoke.imports == ("app",)
    make_wheel(index, "app", requires=("base",), version="1.2")
    assert drafts.renew(recipe, tmp_path / "wheels", print) == ["host: - app==1.1", "host: + app==1.2"]
    locked = locks.read(load(str(beside)), HOST)
    assert [wheel.requirement for wheel in locked.wheels] == ["app==1.2", "base==1.0"]


def test_dry_run(homes, requirements, monkeypatch, capsys):
    """The recipe is printed, with the packages that are named to be imported; nothing is written."""
    choices = {target.name: (Wheel("torch", "2.10.0", "", ""),) for target in (ARM, HOST)}
    monkeypatch.setattr(drafts, "resolve_targets", lambda *_: choices)

    assert main(["new", "mine", str(requirements), "--import", "a, b.c", "--dry-run"]) == 0

    table = tomllib.loads(capsys.readouterr().out)
    assert table == {
        "base_layer": "inference",
        "cpu_index": "https://download.pytorch.org/whl/cpu",
        "requirements": ["torch==2.10.0"],
        "targets": {"python3.13-arm64": {}, "host": {}},
        "smoke": {"imports": ["a", "b.c"]},
        "split": [{"libraries": ["**"]}],
    }
    assert not homes.exists()


def test_bare_file(requirements, tmp_path):
    """A requirements file alone is built; what it names is imported, and what nothing needs may go."""
    make_wheel(tmp_path / "index", "app", requires=("spare",), version="1.1")
    work = tmp_path / "work"

    recipe = drafts.draft_file(requirements, HOST, work, print)
    job = build.Job(recipe, HOST, tmp_path / "out", work=work)
    report = build.build(job, print)

    assert report.proven
    assert {"app.pyc", "app-1.1.dist-info/METADATA"} <= {file.path for file in report.files}
    assert list_unused(report, locks.read(recipe, HOST), work / "wheels") == ["spare"]
    assert list_unused(report, locks.read(recipe, HOST), work / "emptied") == []
    assert drafts.draft_file(requirements, HOST, work, print).folder == recipe.folder
    excluding = replace(recipe, common=replace(recipe.common, exclude=frozenset({"spare"})))
    assert excluding.contents("host").requirements == ("app==1.1",)


@pytest.mark.parametrize(
    ("name", "script", "message"),
    [
        ("Mine", SMOKE, "not a name of a recipe"),
        ("there", SMOKE, "layer pin there"),
        ("mine", "print(1)\n", r"no function answer; .*\n    def answer\(\):\n        return"),
        ("mine", "def answer(:\n", "cannot be read"),
    ],
)
def test_refused(name, script, message, tmp_path, requirements):
    """Before anything is resolved, with what to do."""
    (tmp_path / "recipes" / "there").mkdir(parents=True)
    smoke = tmp_path / "smoke.py"
    smoke.write_text(script)

    with pytest.raises(RecipeError, match=message):
        drafts.check(Draft(tmp_path / "recipes" / name, requirements, smoke))


def test_docstrings_that_functions_need(requirements, tmp_path):
    """They stay, though no import and no prediction asks for them."""
    source = 'def f():\n    """Say it."""\ndef g():\n    return f.__doc__.strip()\n'
    make_wheel(tmp_path / "index", "app", {"app/__init__.py": source}, version="1.1")
    recipe = drafts.draft_file(requirements, HOST, tmp_path / "work", print)
    report = build.build(build.Job(recipe, HOST, tmp_path / "out", work=tmp_path / "work"), print)

    assert report.compiled.endswith("with the docstrings of app, which are read")
    assert "imported what the full tree does" in report.proof.how


def test_files_that_refer_to_others(tmp_path):
    """What a requirements file includes is in the recipe's; constraints are found from there."""
    (tmp_path / "deep").mkdir()
    (tmp_path / "a.txt").write_text("app\n-r deep/b.txt\n--constraint=c.txt\n-r https://x.org/d.txt\n")
    (tmp_path / "deep" / "b.txt").write_text("# more\nspare\n  -cd.txt\n")
    assert drafts.flatten(tmp_path / "a.txt", tmp_path / "layer" / "mine") == (
        "app\n# more\nspare\n-c ../../deep/d.txt\n-c ../../c.txt\n-r https://x.org/d.txt\n"
    )
    (tmp_path / "deep" / "b.txt").write_text("-r ../a.txt\n")
    with pytest.raises(RecipeError, match=r"a\.txt refers to itself"):
        drafts.check(Draft(tmp_path / "mine", tmp_path / "a.txt"))
    (tmp_path / "a.txt").write_text("-r gone.txt\n")
    with pytest.raises(RecipeError, match=r"gone\.txt does not exist, and another one refers to it"):
        drafts.check(Draft(tmp_path / "mine", tmp_path / "a.txt"))


@pytest.mark.parametrize("text", ["", "# app\n", "-r b.txt\n"])
def test_a_file_that_names_nothing(text, tmp_path):
    """It is refused, rather than a recipe written of which nothing can be built."""
    (tmp_path / "a.txt").write_text(text)
    (tmp_path / "b.txt").write_text("\n")
    with pytest.raises(RecipeError, match=r"a\.txt names no package"):
        drafts.check(Draft(tmp_path / "mine", tmp_path / "a.txt"))


def test_no_requirements_file(tmp_path):
    """It is named; a recipe without one is told how it gets one."""
    with pytest.raises(RecipeError, match=r"the requirements file .* does not exist"):
        drafts.check(Draft(tmp_path / "mine", tmp_path / "gone.txt"))
    with pytest.raises(RecipeError, match=r"recipe opennmt has no requirements\.txt: write"):
        drafts.renew(load("opennmt"), tmp_path, print)


def test_a_target_without_wheels(tmp_path, monkeypatch):
    """It is left out, and said; where all are, the first one's error is told."""
    only = {HOST.name: (Wheel("app", "1.0", "app.whl", "0" * 64),)}

    def choose(_, target, __, **___):
        if target.name not in only:
            raise ResolveError(f"none for {target.name}")
        return only[target.name]

    monkeypatch.setattr(drafts, "resolve_file", choose)
    lines = []
    assert drafts.resolve_targets(tmp_path, [ARM, HOST], tmp_path, lines.append) == only
    assert lines[-1] == f"WARNING: left out: {ARM.name}: none for {ARM.name}"
    with pytest.raises(ResolveError, match=ARM.name):
        drafts.resolve_targets(tmp_path, [ARM, X86], tmp_path, lines.append)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["a/__init__.py", "a/b/__init__.py", "tests/__init__.py"], ["a"]),
        (["one.py", "two.cpython-313-x86_64-linux-gnu.so", "_three.py"], ["one", "two"]),
        (["google/protobuf/__init__.py", "google/protobuf/any.py"], ["google.protobuf"]),
        (["_cffi.abi3.so", "x.libs/libx.so"], ["_cffi"]),
    ],
    ids=["package", "modules", "namespace", "private alone"],
)
def test_top_level(files, expected, tmp_path):
    """What can be imported of a wheel, without tests and private helpers."""
    wheel = make_wheel(tmp_path, "toy", dict.fromkeys(files, ""))

    assert drafts.list_top_level(wheel) == expected


class TestPins:
    """The lists in a recipe's file."""

    TEXT = """\
# Mine.
base_layer = "inference"
requirements = ["a==1", "b==1"]  # pinned
exclude = ["c"]

[targets.host]
exclude = ["d"]

# Lambda's.
[targets."python3.13-arm64"]
requirements = [
    "e==1",
]
"""

    def test_renewed(self):
        """Whatever else a file says stays."""
        text = pins.renew(self.TEXT, {"": ["a==2"], "host": ["h==1"], "python3.13-arm64": [], "x": ["y==1"]})

        assert text.startswith('# Mine.\nbase_layer = "inference"\nrequirements = [\n    "a==2",\n]\n')
        assert "# Lambda's." in text
        assert tomllib.loads(text) == {
            "base_layer": "inference",
            "requirements": ["a==2"],
            "exclude": ["c"],
            "targets": {
                "host": {"requirements": ["h==1"], "exclude": ["d"]},
                "python3.13-arm64": {"requirements": []},
                "x": {"requirements": ["y==1"]},
            },
        }

    def test_grouped(self):
        """What all targets have stands once."""
        one, two, three = (Wheel(name, "1", "", "") for name in "abc")

        assert pins.group({"x": [one, two], "y": [one, three]}) == {
            "": ["a==1"],
            "x": ["b==1"],
            "y": ["c==1"],
        }
