"""From wheels to a proven layer, and what fails on the way; toy wheels from a folder, no network."""

import hashlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from unittest.mock import Mock

import pytest
from support.project import ROOT
from support.wheels import contents, wheel

from lambda_inference import _unpack
from layer.builder import build, tree
from layer.builder.cli import main
from layer.builder.errors import BuildError, InterpreterError, LayerError, PlanError, PublishError, SmokeError
from layer.builder.pack import interpreter, plan
from layer.builder.publish.checks import read_publishable
from layer.builder.recipe import RECIPES, load
from layer.builder.report import facts as report
from layer.builder.report.table import format_table
from layer.builder.slim import elf
from layer.builder.slim.split.step import Splitter
from layer.builder.steps import StaleTraceError, Steps, Usage
from layer.builder.target import HOST, get_target
from layer.builder.tree import folder_sha256
from layer.builder.verify import proof
from layer.builder.verify.smoke import Outcome
from layer.builder.wheels import install as wheels
from layer.builder.wheels import lock

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the toy's shared library is one of Linux")

EXTENSION = Path(importlib.util.find_spec("regex._regex").origin)
LIBRARY = f"toy/{EXTENSION.name}"
KNOWN = sorted(path.parent.name for path in RECIPES.glob("*/recipe.toml"))
SYMBOLS = b"symbols, which no loader reads" * 1000
ANSWER = {"greeting": "hello you", "words": 3, "compiled": 4}

TOY = {
    "toy/__init__.py": (
        "import importlib\n"
        "import helper\n"
        "import toy._regex\n"
        "import toy.words\n"
        'GREETING = "hello"\n'
        "def answer(word, more=()):\n"
        "    for name in more:\n"
        "        importlib.import_module(name)\n"
        '    return {"greeting": helper.join(GREETING, word), "words": toy.words.count(),\n'
        '            "compiled": toy._regex.get_code_size()}\n'
    ),
    "toy/words.py": (
        "from pathlib import Path\n"
        "def count():\n"
        '    return len((Path(__file__).parent / "data" / "words.txt").read_text().split())\n'
    ),
    "toy/data/words.txt": "one two three\n",
    "toy/data/other.txt": "never opened\n",
    "toy/extra.py": '"""Asked for only later."""\n',
    "toy/docs/guide.txt": "how to play\n" * 30,
    "toy/include/toy.h": "int toy(void);\n" * 20,
    "toy/tests/test_toy.py": "assert True\n" * 10,
    "toy/py.typed": "",
    "toy-1.0.dist-info/LICENSE": "take it\n",
}
HELPER = {"helper.py": 'def join(*words):\n    """Join."""\n    return " ".join(words)\n'}
SPARE = {"spare/__init__.py": "x = 1\n" * 50, "spare-1.0.dist-info/LICENSE": "take it\n"}

RECIPE = """\
name = "toy"
engine = "toy"
requirements = ["toy==1.0", "helper==1.0", "spare==1.0"]

[smoke]
script = "toy/smoke.py"
arguments.word = "you"

[[rules]]
name = "guides"
reason = "nobody reads them there"
globs = ["**/docs/**"]
"""

SMOKE = """\
import signal
from pathlib import Path

def answer(word, more=()):
    import toy
    if toy.__file__.endswith(".pyc") and Path(__file__).with_name("hold").exists():
        signal.pause()
    return toy.answer(word, more)
"""

KEPT = [
    "helper.py",
    "toy-1.0.dist-info/LICENSE",
    "toy/__init__.py",
    LIBRARY,
    "toy/data/words.txt",
    "toy/words.py",
]

BUILDER = """\
import sys
from pathlib import Path
from layer.builder import build, recipe, target

host = target.get_target("host")
job = build.Job(recipe.load(sys.argv[1]), host, Path(sys.argv[2]), work=Path(sys.argv[3]))
build.build(job, lambda line: print(line, flush=True))
"""


@dataclass(frozen=True)
class Built:
    """A toy layer, and what was seen while it was built.

    Attributes:
        installed: every installed file's bytes.
        commands: of all programs that were started.

    """

    recipe: Path
    out: Path
    work: Path
    report: report.Report
    said: tuple[str, ...]
    installed: dict[str, int]
    commands: tuple[tuple[str, ...], ...]

    @property
    def layer(self) -> Path:
        return self.out / "layer"

    @property
    def job(self) -> build.Job:
        return job_of(self.recipe, self.out, self.work)

    def record(self, name: str) -> Path:
        return self.recipe.with_suffix("") / get_target(HOST).record / name

    def pips(self) -> list[str]:
        """Return what pip was asked to do."""
        return [command[4] for command in self.commands if command[1:3] == ("-m", "pip")]


def written(folder, text=RECIPE):
    """Write a recipe with its smoke script, and return the recipe's path."""
    (folder / "toy").mkdir(parents=True, exist_ok=True)
    (folder / "toy" / "smoke.py").write_text(SMOKE)
    (folder / "toy.toml").write_text(text)
    return folder / "toy.toml"


