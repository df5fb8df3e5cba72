"""Files that a prediction opens stay, whoever opens them, and whatever a common rule says."""

import os
import sys

import pytest
from support.wheels import contents, wheel

from layer.builder import build
from layer.builder.errors import BuildError, SmokeError
from layer.builder.pack import interpreter
from layer.builder.recipe import load
from layer.builder.target import HOST, get_target
from layer.builder.verify.advice import explain_missing

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")

FILES = {
    "stubs/__init__.py": "",
    "stubs/__init__.pyi": "def f() -> int: ...",
    "stubs/unread.pyi": "def f() -> int: ...",
    "stubs/lost.py": "",
    "stubs/tests/data.bin": "read by C",
    "stubs/tests/other.bin": "unread",
}
READ = """
    import ctypes, pathlib, stubs
    folder = pathlib.Path(stubs.__file__).parent
    (folder / "__init__.pyi").read_text()
    assert ctypes.CDLL(None).open(str(folder / "tests/data.bin").encode(), 0) > 0
"""
RULE = '[[rules]]\nname = "mistake"\nreason = "tested"\nglobs = ["{}"]\n'


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Return a folder for a recipe; pip knows one wheel."""
    wheel(tmp_path, "stubs", FILES)
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return tmp_path


def make(project, body, keys=""):
    """Build the layer of a prediction with this body, and return its report."""
    (project / "smoke.py").write_text(f"def answer():{body}\n    return 1\n")
    recipe = f'name = "stubs"\nrequirements = ["stubs==1.0"]\n[smoke]\nscript = "smoke.py"\n{keys}'
    (project / "stubs.toml").write_text(recipe)
    job = build.Job(
        load(str(project / "stubs.toml")), get_target(HOST), project / "out", work=project / "work"
    )
    return build.build(job, lambda _: None)


def test_opened(project, monkeypatch):
    """A stub that Python reads and data that C reads stay, here and where only the record is known."""
    report = make(project, READ)

    assert report.proven
    kept = set(contents(project / "out" / "layer" / "python"))
    assert kept == {"stubs/__init__.pyc", "stubs/__init__.pyi", "stubs/tests/data.bin"}
    monkeypatch.setattr(interpreter, "find", lambda *_: None)
    again = make(project, READ, "arguments = {}\n")
    assert (again.digest, again.proven) == (report.digest, True)


def test_own_rule(project):
    """A recipe's own rule takes out what it names, opened or not; the error names both, and the way back."""
    expected = (
        r'the rule mistake took stubs/__init__\.pyi out: protect = \["stubs/__init__\.pyi"\] in the recipe'
    )
    with pytest.raises(SmokeError, match=expected):
        make(project, READ, RULE.format("**/*.pyi"))


@pytest.mark.parametrize(
    ("body", "keys", "message"),
    [
        ("\n    import stubs.lost", RULE.format("stubs/lost.py"),
         r'the rule mistake took stubs/lost\.py out: protect = \["stubs/lost\.py"\] in the recipe keeps it'),
        ("\n    import absent.part", "",
         r"no wheel of the recipe has absent: add its distribution to requirements$"),
        ("\n    open('/absent')", "", r"/absent is not in the layer: name it in \[smoke\] inputs"),
    ],
)  # fmt: skip
def test_missing(body, keys, message, project):
    """The error of a prediction that misses something ends with the key of the recipe that helps."""
    with pytest.raises((SmokeError, BuildError), match=message):
        make(project, body, keys)


def test_compiled(tmp_path):
    """What is missing although the tree has it was a source, before it was compiled."""
    (tmp_path / "pkg.py").touch()
    output = "FileNotFoundError: [Errno 2] No such file or directory: '/copy/pkg.py'"

    assert explain_missing(output, tmp_path, ["pkg.py"], (), ()) == [
        'compiling took the source pkg.py out: sources = ["pkg.py"] in the recipe keeps it'
    ]
