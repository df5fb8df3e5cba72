"""Imports that patches move to their first use: what they lose without a sound stops the build, by name."""

import os
import shutil
import subprocess
import sys

import pytest
from support.wheels import wheel

from layer.builder import build
from layer.builder.errors import BuildError, RecipeError
from layer.builder.recipe import PARTS, load, parse
from layer.builder.slim.late import gate
from layer.builder.slim.late.gate import Later, compare
from layer.builder.steps import Steps
from layer.builder.target import HOST, get_target

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes of their own are forked")

TOY = {
    "toy/__init__.py": "import toy.pickles\nimport toy.plain\nfrom toy.words import count as answer\n",
    "toy/pickles.py": (
        "import copyreg\n"
        "class Odd:\n"
        "    pass\n"
        "copyreg.pickle(Odd, lambda odd: (Odd, ()))\n"
    ),
    "toy/plain.py": "def double(x):\n    return 2 * x\n",
    "toy/words.py": "def count():\n    return 3\n",
    "toy-1.0.dist-info/LICENSE": "take it\n",
}  # fmt: skip

RECIPE = """\
name = "toy"
requirements = ["toy==1.0"]

[smoke]
script = "smoke.py"

[lazy]
verified = ["{place}"]
packages = ["toy"]
operations = "operations.py"
"""

PATCH = """
[[patches]]
name = "late"
reason = "costs"
upstream = "https://up/stream"
stage = "lazy"
path = "toy/__init__.py"
old = "{old}"
new = '''{new}'''
"""

LATE = """\
def __getattr__(name):
    import importlib
    if name in {"plain", "pickles"}:
        return importlib.import_module(f"toy.{name}")
    raise AttributeError(name)
"""

SAME = {
    "imported": {"atexit": ["a"]},
    "predicted": {"atexit": ["a"]},
    "missing": [],
    "late": {"x.y": ""},
    "attributes": ["x.y"],
    "threads": [],
    "operations": {"add": "2"},
    "answer": [1],
}


