"""Files that a prediction opens stay, whoever opens them, and whatever a common rule says."""

import os
import shutil
import sys

import pytest
from support.wheels import contents, wheel

from layer.builder import build
from layer.builder.errors import SmokeError
from layer.builder.pack import interpreter
from layer.builder.recipe import load
from layer.builder.slim.prune import Rule
from layer.builder.target import HOST, get_target
from layer.builder.verify.advice import explain_missing

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")

FILES = {
    "stubs/__init__.py": "",
    "stubs/__init__.pyi": "def f() -> int: ...",
    "stubs/helper.bin": "found, and not read",
    "stubs/unread.pyi": "def f() -> int: ...",
    "stubs/tests/data.bin": "read by C",
    "stubs/tests/other.bin": "unread",
}
READ = """
    import ctypes, pathlib, stubs
    folder = pathlib.Path(stubs.__file__).parent
    (folder / "__init__.pyi").read_text()
    assert ctypes.CDLL(None).open(str(folder / "tests/data.bin").encode(), 0) > 0
"""
RULE = '[[rules]]\nname = "mistake"\nreason = "tested"\nglobs = ["**/*.pyi"]\n'


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


def make(project, body, keys="", say=lambda _: None):
    """Build the layer of a prediction with this body, and return its report."""
    (project / "smoke.py").write_text(f"def answer():{body}\n    return 1\n")
    recipe = f'name = "stubs"\nrequirements = ["stubs==1.0"]\n[smoke]\nscript = "smoke.py"\n{keys}'
    (project / "stubs.toml").write_text(recipe)
    job = build.Job(
        load(str(project / "stubs.toml")), get_target(HOST), project / "out", work=project / "work"
    )
    return build.build(job, say)


def test_opened(project, monkeypatch):
    """A stub that Python reads and data that C reads stay, here and where only the record is known."""
    report = make(project, READ)

    assert report.proven
    kept = set(contents(project / "out" / "layer" / "python"))
    assert kept == {"stubs/__init__.pyc", "stubs/__init__.pyi", "stubs/tests/data.bin"}
    monkeypatch.setattr(interpreter, "find", lambda *_: None)
    again = make(project, READ, "arguments = {}\n")
    assert (again.digest, again.proven) == (report.digest, True)


ASKED = """
    import pathlib, stubs
    helper = pathlib.Path(stubs.__file__).parent / "helper.bin"
    if not helper.exists():
        raise RuntimeError(f"unable to find {helper}")
"""


@pytest.mark.parametrize("line", ["import plugins", "    from plugins import missing", ""])
def test_a_package_without_a_file(project, line):
    """A folder that is imported as a package stays, with the plug-ins that nobody has opened yet."""
    source = f"try:\n    pass\n{line}\nexcept ImportError:\n    pass\n" if line.startswith(" ") else line
    wheel(project, "stubs", {"stubs/__init__.py": source, "plugins/one.py": "", "other/two.py": ""})
    report = make(project, "\n    import stubs")

    assert report.proven
    layer = contents(project / "out" / "layer" / "python")
    assert ("plugins/one.pyc" in layer) == bool(line)
    assert "other/two.pyc" not in layer


def test_asked_for(project):
    """A file that code only asks for stays once an error names it, and the record has it."""
    said = []
    report = make(project, ASKED, say=said.append)

    assert report.proven
    assert "the prediction looks for stubs/helper.bin, and does not open it; tracing anew" in said
    assert "stubs/helper.bin" in contents(project / "out" / "layer" / "python")
    shutil.rmtree(project / "out")
    said.clear()
    assert make(project, ASKED, say=said.append).digest == report.digest
    assert not any("anew" in line for line in said)


def test_asked_for_and_taken_out_by_a_rule(project):
    """What a recipe's own rule takes out is not traced again."""
    said = []
    with pytest.raises(SmokeError, match="unable to find"):
        make(project, ASKED, RULE.replace("pyi", "bin"), said.append)
    assert not any("anew" in line for line in said)


def test_own_rule(project):
    """A recipe's own rule takes out what it names, opened or not; the error names both, and the way back."""
    expected = (
        r'the rule mistake took stubs/__init__\.pyi out: protect = \["stubs/__init__\.pyi"\] in the recipe'
    )
    with pytest.raises(SmokeError, match=expected):
        make(project, READ, RULE)


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("No module named 'pkg.lost'",
         ['the rule mistake took pkg/lost.py out: protect = ["pkg/lost.py"]', 'imports = ["pkg"]']),
        ("No module named 'pkg.sub'",
         ["the trace, or a patch of the recipe, took pkg/sub/__init__.py out: protect"]),
        ("No module named 'absent.part'",
         ["exclude has absent, in the recipe or in a part", "pin absent in"]),
        ("No module named 'other.part'",
         ["no wheel of the recipe has other.part: add its distribution to requirements; exclude has absent"]),
        ("No such file or directory: '/build/tree/pkg/data.bin'",
         ["the trace, or a patch of the recipe, took pkg/data.bin out"]),
        ("No such file or directory: '/absent'",
         ["/absent is not in the layer: name it in [smoke] inputs"]),
        ("No such file or directory: '/copy/pkg/there.py'",
         ["compiling took the source pkg/there.py out: sources"]),
        ("ZeroDivisionError: division by zero", []),
    ],
)  # fmt: skip
def test_missing(output, expected, tmp_path):
    """What is missing is brought back by a key of the recipe, which depends on what took it out."""
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "there.py").touch()
    installed = ["pkg/lost.py", "pkg/sub/__init__.py", "pkg/data.bin", "pkg/there.py"]

    lines = explain_missing(output, tmp_path, installed, [Rule("mistake", "", ("**/lost.py",))], {"absent"})
    assert len(lines) == bool(expected)
    assert all(text in lines[0] for text in expected)