def job_of(recipe, out, work, **options):
    """Return the job of a recipe for this machine."""
    return build.Job(load(str(recipe)), get_target(HOST), out, work=work, **options)


def run(recipe, out, work, **options):
    """Build, and return the layer with what was seen meanwhile."""
    said, commands, installed = [], [], {}
    run_really, install = subprocess.run, wheels.install

    def run_seen(command, **keywords):
        commands.append(tuple(map(str, command)))
        return run_really(command, **keywords)

    def install_seen(found, target, cache, folder):
        install(found, target, cache, folder)
        installed.update({file.path: file.size for file in tree.files(folder)})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess, "run", run_seen)
        patch.setattr(wheels, "install", install_seen)
        done = build.build(job_of(recipe, out, work, **options), said.append)
    return Built(recipe, out, work, done, tuple(said), installed, tuple(commands))


def answered(*paths):
    """Return what the toy answers in a fresh interpreter that has these folders alone."""
    code = (
        "import json, sys; sys.path += sys.argv[1:]; import toy; "
        "assert toy.__file__.startswith(sys.argv[1]); print(json.dumps(toy.answer('you')))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, *map(str, paths)], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


@pytest.fixture(scope="module", autouse=True)
def index(tmp_path_factory):
    """Yield a folder of wheels, all that pip knows."""
    folder = tmp_path_factory.mktemp("wheels")
    library = elf.strip(EXTENSION.read_bytes()) + SYMBOLS
    wheel(folder, "toy", {**TOY, LIBRARY: library}, "helper")
    wheel(folder, "helper", HELPER)
    wheel(folder, "spare", SPARE)
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("PIP_")]:
            patch.delenv(name)
        patch.setenv("PIP_NO_INDEX", "1")
        patch.setenv("PIP_FIND_LINKS", str(folder))
        patch.setenv("PIP_CONFIG_FILE", os.devnull)
        yield folder


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Return the toy layer, built for the first time, from nothing but its recipe."""
    folder = tmp_path_factory.mktemp("toy")
    return run(written(folder / "recipes"), folder / "out", folder / "work")


@pytest.fixture
def copy(built, tmp_path):
    """Return the recipe with its records, and the layer, to be changed."""
    shutil.copytree(built.recipe.parent, tmp_path / "recipes")
    shutil.copytree(built.out, tmp_path / "out")
    return replace(built, recipe=tmp_path / "recipes" / "toy.toml", out=tmp_path / "out")


class TestFirst:
    """A build from nothing but a recipe."""

    def test_there(self, built):
        """The folder has the layer, its reports, and what the next build compares with; nothing else."""
        assert sorted(path.name for path in built.out.iterdir()) == [
            "build.json",
            "layer",
            "report.html",
            "report.json",
            "sbom.cdx.json",
        ]
        assert report.read(built.out / "report.json") == built.report
        assert "toy" in (built.out / "report.html").read_text()

    def test_layer(self, built):
        """The layer has what the prediction needs, compiled, a licence, a marker, and what a start reads."""
        python = built.layer / "python"
        compiled = [f"{name}c" if name.endswith(".py") else name for name in KEPT]
        assert sorted(contents(built.layer)) == sorted(
            f"python/{name}" for name in (*compiled, "layer_target.json", "layer_start.toy.txt")
        )
        opened = [
            name for name in compiled if (python / name).stat().st_size and not name.endswith("LICENSE")
        ]
        assert set((python / "layer_start.toy.txt").read_text().splitlines()) == {
            f"0+{(python / name).stat().st_size} {name}" for name in opened
        }
        assert json.loads((python / "layer_target.json").read_text()) == {
            "recipe": "toy",
            "engine": "toy",
            "runtime": get_target(HOST).runtime,
            "architecture": get_target(HOST).architecture,
            "libraries": {"helper": "1.0", "spare": "1.0", "toy": "1.0"},
            "starts": ["layer_start.toy.txt"],
        }
        assert answered(python) == ANSWER

    def test_sums(self, built):
        """Each rule counts its own files; with what is kept they are all that was installed."""
        records = ("RECORD", "INSTALLER", "REQUESTED", "WHEEL", "direct_url.json")
        rules = {
            "headers": {"toy/include/toy.h"},
            "tests": {"toy/tests/test_toy.py"},
            "types": {"toy/py.typed"},
            "guides": {"toy/docs/guide.txt"},
            "installer's records": {name for name in built.installed if name.endswith(records)},
        }
        rules["unused"] = set(built.installed).difference(KEPT, *rules.values())
        found = defaultdict(lambda: (0, 0))
        for one in built.report.removed:
            files, size = found[one.step_or_rule]
            found[one.step_or_rule] = (files + one.files, size + one.bytes)

        assert {"toy/extra.py", "toy/data/other.txt", "spare/__init__.py"} < rules["unused"]
        assert dict(found) == {
            rule: (len(names), sum(built.installed[name] for name in names)) for rule, names in rules.items()
        }
        kept = {file.path.removesuffix("c"): file.bytes for file in built.report.files}
        before, after = built.installed[LIBRARY], built.installed[LIBRARY] - len(SYMBOLS)
        assert kept[LIBRARY] == after
        assert built.report.stripped == report.Stripped(1, before, after, ())
        sources = {name: built.installed[name] if name.endswith(".py") else kept[name] for name in KEPT}
        taken = sum(size for _, size in found.values()) + before - after
        assert sum(built.installed.values()) == sum(sources.values()) + taken

    def test_cut(self, copy):
        """What the recipe's patches remove is in the sums, too."""
        patch = (
            'name = "x"\nreason = "x"\nupstream = "x"\nstage = "slim"\npath = "toy/extra.py"\nremove = true\n'
        )
        copy.recipe.write_text(f"{RECIPE}[[patches]]\n{patch}")
        done = run(copy.recipe, copy.out, copy.work)

        (row,) = (one for one in done.report.removed if one.step_or_rule == "patches")
        assert (row.package, row.files, row.bytes) == ("toy", 1, done.installed["toy/extra.py"])

    def test_budget(self, built):
        """What is reported as in the layer is what lies there, to the byte."""
        there = {name.removeprefix("python/"): len(data) for name, data in contents(built.layer).items()}
        assert {file.path: file.bytes for file in built.report.files} == there
        assert built.report.budget.layer == sum(there.values())
        assert built.report.layer_sha256 == folder_sha256(built.layer)

    def test_records(self, built, index):
        """Beside the recipe stand the wheels' hashes, the files that are needed, and what was answered."""
        hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in index.iterdir()}
        header, *lines = built.record("wheels.lock").read_text().splitlines()
        assert header.startswith("# requirements ")
        assert lines[:2] == ["# keeps docstrings of:", "# keeps sources of:"]
        assert lines[2:] == [
            f"{name}==1.0 --hash=sha256:{hashes[file]}  # {file}"
            for name in ("helper", "spare", "toy")
            if (file := f"{name}-1.0-py3-none-any.whl")
        ]
        needed = [name for name in KEPT if not name.endswith("LICENSE")]
        traced = built.record("files.trace").read_text().splitlines()[1:]
        assert sorted(traced) == sorted([*needed, "# not imported by the prediction"])
        recorded = json.loads(built.record("proof.json").read_text())
        assert (recorded["digest"], recorded["answer"]) == (built.report.digest, ANSWER)
        assert built.report.proven

    @pytest.mark.check
    def test_elsewhere(self, built, tmp_path):
        """The same recipe gives the same records and the same tree elsewhere, from nothing again."""
        again = run(written(tmp_path / "recipes"), tmp_path / "out", tmp_path / "work")

        for suffix in ("wheels.lock", "files.trace", "proof.json"):
            assert again.record(suffix).read_bytes() == built.record(suffix).read_bytes()
        assert again.report.digest == built.report.digest
        assert again.pips() == built.pips() == ["install", "download", "install"]