@pytest.fixture
def build_toy(tmp_path, monkeypatch):
    """Return a function that builds the toy's layer with a patch in its recipe."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    index = tmp_path / "wheels"
    index.mkdir()
    wheel(index, "toy", TOY)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    (tmp_path / "smoke.py").write_text("def answer():\n    import toy\n    return toy.answer()\n")
    (tmp_path / "operations.py").write_text("def answer():\n    import toy\n    return toy.plain.double(2)\n")

    def run(text, place=""):
        target = get_target(HOST)
        own = RECIPE.replace("{place}", place or target.record)
        (tmp_path / "toy.toml").write_text(own + text)
        job = build.Job(
            load(str(tmp_path / "toy.toml")), get_target(HOST), tmp_path / "out", work=tmp_path / "work"
        )
        return build.build(job, lambda _: None)

    return run


class TestGate:
    """Builds of a toy package."""

    def test_harmless(self, build_toy, tmp_path):
        """A module that only defines is imported late, and stays in the layer."""
        build_toy(PATCH.format(old="import toy.plain\\n", new=LATE))

        code = "import sys, toy; print('toy.plain' in sys.modules, toy.plain.double(4))"
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", f"import sys; sys.path += sys.argv[1:]; {code}",
             str(tmp_path / "out" / "layer" / "python")],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert done.stdout == "False 8\n"

    @pytest.mark.check
    def test_registers(self, build_toy):
        """A module that registers, made late on purpose, stops the build: it names what is lost."""
        with pytest.raises(BuildError) as caught:
            build_toy(PATCH.format(old="import toy.pickles\\n", new=LATE))

        lines = str(caught.value).splitlines()
        assert "  copyreg, after the imports: toy.pickles.Odd is not there" in lines
        assert "  copyreg, after the prediction: toy.pickles.Odd is not there" in lines

    @pytest.mark.check
    def test_named(self, build_toy):
        """What a recipe names with a reason is taken."""
        named = (
            '[[lazy.later]]\nregistry = "copyreg"\nentries = ["toy.pickles.*"]\nreason = "with its type"\n'
        )

        assert build_toy(named + PATCH.format(old="import toy.pickles\\n", new=LATE)).proven

    def test_lost(self, build_toy):
        """A module that its package no longer finds stops the build, too."""
        with pytest.raises(BuildError, match=r"toy\.plain is not an attribute of its package any more"):
            build_toy(PATCH.format(old="import toy.plain\\n", new=""))

    @pytest.mark.check
    def test_not_verified(self, build_toy, tmp_path):
        """On a Python that the patches were not verified with, imports are where they were."""
        build_toy(PATCH.format(old="import toy.pickles\\n", new=LATE), place="python3.99-arm64")

        assert "toy.pickles" in (
            tmp_path / "out" / "layer" / "python" / "toy" / "__init__.pyc"
        ).read_bytes().decode(errors="ignore")

    @pytest.mark.check
    def test_compared_once(self, build_toy, tmp_path, monkeypatch):
        """A tree that is proven was compared; another one is compared again."""
        build_toy(PATCH.format(old="import toy.plain\\n", new=LATE))
        observed = []
        observe = Steps._observe
        monkeypatch.setattr(Steps, "_observe", lambda *args: observed.append(args) or observe(*args))

        shutil.rmtree(tmp_path / "out")
        build_toy(PATCH.format(old="import toy.plain\\n", new=LATE))
        assert not observed
        build_toy(PATCH.format(old="import toy.plain\\n", new=f"# another\n{LATE}"))
        assert len(observed) == 2

    @pytest.mark.check
    def test_not_compared(self, build_toy, monkeypatch):
        """Imports are not moved where nothing compares."""
        monkeypatch.setattr(sys.modules[__name__], "RECIPE", RECIPE.partition("[lazy]")[0])

        with pytest.raises(BuildError, match=r"add \[lazy\] to the recipe"):
            build_toy(PATCH.format(old="import toy.plain\\n", new=LATE))


class TestCompare:
    """What is observed, and what is said of it."""

    def test_same(self):
        """No difference, no line."""
        assert compare(SAME, SAME, ()) == []

    @pytest.mark.parametrize(
        ("changed", "line"),
        [
            ({"imported": {"atexit": []}}, "atexit, after the imports: a is not there"),
            ({"predicted": {"atexit": ["a", "b"]}}, "atexit, after the prediction: b was not there before"),
            ({"missing": ["x.z"]}, "x.z is gone"),
            ({"late": {"x.y": "ImportError"}}, "x.y: ImportError, not imported"),
            ({"attributes": []}, "x.y is not an attribute of its package any more"),
            ({"threads": ["x.y: KeyError"]}, "x.y: KeyError, when several threads import at once"),
            ({"operations": {"add": "3"}}, "operations.add: 2, not 3"),
            ({"answer": [2]}, "answer[0]: 1, not 2"),
        ],
        ids=lambda value: "" if isinstance(value, str) else next(iter(value)),
    )
    def test_difference(self, changed, line):
        """Each kind of difference has its line."""
        assert compare(SAME, SAME | changed, ()) == [line]

    def test_late_only(self):
        """A module that was imported at once, and is imported late now, has to end well."""
        later = {"late": {"x.y": "", "x.late": "NameError"}}

        assert compare(SAME, SAME | later, ()) == ["x.late: NameError, not imported"]

    def test_named(self):
        """A named entry may be lost, and no other one of its registry."""
        before = SAME | {"imported": {"codecs": ["a.one", "b.two"]}}
        after = SAME | {"imported": {"codecs": []}}

        assert compare(before, after, [Later("codecs", ("a.*",), "why")]) == [
            "codecs, after the imports: b.two is not there"
        ]


@pytest.mark.parametrize("registry", sorted(gate.NEVER))
def test_never(registry):
    """Registries that native code or other processes ask may not be named."""
    later = {"registry": registry, "entries": ["*"], "reason": "why"}
    table = {"verified": ["python3.13-arm64"], "packages": ["x"], "later": [later]}

    with pytest.raises(RecipeError, match="may not differ"):
        parse({"name": "mine", "lazy": table})


def test_torch(tmp_path):
    """Each difference of torch has a reason, and each patch says which version it was written for."""
    (tmp_path / "mine.toml").write_text('name = "mine"\ninclude = ["torch", "torch_lazy"]\n')

    recipe = load(str(tmp_path / "mine.toml"))

    assert recipe.lazy.operations == PARTS / "torch_operations.py"
    assert all(len(one.reason) > 20 for one in recipe.lazy.later)
    late = [one for one in recipe.patches if one.stage == "lazy"]
    assert {one.path.partition("/")[0] for one in late} == {"torch"}
    assert [one.name for one in late if "/v" not in one.upstream and one.action != "content"] == []
