"""The smoke prediction, on toy trees: what it is given, what it may not do, and what it tells."""

import builtins
import io
import json
import os
import shutil
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import msgspec
import pytest
from support.toy import HERE, Toy

from layer.builder import tree as trees
from layer.builder.errors import SmokeError
from layer.builder.pack import interpreter, start
from layer.builder.recipe import parse
from layer.builder.slim.elf import is_elf
from layer.builder.target import get_target
from layer.builder.verify import smoke as smokes
from layer.builder.verify import smoke_runner
from layer.builder.verify.inputs import count_code_bytes, list_code_files, prepare
from layer.builder.verify.prediction import Prediction


@pytest.fixture
def toy(tmp_path):
    """Return a toy layer."""
    return Toy(tmp_path)


class TestOutcome:
    """What a prediction answers and opens."""

    def test_answer(self, toy):
        """The answer is canonical JSON of what the script returns for its arguments."""
        done = toy.run("return {'b': arguments['x'], 'a': [1.5, None]}", arguments={"x": "é"})

        assert json.loads(done.answer) == {"a": [1.5, None], "b": "é"}
        assert done.answer.index('"a"') < done.answer.index('"b"')
        assert done.answer != toy.run("return 2").answer

    def test_an_answer_that_is_not_json(self, toy):
        """It is refused by what it is, with what to return in its place."""
        with pytest.raises(SmokeError, match=r"(?s)type object is not JSON serializable.*array.tolist\(\)"):
            toy.run("return object()")

    def test_opened(self, toy):
        """What was imported or read is told, and nothing else, nor what lies outside the layer."""
        beside = toy.write("beside/other/__init__.py", "").parents[1]

        done = toy.run(
            "import other\nopen(__file__).close()\nreturn (pkg.HERE / 'data.json').read_text()", beside
        )

        assert done.answer == '"[1]"'
        assert done.opened == {"pkg/__init__.py", "pkg/data.json"}

    def test_imported(self, toy):
        """Modules that the prediction imports are told from what it reads, and from further imports."""
        toy.write("tree/read.py", "")
        toy.write("tree/later.py", "")
        prediction = toy.smoke("open(pkg.HERE.parent / 'read.py').close()")
        done = smokes.run(prediction, [toy.tree], HERE, toy.folder / "prepared", ["later"])

        assert done.opened == {"pkg/__init__.py", "read.py", "later.py"}
        assert done.imported == {"pkg/__init__.py"}

    def test_mapped(self, toy):
        """A shared library counts, although no Python opened it."""
        core = Path(find_spec("msgspec._core").origin)
        if not is_elf(core):
            pytest.skip("no ELF on this system")
        shutil.copy(core, toy.tree / "lib.so")

        done = toy.run("import ctypes\nctypes.CDLL(str(pkg.HERE.parent / 'lib.so'))\nreturn 1")

        assert "lib.so" in done.opened

    def test_present(self, toy):
        """It is told which pages of a mapped file were touched; an import later on adds none."""
        if not Path("/proc/self/pagemap").exists():
            pytest.skip("this system does not tell")
        for name in ("large.bin", "late.bin"):
            (toy.tree / name).write_bytes(bytes(8 << 20))
        start.cache_by_page(toy.tree)
        mapped = """
import mmap, pathlib
file = open(pathlib.Path(pkg.__file__).parent.parent / "NAME.bin", "rb")
mapped = pkg.NAME = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
"""
        toy.write("tree/pkg/late.py", "import pkg" + mapped.replace("NAME", "late") + "mapped[5 << 20]\n")
        asked = toy.smoke(mapped.replace("NAME", "large") + "return mapped[5 << 20]")
        found = smokes.run(asked, [toy.tree], HERE, toy.folder / "prepared", ["pkg.late"])

        assert found.errors == {}
        assert (5 << 20) // 4096 in found.present["large.bin"]
        assert len(found.present["large.bin"]) <= 16  # what the kernel maps around a page
        assert "late.bin" not in found.present
        assert "late.bin" in found.opened

    def test_read(self, toy):
        """What is read and not mapped counts whole."""
        if not Path("/proc/self/pagemap").exists():
            pytest.skip("this system does not tell")
        done = toy.run("return (pkg.HERE / 'data.json').read_text()")
        assert done.present["pkg/data.json"] == [0]

    @pytest.mark.parametrize("failure", ["no pagemap", "another machine's addresses"])
    def test_pages_that_nobody_can_tell(self, monkeypatch, failure):
        """Nothing is known then, which is something else than that nothing was read."""
        original = open

        def open_other(path, *arguments, **options):
            if path == "/proc/self/pagemap":
                if failure == "no pagemap":
                    raise PermissionError
                return io.BytesIO()
            return original(path, *arguments, **options)

        monkeypatch.setattr(builtins, "open", open_other)
        library = str(Path(msgspec._core.__file__).resolve().parent)
        assert smoke_runner.list_present_pages(library + os.sep, set()) is None

    def test_prepared(self, toy):
        """Who has something prepared is told where; who has not is given no such argument."""
        script = toy.write("make.py", "")

        assert json.loads(toy.run("return arguments", prepare=script).answer) == {
            "prepared": str(toy.folder / "prepared")
        }
        assert toy.run("return arguments").answer == "{}"

    def test_code(self, toy):
        """Code is imported from folders, or as a package, whose neighbours are out of reach."""
        toy.write("app/handler.py", "import pkg")
        toy.write("lib/package/__init__.py", "x = 5")
        toy.write("lib/neighbour.py", "")
        code = (toy.folder / "app", toy.folder / "lib" / "package")

        assert toy.run("import handler, package\nreturn package.x", code=code).answer == "5"
        with pytest.raises(SmokeError, match="No module named 'neighbour'"):
            toy.run("import neighbour", code=code)