class TestAgain:
    """A build where a layer is already."""

    def test_nothing_changed(self, built):
        """From the same, nothing is done: pip does not run, and the same report is returned."""
        before = contents(built.out)
        again = run(built.recipe, built.out, built.work)

        assert again.said == ("nothing has changed since this layer was built",)
        assert again.report == built.report
        assert again.pips() == []
        assert contents(built.out) == before

    @pytest.mark.parametrize(
        "name",
        ["recipes/toy.toml", "recipes/toy/smoke.py", "files.trace", "proof.json", "hot.json", "start.json",
         "out/layer/python/toy/words.pyc", "out/layer/python/new.py", "out/report.json", "out/build.json"],
    )  # fmt: skip
    def test_changed(self, built, name):
        """Whatever the layer is made from, and whatever is in it, is looked at before it is kept."""
        path = built.record(name) if "/" not in name else built.recipe.parents[1] / name
        before = path.read_bytes() if path.exists() else None
        locked = lock.read(built.job.recipe, built.job.target)
        try:
            path.write_bytes((before or b"") + b"#\n")
            assert build.find_reusable(built.job, locked) is None
        finally:
            path.write_bytes(before) if before is not None else path.unlink()
        assert build.find_reusable(built.job, locked) == built.report

    @pytest.mark.parametrize("name", ["slim/strip.py", "slim/rules.toml", "report/style.css"])
    def test_builder_changed(self, built, name, tmp_path, monkeypatch):
        """Another builder makes another layer, also by other common rules alone."""
        shutil.copytree(ROOT / "layer" / "builder", tmp_path, dirs_exist_ok=True)
        monkeypatch.setattr(build, "__file__", str(tmp_path / "build.py"))
        locked = lock.read(built.job.recipe, built.job.target)
        before = build.digest_inputs(built.job, locked)

        assert build.digest_inputs(built.job, locked) == before
        with (tmp_path / name).open("a") as file:
            file.write("\n")
        assert build.digest_inputs(built.job, locked) != before

    def test_damaged(self, copy):
        """A layer that was changed is made anew, of the wheels and the trace that are there."""
        damaged = copy.layer / "python" / "toy" / "data" / "words.txt"
        damaged.write_text("four")
        again = run(copy.recipe, copy.out, copy.work)

        assert damaged.read_text() == TOY["toy/data/words.txt"]
        assert (again.report.digest, again.report.proven) == (copy.report.digest, True)
        assert again.report.trace.source == "recorded with the same wheels"
        assert again.pips() == ["install"]

    def test_other_processor(self, copy):
        """A recorded answer stays byte for byte: another processor's differs a little."""
        script = copy.recipe.with_suffix("") / "smoke.py"
        answer = "return toy.answer(word, more)"
        script.write_text(SMOKE.replace(answer, f'{answer} | {{"score": 0.125}}'))
        run(copy.recipe, copy.out, copy.work)
        record = copy.record("proof.json")
        elsewhere = record.read_text().replace('"score": 0.125', '"score": 0.12500001')
        assert elsewhere != record.read_text()
        record.write_text(elsewhere)

        assert run(copy.recipe, copy.out, copy.work).report.proven
        assert record.read_text() == elsewhere

    @pytest.mark.check
    def test_stale_trace(self, copy):
        """A prediction that needs more than was recorded is traced anew."""
        assert "toy/extra.py" not in copy.record("files.trace").read_text().splitlines()
        copy.recipe.write_text(
            RECIPE.replace('arguments.word = "you"', 'arguments = { word = "you", more = ["toy.extra"] }')
        )
        again = run(copy.recipe, copy.out, copy.work)

        assert [
            line for line in again.said if "No module named 'toy.extra'" in line and "tracing anew" in line
        ]
        assert "toy/extra.py" in copy.record("files.trace").read_text().splitlines()
        assert (copy.layer / "python" / "toy" / "extra.pyc").is_file()
        assert again.report.proven

    @pytest.mark.check
    def test_interpreter_arrived(self, copy, monkeypatch):
        """An unproven layer is built again, and proven, once there is a Python that runs it."""
        copy.record("proof.json").unlink()
        with monkeypatch.context() as without:
            without.setattr(interpreter, "find", lambda *_: None)
            assert not run(copy.recipe, copy.out, copy.work, allow_unproven=True).report.proven

        assert run(copy.recipe, copy.out, copy.work).report.proven

    @pytest.mark.parametrize("name", ["report.html", "sbom.cdx.json"])
    def test_page_lost(self, built, name):
        """A report that was deleted is written again, and what is there stays."""
        before = contents(built.out)
        (built.out / name).unlink()
        kept = {path: path.stat().st_mtime_ns for path in built.out.glob("*.*")}

        assert "nothing has changed" in run(built.recipe, built.out, built.work).said[-1]
        assert contents(built.out).keys() == before.keys()
        assert {path: path.stat().st_mtime_ns for path in kept} == kept

    def test_foreign(self, built, tmp_path, capsys):
        """A folder that some other program made is not replaced."""
        (tmp_path / "layer").mkdir()
        (tmp_path / "layer" / "precious.py").write_text("x")

        assert main(["build", str(built.recipe), "--out", str(tmp_path)]) == 2
        assert f"{tmp_path / 'layer'} exists, and the builder did not make it" in capsys.readouterr().err
        assert contents(tmp_path) == {"layer/precious.py": b"x"}


