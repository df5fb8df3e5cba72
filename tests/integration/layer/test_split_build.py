"""A layer with a split library is built, traced and proven; what its prediction does not call is packed."""

import os
import platform
import shutil
import subprocess
import sys

import pytest
from support.packages import make_wheel

from layer.builder import build
from layer.builder.recipe import load
from layer.builder.slim.split import record, step
from layer.builder.slim.split.layout import PAGE
from layer.builder.target import HOST, get_target

FUNCTIONS = 40
SOURCE = "".join(
    f"__attribute__((aligned({PAGE}))) int f{number}(int x) {{ return x * {number} + 1; }}\n"
    for number in range(FUNCTIONS)
)
PACKAGE = """
import ctypes
import os
library = ctypes.CDLL(os.path.join(os.path.dirname(__file__), "libtoy.so"))
"""
RECIPE = """
name = "toy"
requirements = ["toy==1.0"]

[[split]]
libraries = ["toy/*.so"]
environments.x86_64 = [{ SECOND = "7" }]
environments.arm64 = [{ SECOND = "7" }]

[smoke]
script = "smoke.py"
"""
SMOKE = """
import os
def answer():
    import toy
    getattr(toy.library, "f" + os.environ.get("SECOND", "30"))(1)
    return toy.library.f3(5)
"""

pytestmark = [
    pytest.mark.check,
    pytest.mark.skipif(
        sys.platform != "linux" or not shutil.which("gcc"), reason="compiles for Linux by gcc"
    ),
    pytest.mark.skipif(platform.machine() not in {"x86_64", "aarch64"}, reason="there is no handler"),
]


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Return a function that builds a layer of a package with a library of 40 functions, each on its page.

    Its ``run_path`` may lead elsewhere.
    """
    monkeypatch.setattr(step, "LEAST", FUNCTIONS * PAGE)
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    (tmp_path / "toy.toml").write_text(RECIPE)
    (tmp_path / "smoke.py").write_text(SMOKE)

    def make(strategy="", run_path="$ORIGIN", package=PACKAGE, keys=""):
        if keys:
            (tmp_path / "toy.toml").write_text(RECIPE + keys)
        command = ["gcc", "-O1", "-shared", "-fPIC", "-xc", "-", f"-Wl,-rpath,{run_path}", "-o", "libtoy.so"]
        subprocess.run(command, input=SOURCE, text=True, check=True, cwd=tmp_path)
        library = (tmp_path / "libtoy.so").read_bytes()
        make_wheel(tmp_path / "index", "toy", {"toy/__init__.py": package, "toy/libtoy.so": library})
        recipe, target = load(str(tmp_path / "toy.toml")), get_target(HOST)
        job = build.Job(recipe, target, tmp_path / f"out{strategy}", strategy, work=tmp_path / "work")
        said: list[str] = []
        return build.build(job, said.append), said, record.path_of(recipe, target)

    return make


def test_build(make, tmp_path):
    """What is called is hot, with other variables too; from the record the same layer is built again."""
    report, said, hot = make()
    [split] = report.split

    assert report.proven
    assert split.path == "toy/libtoy.so"
    assert 3 * PAGE <= split.hot < 0.9 * FUNCTIONS * PAGE
    assert split.hot + split.cold > FUNCTIONS * PAGE
    assert any("SECOND=7" in line for line in said)
    assert {file.path for file in report.files} >= {"toy/libtoy.so", "toy/libhotcold.so"}

    recorded = hot.read_bytes()
    shutil.rmtree(tmp_path / "out")
    again, said, _ = make()
    assert (again.split, again.proof.status, hot.read_bytes()) == (report.split, "proven", recorded)
    assert again.layer_sha256 == report.layer_sha256
    assert not any("SECOND" in line for line in said)


@pytest.mark.parametrize(("run_path", "handler"), [("$ORIGIN", "python/toy"), ("/other", "lib")])
def test_cold(make, tmp_path, run_path, handler):
    """A function that nobody traced answers, too, in a process that has the layer alone.

    The handler is where the library has the loader look, or where Lambda does.
    """
    make(run_path=run_path)
    program = f"import toy; print([toy.library['f%d' % n](2) for n in range({FUNCTIONS})])"
    layer = tmp_path / "out" / "layer"
    assert [file.parent for file in layer.rglob("libhotcold.so")] == [layer / handler]
    done = subprocess.run(
        [sys.executable, "-S", "-c", program],
        env={"PYTHONPATH": str(layer / "python"), "LD_LIBRARY_PATH": str(layer / "lib")},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.strip() == str([2 * number + 1 for number in range(FUNCTIONS)])


CRASH = """
import ctypes
import os
folder = os.path.dirname(__file__)
if any("libhotcold" in name for _, _, names in os.walk(os.path.dirname(folder)) for name in names):
    os.kill(os.getpid(), 11)
library = ctypes.CDLL(os.path.join(folder, "libtoy.so"))
"""


@pytest.mark.parametrize("imports", ["", 'imports = ["toy"]\n'])
def test_a_signal(make, imports):
    """Where a prediction, or an import, is ended by a signal once libraries are split, they stay whole."""
    report, said, _ = make(package=CRASH, keys=imports)

    assert report.proven
    assert report.split == ()
    assert "toy/libtoy.so" in {file.path for file in report.files}
    assert not any("libhotcold" in file.path for file in report.files)
    [warning] = [line for line in said if line.startswith("WARNING")]
    assert warning.startswith("WARNING: toy/libtoy.so stay whole, because split, the prediction was ended by")


def test_nested(make, tmp_path):
    """A layer that is to be nested has whole libraries."""
    make_wheel(tmp_path / "index", "base", {"base.py": ""})
    smoke = '[smoke]\nscript = "base_smoke.py"\n'
    (tmp_path / "base_smoke.py").write_text("import base\ndef answer():\n    return base.__name__\n")
    (tmp_path / "base.toml").write_text(f'name = "base"\nrequirements = ["base==1.0"]\n{smoke}')
    text = (tmp_path / "toy.toml").read_text()
    (tmp_path / "toy.toml").write_text(f'base_layer = "{tmp_path}/base.toml"\n{text}')

    report, _, hot = make("nested")

    assert (report.strategy, report.split) == ("nested", ())
    assert not hot.exists()