class TestAlone:
    """What a prediction has of this machine: nothing."""

    def test_environment(self, toy, monkeypatch):
        """No setting and no secret of whoever builds reaches it; what the interpreter needs does."""
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        monkeypatch.setenv("PYTHONPATH", str(toy.write("path/x.py", "").parent))

        done = toy.run("return [dict(os.environ), sys.path, os.path.expanduser('~'), os.getcwd()]")

        environment, path, home, work = json.loads(done.answer)
        assert not {"AWS_SECRET_ACCESS_KEY", "PYTHONPATH"} & environment.keys()
        assert (environment["GIVEN"], environment["OMP_NUM_THREADS"]) == ("yes", "1")
        assert not any("site-packages" in one or str(toy.folder / "path") == one for one in path)
        assert home == work != str(Path.home())
        assert not Path(home).exists()

    @pytest.mark.parametrize(
        ("body", "cause"),
        [
            ("import absent", "ModuleNotFoundError: No module named 'absent'"),
            ("import pytest", "ModuleNotFoundError: No module named 'pytest'"),
            ("open(pkg.HERE / 'gone.json')", r"FileNotFoundError: .*/pkg/gone\.json'"),
            ("try:\n    import absent\nexcept ImportError:\n    raise ValueError('later')",
             "ModuleNotFoundError: No module named 'absent'"),
            ("os.abort()", "the prediction was ended by signal 6; "),
        ],
    )  # fmt: skip
    def test_refused(self, body, cause, toy):
        """What is missing, or done that Lambda does not allow, is told as the cause."""
        with pytest.raises(SmokeError) as failure:
            toy.run(body)

        failure.match(cause)
        assert failure.value.cause in str(failure.value)
        if "Error" in cause:
            assert failure.value.cause.startswith(cause.partition(":")[0])

    def test_strangers(self, toy):
        """A module that comes from outside the layer is told with its file."""
        path = toy.write("elsewhere/stranger.py", "")

        with pytest.raises(SmokeError, match=rf"modules came from outside the layer: {path}"):
            toy.run(f"sys.path.append({str(path.parent)!r})\nimport stranger")

    @pytest.mark.parametrize(
        "write", ["open(path, 'w').close()", "open(path + 'x', 'w'); os.rename(path + 'x', path)"]
    )
    def test_written(self, write, toy):
        """A module that the prediction itself has written is not a stranger."""
        body = f"folder = os.environ['TMPDIR']\npath = folder + '/made.py'\n{write}\nsys.path.append(folder)"
        assert toy.run(f"{body}\nimport made\nreturn made.__file__ == path").answer == "true"

    def test_no_arguments(self, toy):
        """A module that reads arguments finds none, rather than the builder's."""
        assert toy.run("return sys.argv[1:]").answer == "[]"

    def test_no_answer(self, toy):
        """Who leaves without an answer has failed."""
        with pytest.raises(SmokeError, match="the prediction failed"):
            toy.run("os._exit(0)")