def rule(glob):
    """Return a recipe's rule that takes something out."""
    return f'[[rules]]\nname = "mistake"\nreason = "it looked unneeded"\nglobs = ["{glob}"]\n'


def cut(path, old, new):
    """Return a recipe's patch."""
    return (
        '[[patches]]\nname = "mistake"\nreason = "it looked harmless"\nupstream = "none"\nstage = "slim"\n'
        f"path = '{path}'\nold = '{old}'\nnew = '{new}'\n"
    )


class TestProof:
    """The proof itself: whoever takes out too much is told what."""

    @pytest.mark.sample(2)
    @pytest.mark.parametrize(
        ("mistake", "message"),
        [
            pytest.param(rule("toy/words.py"), "No module named 'toy.words'", id="module"),
            pytest.param(rule("**/words.txt"), "toy/data/words.txt'", id="data"),
            pytest.param(rule("toy/*.so"), "No module named 'toy._regex'", id="library"),
            pytest.param(cut("toy/words.py", "def count", "def _count"), "has no attribute 'count'",
                         id="function"),
            pytest.param(cut(LIBRARY, "PyInit__regex", "PyInit__regez"), "PyInit__regex", id="symbol"),
            pytest.param(cut("toy/__init__.py", '"hello"', '"hi"'),
                         "differently from the full one:\n  answer.greeting: hi you, not hello you",
                         id="constant"),
            pytest.param(cut("toy/__init__.py", '"hello"', '__import__("os").urandom(8).hex()'),
                         "is another one at each run: seed what is random", id="chance"),
        ],
    )  # fmt: skip
    def test_mistake(self, copy, mistake, message):
        """A recipe that breaks the toy gives an error that names the loss, and leaves the former layer."""
        copy.recipe.write_text(RECIPE + mistake)
        before, proven = contents(copy.out), copy.record("proof.json").read_bytes()

        with pytest.raises(LayerError) as told:
            run(copy.recipe, copy.out, copy.work, retrace=True)
        assert message in str(told.value)
        assert contents(copy.out) == before
        assert not list(copy.out.glob(".build-*"))
        assert copy.record("proof.json").read_bytes() == proven

    @pytest.mark.parametrize(
        ("recorded", "options", "found"), [(False, {}, 1), (True, {}, 0), (True, {"retrace": True}, 1)]
    )
    def test_hot_pages(self, copy, monkeypatch, recorded, options, found):
        """Which pages of split libraries are hot is found out once, and again when all is traced anew."""
        calls = []
        monkeypatch.setattr(Splitter, "read_hot", lambda _: recorded)
        monkeypatch.setattr(Splitter, "find_hot", lambda *arguments: calls.append(arguments))
        shutil.rmtree(copy.out)
        assert run(copy.recipe, copy.out, copy.work, **options).report.proven
        assert len(calls) == found

    @pytest.mark.parametrize(
        ("errors", "whole"),
        [
            ({"late": "ends with -11"}, True),
            ({"late": "ImportError"}, False),
            ({"known": "ends with -6"}, False),
        ],
    )
    def test_a_signal_that_splitting_brings(self, errors, whole, monkeypatch):
        """Where an import ends by a signal that the full tree does not have, libraries stay whole."""
        steps, splitter = Steps.__new__(Steps), Mock(sources={"a.so": Path("a.so")})
        reference = Outcome("1", frozenset(), ("known",), {"known": ("ends with -6",)})
        split = Outcome("1", frozenset(), (), {name: (error,) for name, error in errors.items()})
        monkeypatch.setattr(steps, "_predict_slim", Mock(return_value=split))
        steps.say = Mock()

        steps._predict_split(None, splitter, reference)

        assert splitter.undo.called == steps.say.called == whole

    @pytest.mark.parametrize(("recorded", "error"), [(True, StaleTraceError), (False, SmokeError)])
    def test_a_prediction_that_fails_on_what_is_left(self, tmp_path, monkeypatch, recorded, error):
        """A recorded trace is out of date; one that was just made is the recipe's fault."""
        steps = Steps.__new__(Steps)
        steps.modules, steps.installed, steps.missed, steps.tree = ["toy"], [], [], tmp_path
        steps.readers = []
        steps.recipe = Mock(rules=[])
        monkeypatch.setattr(steps, "_predict", Mock(side_effect=SmokeError("no toy")))
        with pytest.raises(error, match="no toy"):
            steps._predict_slim(Usage([], "", recorded=recorded))

    @pytest.mark.check
    def test_no_trace_helps(self, copy):
        """What a rule took out is missed with a recorded trace as well, after tracing anew."""
        copy.recipe.write_text(RECIPE + rule("toy/words.py"))
        before = contents(copy.out)

        with pytest.raises(SmokeError, match=r"No module named 'toy\.words'"):
            run(copy.recipe, copy.out, copy.work)
        assert contents(copy.out) == before

    def test_changed_before(self, copy):
        """An answer that a fix changed on both trees is proven; a fix is not a mistake."""
        fix = cut("toy/__init__.py", '"hello"', '"hi"').replace('"slim"', '"fix"')
        copy.recipe.write_text(RECIPE + fix)
        done = run(copy.recipe, copy.out, copy.work)

        assert done.report.proven
        assert json.loads(copy.record("proof.json").read_text())["answer"]["greeting"] == "hi you"

    @pytest.mark.check
    @pytest.mark.skipif(not Path("/proc/self/pagemap").exists(), reason="this system does not tell")
    def test_large_file(self, tmp_path, monkeypatch):
        """Of a large file the layer's list has the pages that were touched when it was traced."""
        folder = tmp_path / "wheels"
        folder.mkdir()
        wheel(folder, "wide", {"wide/__init__.py": "", "wide/large.bin": bytes(8 << 20)})
        monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
        recipe = tmp_path / "wide.toml"
        recipe.write_text(
            'name = "wide"\nengine = "wide"\nrequirements = ["wide==1.0"]\n'
            '[smoke]\nscript = "wide.py"\narguments.page = 1000\n'
        )
        script = """
import mmap, pathlib
def answer(page):
    import wide
    with open(pathlib.Path(wide.__file__).parent / "large.bin", "rb") as file:
        wide.mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return wide.mapped[page * 4096]
"""
        (tmp_path / "wide.py").write_text(script)

        def list_pages(**options):
            done = run(recipe, tmp_path / "out", tmp_path / "work", **options)
            lines = (done.layer / "python" / "layer_start.wide.txt").read_text().splitlines()
            (pages,) = (line.split(" ")[0] for line in lines if line.endswith(" wide/large.bin"))
            first, length = map(int, pages.split("+"))
            assert length <= 16 * 4096
            return first // 4096, (first + length) // 4096

        first, last = list_pages()
        assert first <= 1000 < last
        recipe.write_text(recipe.read_text().replace("1000", "500"))
        assert list_pages() == (first, last)
        first, last = list_pages(retrace=True)
        assert first <= 500 < last

    @pytest.mark.check
    @pytest.mark.skipif(not shutil.which("cc"), reason="it takes a C compiler to link two libraries")
    def test_linked(self, tmp_path, monkeypatch):
        """Where nothing can run, a library that is gone is missed by those that are linked to it."""
        (tmp_path / "dep.c").write_text("int dep(void) { return 1; }")
        (tmp_path / "user.c").write_text("int dep(void); int user(void) { return dep(); }")
        for name, libraries in (("dep", []), ("user", ["-L.", "-ldep"])):
            subprocess.run(
                [shutil.which("cc"), "-shared", "-fPIC", "-o", f"lib{name}.so", f"{name}.c", *libraries],
                cwd=tmp_path, check=True,
            )  # fmt: skip
        folder = tmp_path / "wheels"
        folder.mkdir()
        files = {f"pair/lib{name}.so": (tmp_path / f"lib{name}.so").read_bytes() for name in ("dep", "user")}
        wheel(folder, "pair", files)
        monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
        recipe = tmp_path / "pair.toml"
        recipe.write_text('name = "pair"\nrequirements = ["pair==1.0"]\n')
        whole = run(recipe, tmp_path / "out", tmp_path / "work", allow_unproven=True)
        assert set(contents(whole.layer)) == {
            f"python/{name}" for name in (*files, "pair-1.0.dist-info/METADATA")
        }
        before = contents(whole.out)

        recipe.write_text(recipe.read_text() + rule("**/libdep.so"))
        with pytest.raises(LayerError, match=r"pair/libuser\.so is linked to libdep\.so, which neither"):
            run(recipe, tmp_path / "out", tmp_path / "work", allow_unproven=True)
        assert contents(whole.out) == before


