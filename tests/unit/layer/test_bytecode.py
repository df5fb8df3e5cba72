"""Byte-compiling: a tree of sources becomes one of bytecode, by a Python of its own."""

import importlib.util
import marshal
import subprocess
import sys

import pytest

from layer.builder import tree as trees
from layer.builder.cli import main
from layer.builder.errors import CompileError, InterpreterError
from layer.builder.pack import interpreter
from layer.builder.pack.bytecode import Compiled, compile_tree, lend_caches, provide_compiler, remove_second
from layer.builder.pack.interpreter import Interpreter
from layer.builder.target import get_target

HERE = Interpreter((sys.executable,), {}, "the running one", emulated=False)
SOURCE = '''\
"""A module."""

from __future__ import annotations

WORDS = {"one", "two", "three", "four", "five"}
PATTERN = "\\d"
TEXT = """no documentation"""


class Empty:
    """Says nothing but this."""


class Full:
    """Says more."""

    async def a(self):
        """Do."""
        return 1


def check(x) -> Missing:
    """Check."""
    assert x in {"one", "two", "three"}, "asserted"
    """no documentation, either"""
    return TEXT
'''


def planted(folder, **sources):
    """Fill a folder with modules, and return it."""
    for name, text in sources.items():
        path = folder / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def test_sourceless(tmp_path):
    """Every source is replaced by bytecode that imports without it; other files stay."""
    planted(tmp_path, pkg__module=SOURCE, top="from pkg.module import check", empty="")
    (tmp_path / "data.txt").write_text("data")

    assert compile_tree(tmp_path, HERE).count == 3
    assert [file.path for file in trees.files(tmp_path)] == [
        "data.txt",
        "empty.pyc",
        "pkg/module.pyc",
        "top.pyc",
    ]
    program = "import sys; sys.path.append('.'); import empty, top; print(top.check('one'))"
    done = subprocess.run(
        [sys.executable, "-I", "-B", "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "no documentation\n"


def test_second(tmp_path):
    """Bytecode beside sources goes from all modules but the used ones; other bytecode stays."""
    planted(tmp_path, pkg__used="", pkg__late="", other__late="", alone="")
    compile_tree(tmp_path, HERE, sources=["pkg/**", "other/**"])

    assert remove_second(tmp_path, {"pkg/used.py"}) == 2
    cached = f"pkg/__pycache__/used.{sys.implementation.cache_tag}.pyc"
    files = [file.path for file in trees.files(tmp_path)]
    assert files == ["alone.pyc", "other/late.py", cached, "pkg/late.py", "pkg/used.py"]
    assert not (tmp_path / "other" / "__pycache__").exists()


def test_code(tmp_path):
    """Documentation strings are out, assertions in, and what the source means is the same."""
    compile_tree(planted(tmp_path, module=SOURCE), HERE)
    names: dict = {}
    exec(marshal.loads((tmp_path / "module.pyc").read_bytes()[16:]), names)  # noqa: S102, S302

    check, full = names["check"], names["Full"]
    documented = [names.get("__doc__"), names["Empty"].__doc__, full.__doc__, full.a.__doc__, check.__doc__]
    assert documented == [None] * 5
    assert check.__annotations__ == {"return": "Missing"}
    with pytest.raises(AssertionError, match="asserted"):
        check("six")


def list_lines(code):
    """Return the line of each instruction of a module's code and of all code in it."""
    inner = [one for one in code.co_consts if hasattr(one, "co_lines")]
    return [[line for line, *_ in code.co_positions()], *(line for one in inner for line in list_lines(one))]


def test_lines(tmp_path):
    """Each instruction has its line, near or far, without columns, which need a source to be shown."""
    gap = "#\n" * 99
    source = f"{gap}def far(x):\n    return x(\n{gap}        1) + x(2) + x(3) + x(4)\n"
    compile_tree(planted(tmp_path, module=source), HERE)
    code = marshal.loads((tmp_path / "module.pyc").read_bytes()[16:])  # noqa: S302

    whole = compile(source, "module.py", "exec")
    other = next(one for one in whole.co_consts if getattr(one, "co_name", "") == "far")
    found = next(one for one in code.co_consts if getattr(one, "co_name", "") == "far")
    assert list_lines(found) == list_lines(other)
    assert {column for *_, column in found.co_positions()} == {None}
    assert len(found.co_linetable) < len(other.co_linetable) / 2


def test_unchecked(tmp_path):
    """The bytecode is this Python's, holds the source's hash, and is never compared with a source."""
    compile_tree(planted(tmp_path, module=SOURCE), HERE)

    data = (tmp_path / "module.pyc").read_bytes()
    assert data[:4] == importlib.util.MAGIC_NUMBER
    assert data[4:8] == b"\1\0\0\0"
    assert data[8:16] == importlib.util.source_hash(SOURCE.encode())


def test_reproducible(tmp_path, monkeypatch):
    """The same tree gives the same bytes, wherever it lies and whatever this process hashes strings by."""
    for name, seed in (("one", "1"), ("two", "2")):
        monkeypatch.setenv("PYTHONHASHSEED", seed)
        compile_tree(planted(tmp_path / name, module=SOURCE, pkg__other=SOURCE), HERE)

    assert trees.digest(tmp_path / "one") == trees.digest(tmp_path / "two")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def (:", "SyntaxError"),
        (b"x = '\xff'", "SyntaxError"),
        (b"x = 1\0", "null bytes"),
        ("return 1", "outside function"),
    ],
    ids=["syntax", "encoding", "null", "return"],
)
def test_none_for_this_python(source, message, tmp_path):
    """A module for a later Python, or a template, stays as pip leaves it, and is told with its error."""
    planted(tmp_path, good="x = 1", pkg__bad=source)

    compiled = compile_tree(tmp_path, HERE)

    assert (compiled.count, list(compiled.left)) == (1, ["pkg/bad.py"])
    assert message in compiled.left["pkg/bad.py"]
    assert [file.path for file in trees.files(tmp_path)] == ["good.pyc", "pkg/bad.py"]


DENSE = "".join(f"def f{n}(x):\n return x.a{n}+{n}\n" for n in range(100))
"""Source whose bytecode is much larger."""

COMMENT = "# " + "x" * 30_000


def test_compressed(tmp_path):
    """Bytecode that outweighs its sources is compressed, is imported the same, and names the same lines."""
    source = f"{DENSE}import sys\ndef fail():\n    raise ValueError\nNAMES = {{*globals()}}\n"
    planted(tmp_path, dense=source)
    before = trees.size(tmp_path)

    assert compile_tree(tmp_path, HERE) == Compiled(1, compressed=1)

    assert trees.size(tmp_path) <= before
    program = """if True:
        import sys, traceback; sys.path.append("."); import dense
        print(dense.f7(type("X", (), {"a7": 1})), dense.__doc__, dense.f7.__module__, dense.__name__)
        print(sorted(dense.NAMES - {f"f{n}" for n in range(100)}))
        try: dense.fail()
        except ValueError as error: print(traceback.extract_tb(error.__traceback__)[-1].lineno)
    """
    command = [sys.executable, "-I", "-B", "-c", program]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    names = ["__builtins__", "__cached__", "__doc__", "__file__", "__loader__", "__name__", "__package__"]
    assert done.stdout.splitlines() == [
        "8 None dense dense", str([*names, "__spec__", "fail", "sys"]), str(source.count("\n") - 1)
    ]  # fmt: skip


def test_compressed_as_few_as_it_takes(tmp_path):
    """The largest is first, and nothing is compressed that need not be; sources that stay do not count."""
    large = DENSE + DENSE.replace("def f", "def g")
    planted(tmp_path, large=large, small=DENSE + COMMENT[:9_000], kept=COMMENT)
    assert compile_tree(tmp_path, HERE, sources=["kept.py"]).compressed == 1
    sizes = {name: (tmp_path / f"{name}.pyc").stat().st_size for name in ("large", "small")}
    assert sizes["large"] < sizes["small"]


def test_nothing_compressed(tmp_path):
    """Sources of which much is left out outweigh their bytecode, and then none of it is compressed."""
    planted(tmp_path, dense=DENSE, commented=COMMENT)
    assert compile_tree(tmp_path, HERE) == Compiled(2)


def test_notices_are_weighed(tmp_path):
    """Licences and metadata stay in a layer as well, and the usual slimming removes them."""
    planted(tmp_path, dense=DENSE, commented=COMMENT)
    notice = tmp_path / "dense-1.dist-info" / "licenses" / "LICENSE"
    notice.parent.mkdir(parents=True)
    notice.write_text("x" * 30_000)
    assert compile_tree(tmp_path, HERE) == Compiled(2, compressed=1)


def test_incompressible(tmp_path):
    """What compression would enlarge stays as it is."""
    planted(tmp_path, empty="")
    assert compile_tree(tmp_path, HERE) == Compiled(1)


def test_failure(tmp_path):
    """Another failure is told by the path in the tree."""
    planted(tmp_path, good="x = 1", pkg__bad="x = " + "-" * 100_000 + "1")

    with pytest.raises(CompileError, match=r"(?s)compiling failed:.*pkg/bad\.py.*Error"):
        compile_tree(tmp_path, HERE)


def test_no_python(tmp_path):
    """Nothing to compile is no failure."""
    assert compile_tree(tmp_path, HERE) == Compiled(0)


def test_lent(tmp_path):
    """Lent bytecode is used, unless the source has changed since, and is gone afterwards."""
    planted(tmp_path, same="X = 1", changed="X = 1", broken="def (")
    program = "import same, changed; print(same.__cached__, changed.X)"

    with lend_caches(tmp_path, HERE):
        assert len(list(tmp_path.rglob("*.pyc"))) == 2
        (tmp_path / "changed.py").write_text("X = 2")
        done = subprocess.run(
            [sys.executable, "-S", "-B", "-c", program],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        cached, value = done.stdout.split()
        assert (tmp_path / cached).is_file()
        assert value == "2"
    assert [file.path for file in trees.files(tmp_path)] == ["broken.py", "changed.py", "same.py"]


def test_a_python_to_compile_with(tmp_path, monkeypatch):
    """One that is there is taken; else one is fetched; where that fails, it is said what a user waits for."""
    found, fetched, said = [HERE], [], []
    monkeypatch.setattr(interpreter, "find_compiler", lambda *_: found.pop() if found else None)
    monkeypatch.setattr(interpreter, "fetch_compiler", lambda *_: fetched.append(1) or found.append(HERE))
    for times in (0, 1):
        assert provide_compiler(get_target("host"), tmp_path, said.append) is HERE
        assert (len(fetched), said) == (times, [])

    def refuse(*_):
        raise InterpreterError("uv is missing")

    monkeypatch.setattr(interpreter, "fetch_compiler", refuse)
    assert provide_compiler(get_target("host"), tmp_path, said.append) is None
    assert "WARNING: not byte-compiled" in said[0]
    assert "(uv is missing)" in said[0]


def test_command(tmp_path, capsys, monkeypatch):
    """``python -m layer compile`` says with what it compiled; where nothing compiles, the sources stay."""
    planted(tmp_path, module=SOURCE)
    monkeypatch.setattr(interpreter, "find_compiler", lambda *_: None)
    assert main(["compile", str(tmp_path), "--target", "python3.13-arm64"]) == 0
    assert "no Python here compiles for python3.13-arm64: sources stay" in capsys.readouterr().out
    assert [file.path for file in trees.files(tmp_path)] == ["compiled.layer_target.json", "module.py"]

    monkeypatch.undo()
    assert main(["compile", str(tmp_path)]) == 0
    assert "compiled 1 modules with" in capsys.readouterr().out
    assert [file.path for file in trees.files(tmp_path)] == ["compiled.layer_target.json", "module.pyc"]

    (tmp_path / "mine.py").write_text("def (:")
    assert main(["compile", str(tmp_path)]) == 2
    assert "mine.py: SyntaxError" in capsys.readouterr().err