def test_a_module_that_ends_the_process(toy):
    """It counts as failed, and the others are imported without it."""
    toy.write("tree/pkg/ends.py", "import os\nos._exit(3)\n")
    toy.write("tree/pkg/fails.py", "raise KeyError\n")
    modules = ("pkg.unused", "pkg.ends", "pkg.fails")
    done = smokes.run(toy.smoke("return 1"), [toy.tree], HERE, toy.folder / "prepared", modules)

    assert (done.answer, done.modules) == ("1", modules)
    assert done.failures.keys() == {"pkg.ends", "pkg.fails"}
    assert done.failures["pkg.ends"] == ("ends with 3",)
    assert "pkg/unused.py" in done.opened


class TestPrepare:
    """What a prediction needs, made once."""

    def test_once(self, toy):
        """It is made by the recipe's script, whole, and again only when the script or its inputs change."""
        source = toy.write("input.txt", "one")
        program = (
            f"import sys, pathlib\npathlib.Path(sys.argv[1], 'x').write_text(open({str(source)!r}).read())"
        )
        smoke = toy.smoke("", prepare=toy.write("make.py", program), inputs=(source,))
        made = toy.folder / "work" / "made"

        assert prepare(smoke, made)
        (made / "x").write_text("not made again")
        assert prepare(smoke, made)
        assert (made / "x").read_text() == "not made again"
        source.write_text("two")
        assert prepare(smoke, made)
        assert (made / "x").read_text() == "two"

    def test_impossible(self, toy):
        """Where it cannot be made, nothing is there, and that is said."""
        smoke = toy.smoke("", prepare=toy.write("make.py", "import absent"))

        assert not prepare(smoke, toy.folder / "work" / "made")
        assert list((toy.folder / "work").iterdir()) == []

    def test_a_prediction_without_inputs(self, toy, monkeypatch):
        """The machine's Python is not enough, and what to run is said."""
        said = []
        made = toy.smoke("", prepare=toy.write("make.py", "import absent"))
        recipe = parse({"name": "mine"})
        recipe = replace(recipe, smoke=made)
        monkeypatch.setattr(interpreter, "find", lambda *_: HERE)
        found = Prediction(recipe, get_target("host"), toy.folder, toy.folder / "work" / "made", said.append)
        assert found.python is None
        start = f"{sys.executable} cannot make the prediction's inputs ({made.prepare})"
        assert said == [f"{start}; run it to see why"]
        assert found.obstacle == start

    def test_nothing(self, toy):
        """Who needs nothing gets nothing."""
        assert prepare(toy.smoke(""), toy.folder / "made")
        assert not (toy.folder / "made").exists()


def test_code_files(toy):
    """A prediction consists of its script, code, inputs and what runs it; a function of its code alone."""
    app, model = toy.write("app/handler.py", "12345").parent, toy.write("model.pt", "")
    smoke = toy.smoke("", code=(app,), inputs=(model,), prepare=model, function=(app,))

    assert {path.name for path in list_code_files(smoke)} == {
        "smoke.py",
        "smoke_runner.py",
        "handler.py",
        "model.pt",
    }
    assert count_code_bytes(smoke) == 5


def test_what_counts_as_code(toy):
    """A function's modules and its events count; not how it is shown, what SAM has built, and answers."""
    for name in ("f/app.py", "f/show.py", "f/publishing.py", "f/.aws-sam/build/app.py", "f/sub/more.py"):
        toy.write(name, "12345")
    for name in ("f/events/b.json", "f/events/b.answer.json", "f/events/valid/a.json", "one.json"):
        toy.write(name, "{}")
    events = [str(toy.folder / name) for name in ("f/events", "one.json")]
    smoke = toy.smoke("return 1", code=(toy.folder / "f",), function=(toy.folder / "f",),
                      arguments={"events": events})  # fmt: skip

    names = [path.name for path in list_code_files(smoke)]
    assert sorted(names) == [
        "a.json",
        "app.py",
        "b.json",
        "more.py",
        "one.json",
        "smoke.py",
        "smoke_runner.py",
    ]
    assert count_code_bytes(smoke) == 10


def test_tree_untouched(toy):
    """A prediction leaves nothing in its layer, not even bytecode."""
    before = trees.digest(toy.tree)
    toy.run("return 1")

    assert trees.digest(toy.tree) == before
    assert not list(toy.tree.rglob("__pycache__"))