class TestElsewhere:
    """A machine that cannot run the target."""

    @pytest.fixture(autouse=True)
    def _no_python(self, monkeypatch):
        def fail(*_):
            raise InterpreterError("apt-get install qemu")

        monkeypatch.setattr(interpreter, "find", lambda *_: None)
        monkeypatch.setattr(interpreter, "fetch", fail)

    def test_recorded(self, copy):
        """The same tree is proven by the record, without a prediction."""
        done = run(copy.recipe, copy.out, copy.work)

        assert not [line for line in done.said if "predicting" in line]
        record = recorded(copy)
        how = f"a recorded proof has the same digest ({record.interpreter}, {record.terms})"
        assert done.report.proof == report.Proof("proven", how)
        assert done.report.digest == copy.report.digest

    def test_other_digest(self, copy):
        """Another tree than the recorded one is refused; if it is allowed, the report says so aloud."""
        copy.recipe.write_text(RECIPE + cut("toy/__init__.py", '"hello"', '"hi"'))
        before = contents(copy.out)
        with pytest.raises(
            BuildError, match=r"no recorded proof has .* ALLOW_UNPROVEN=1 .* apt-get install qemu$"
        ):
            run(copy.recipe, copy.out, copy.work)
        assert contents(copy.out) == before

        done = run(copy.recipe, copy.out, copy.work, allow_unproven=True)

        assert done.report.digest != recorded(copy).digest
        assert done.report.proof == report.Proof(
            "unproven", "no Python here runs host, and no recorded proof has this layer's digest"
        )
        assert f"WARNING: unproven: {done.report.proof.how}" in done.said
        assert "UNPROVEN" in format_table(done.report)
        assert "UNPROVEN" in (copy.out / "report.html").read_text()
        assert "nothing has changed" in run(copy.recipe, copy.out, copy.work, allow_unproven=True).said[-1]
        with pytest.raises(BuildError, match="unproven"):
            run(copy.recipe, copy.out, copy.work)

    def test_other_prediction(self, copy):
        """A function that has changed is a warning: it may import what was taken out of proven packages."""
        script = copy.recipe.with_suffix("") / "smoke.py"
        script.write_text(script.read_text() + "# changed\n")
        done = run(copy.recipe, copy.out, copy.work)

        assert done.report.digest == recorded(copy).digest
        how = "no Python here runs host, and the packages are proven with other code of the function alone"
        assert done.report.proof == report.Proof("stale", how)
        assert [line for line in done.said if line.startswith(f"WARNING: stale: {how}")]
        assert f"STALE: {how}"[:40] in format_table(done.report)
        assert "nothing has changed" in run(copy.recipe, copy.out, copy.work).said[-1]

    def test_copied_recipe(self, copy):
        """A recipe that begins as a copy of a proven one has its packages, and no proof of its own yet."""
        beside = copy.recipe.with_name("other.toml")
        shutil.copy2(copy.recipe, beside)
        shutil.copytree(copy.recipe.with_suffix(""), beside.with_suffix(""))
        beside.with_suffix("").joinpath(get_target(HOST).record, "proof.json").unlink()

        assert run(beside, copy.out, copy.work).report.proof.status == "stale"

    def test_fetched(self, copy, monkeypatch):
        """An interpreter that can be had is fetched unasked, and what it runs is proven."""
        copy.record("files.trace").unlink()
        copy.record("proof.json").unlink()
        found = []
        host = interpreter.Interpreter((sys.executable,), {}, "fetched", emulated=False)
        monkeypatch.setattr(interpreter, "find", lambda *_: host if found else None)
        monkeypatch.setattr(interpreter, "fetch", lambda *_: found.append(True))

        assert run(copy.recipe, copy.out, copy.work).report.proven

    def test_no_prediction(self, copy):
        """A recipe without a prediction says what it needs."""
        copy.recipe.write_text(RECIPE.partition("[smoke]")[0])
        with pytest.raises(BuildError, match=r"add a \[smoke\] to the recipe: see docs/layers\.md"):
            run(copy.recipe, copy.out, copy.work)

    def test_publish(self, built, tmp_path, monkeypatch):
        """A layer for Lambda that nobody has run is not published, unless that is asked for."""

        def fail(*_):
            raise InterpreterError("no mirror")

        monkeypatch.setattr(interpreter, "find_compiler", lambda *_: None)
        monkeypatch.setattr(interpreter, "fetch_compiler", fail)
        target = get_target(f"python3.13-{get_target(HOST).architecture}")
        recipe = load(str(written(tmp_path / "recipes")))
        said = []
        job = build.Job(recipe, target, tmp_path / "out", work=built.work, allow_unproven=True)
        done = build.build(job, said.append)

        why = f"no Python here runs {target.name}"
        assert f"WARNING: unproven: {why}, and no trace of these wheels is recorded" in said
        assert [line for line in said if line.startswith("WARNING: not byte-compiled")]
        assert (done.proof.status, done.trace.source) == (
            "unproven",
            f"none: {why}; rules alone",
        )
        with pytest.raises(PublishError, match="this layer is unproven"):
            read_publishable(tmp_path / "out", allow_unproven=False)
        assert read_publishable(tmp_path / "out", allow_unproven=True) == done


def recorded(one):
    """Return a layer's recorded proof."""
    return proof.read(one.job.recipe, one.job.target)


class TestStrategy:
    """As files, or as an archive."""

    def test_nested(self, tmp_path):
        """An archive has the whole tree: unpacked, beside the layer that it is deployed with, it answers."""
        base = tmp_path / "recipes" / "base.toml"
        text = RECIPE.replace('"helper==1.0", "spare==1.0"]', ']\nexclude = ["helper"]')
        recipe = written(base.parent, f'base_layer = "{base}"\nstrategy = "nested"\n{text}')
        base.write_text('name = "base"\nrequirements = ["helper==1.0"]\n')
        done = run(recipe, tmp_path / "out", tmp_path / "work", allow_unproven=True)
        assert "the recipe asks for it" in done.report.reason
        beside = tmp_path / "work" / "base-host" / "layer" / "python"

        assert done.report.strategy == "nested"
        assert set(contents(done.layer)) == {
            "python/layer.tar.zst",
            "python/layer_target.json",
            "python/unzip_requirements.py",
        }
        marker = json.loads((done.layer / "python" / "layer_target.json").read_text())
        found = _unpack.unpack(
            done.layer / "python" / marker["archive"]["file"], marker["archive"]["index"], temporary=tmp_path
        )
        packed = {file.path: file.bytes for file in done.report.files if file.place == "archive"}
        assert {name: len(data) for name, data in contents(found.folder).items()} == packed
        assert set(packed) == {f"{name}c" if name.endswith(".py") else name for name in KEPT[1:]}
        assert (
            sum(packed.values())
            == found.bytes
            == marker["archive"]["bytes"]
            == done.report.archive.tree_bytes
        )
        assert done.report.budget.function == tree.size(beside)
        assert answered(found.folder, beside) == ANSWER

    def test_direct_too_big(self, copy, monkeypatch):
        """What does not fit as it is, and was asked for so, is an error with advice, and no layer."""
        monkeypatch.setattr(plan, "LIMIT", 1000)
        before = contents(copy.out)

        with pytest.raises(
            PlanError, match=r"of the 1,000 Lambda takes: it does not fit directly, as --strategy asks"
        ):
            run(copy.recipe, copy.out, copy.work, strategy="direct")
        assert contents(copy.out) == before

    def test_too_big_alone(self):
        """What only fits packed takes a layer beside it that can unpack; the error says how to name one."""
        assert plan.decide(plan.LIMIT, 1, nestable=True).strategy == "nested"
        with pytest.raises(PlanError, match=r'no layer beside this one.*\(base_layer = "inference"\)'):
            plan.decide(plan.LIMIT, 1, nestable=False)
        assert plan.decide(plan.LIMIT - 1, 1, nestable=False).strategy == "direct"


class TestTogether:
    """Builders that meet, and builders that are killed."""

    @staticmethod
    def start(one):
        """Start a builder in a process of its own."""
        arguments = [sys.executable, "-c", BUILDER, *map(str, (one.recipe, one.out, one.work))]
        return subprocess.Popen(
            arguments, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True
        )

    def test_at_once(self, copy, tmp_path):
        """Of two builders of one folder one builds, the other one waits, and finds nothing to do."""
        one = replace(copy, out=tmp_path / "new")
        builders = [self.start(one), self.start(one)]
        said = [builder.communicate()[0] for builder in builders]

        assert [builder.returncode for builder in builders] == [0, 0]
        assert sorted("nothing has changed" in text for text in said) == [False, True]
        assert answered(one.layer / "python") == ANSWER
        assert folder_sha256(one.layer) == report.read(one.out / "report.json").layer_sha256

    @pytest.mark.check
    def test_killed(self, copy):
        """A builder that is killed leaves the former layer, and nothing that hinders the next one."""
        copy.recipe.write_text(RECIPE + "# changed\n")
        hold = copy.recipe.with_suffix("") / "hold"
        hold.touch()
        before = contents(copy.layer)
        builder = self.start(copy)
        try:
            reached = any("predicting with the bytecode" in line for line in builder.stdout)
        finally:
            os.killpg(builder.pid, signal.SIGKILL)
            builder.communicate()
        assert reached
        assert builder.returncode == -signal.SIGKILL
        assert contents(copy.layer) == before
        assert report.read(copy.out / "report.json") == copy.report

        hold.unlink()
        done = run(copy.recipe, copy.out, copy.work)
        assert (done.report.digest, done.report.proven) == (copy.report.digest, True)
        assert build.find_reusable(done.job, lock.read(done.job.recipe, done.job.target)) == done.report
        assert not list(copy.out.glob(".build-*"))


class TestCommand:
    """``python -m layer build``."""

    def test_dry_run(self, built, tmp_path, capsys):
        """The plan is printed with every wheel and rule, and nothing is written."""
        before = contents(built.recipe.parent)
        out = tmp_path / "out"
        assert main(["build", str(built.recipe), "--out", str(out), "--dry-run"]) == 0

        said = capsys.readouterr().out
        for text in (f"locked in {built.record('wheels.lock').name}", "    helper-1.0-py3-none-any.whl",
                     "take out: guides, nobody reads them there", "take out: headers",
                     "trace and prove with CPython", "byte-compile with CPython",
                     f"write {out / 'layer'}, strategy auto"):  # fmt: skip
            assert text in said
        assert contents(built.recipe.parent) == before
        assert not out.exists()

    def test_dry_run_first(self, tmp_path, capsys):
        """Without a lock the plan names the wheels that pip finds, and locks none."""
        recipe = written(tmp_path / "recipes")
        assert main(["build", str(recipe), "--out", str(tmp_path / "out"), "--dry-run"]) == 0

        assert "    spare-1.0-py3-none-any.whl" in capsys.readouterr().out
        assert sorted(contents(tmp_path)) == ["recipes/toy.toml", "recipes/toy/smoke.py"]

    def test_help(self, capsys):
        """The help names every option, and an example."""
        with pytest.raises(SystemExit) as ended:
            main(["build", "--help"])
        assert ended.value.code == 0
        said = capsys.readouterr().out
        for text in ("RECIPE", "--target", "--out", "--strategy {auto,direct,nested}", "--trace", "--dry-run",
                     "example: python -m layer build opennmt"):  # fmt: skip
            assert text in said

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["nothing"], f"known recipes: {', '.join(KNOWN)}"),
            (["opennmt", "--target", "arm64"], "unknown target 'arm64'; write host, or runtime-architecture"),
            (["opennmt", "--target", "python3.14-arm64", "--dry-run"],
             f"no target python3.14-arm64; it has {', '.join(load('opennmt').targets)}"),
        ],
    )  # fmt: skip
    def test_unknown(self, arguments, message, capsys):
        """A name that nobody knows is told in one line, with those that there are."""
        assert main(["build", *arguments]) == 2
        said = capsys.readouterr().err
        assert message in said
        assert len(said.splitlines()) == 1
