"""Packages that read their docstrings, sources and private modules are built, and keep just these."""

import json
import os
import sys

import pytest
from support.wheels import contents, wheel

from layer.builder import build
from layer.builder.errors import BuildError
from layer.builder.recipe import load
from layer.builder.target import HOST, get_target
from layer.builder.wheels import lock

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="layers are for Linux")

READERS = {
    "plain/__init__.py": '"""Nobody reads this."""\nWORD = "plain"\n',
    "plain/_part.py": '"""A part."""\nVALUE = 4\n',
    "plain/public.py": "def lazy():\n    from plain._part import VALUE\n    from other.deep import DATA\n",
    "plain/eager.py": "from plain._part import VALUE",
    "plain/names.txt": "data",
    "plain/tests/test_plain.py": "import plain.gone",
    "other/__init__.py": "",
    "other/deep.py": "DATA = 1\n",
    "other/unused.py": "DATA = 2\n",
    "docs/__init__.py": '"""A package with grammar in docstrings."""\n\ndef rule():\n    """a : b"""\n\n'
    "GRAMMAR = rule.__doc__.split(':')\n",
    "source/__init__.py": "import inspect\n\ndef f():\n    return 1\n\nTEXT = inspect.getsource(f)\n",
}
RECIPE = """\
name = "readers"
requirements = ["readers==1.0"]
[smoke]
script = "smoke.py"
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Return a folder with a recipe and its smoke script; pip knows one wheel."""
    wheel(tmp_path, "readers", READERS)
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return tmp_path


def make(project, imports, keys=""):
    """Build a layer of a prediction that imports these, and return the files of its tree, and its lock."""
    (project / "smoke.py").write_text(f"def answer():\n    import {imports}\n    return str(1)\n")
    (project / "readers.toml").write_text(RECIPE + keys)
    recipe, target = load(str(project / "readers.toml")), get_target(HOST)
    report = build.build(build.Job(recipe, target, project / "out", work=project / "work"), lambda _: None)
    assert report.proven
    return contents(project / "out" / "layer" / "python"), lock.read(recipe, target)


@pytest.mark.check
def test_nothing_kept(project):
    """A package that reads neither keeps neither."""
    files, locked = make(project, "plain")

    assert set(files) == {"plain/__init__.pyc"}
    assert b"Nobody reads" not in files["plain/__init__.pyc"]
    assert locked.kept.levels == {}


@pytest.mark.check
def test_docstrings(project):
    """The docstrings of the package that reads them stay, those of others go; the lock records it."""
    files, locked = make(project, "docs, plain")

    assert set(files) == {"docs/__init__.pyc", "plain/__init__.pyc"}
    assert b"Nobody reads" not in files["plain/__init__.pyc"]
    assert locked.kept.levels == {"docs": 1}


def test_sources(project):
    """The sources of the package that reads them stay, beside bytecode that Python uses."""
    files, locked = make(project, "source, plain")

    cache = f"source/__pycache__/__init__.{sys.implementation.cache_tag}.pyc"
    assert set(files) == {"source/__init__.py", cache, "plain/__init__.pyc"}
    assert files["source/__init__.py"].decode() == READERS["source/__init__.py"]
    assert locked.kept.levels == {"source": 2}


@pytest.mark.check
def test_named_sources(project):
    """A recipe may name modules whose sources stay, though no prediction reads them."""
    (project / "smoke.py").write_text("def answer():\n    import plain\n    return str(1)\n")
    (project / "readers.toml").write_text('sources = ["plain/**"]\n' + RECIPE)
    recipe = load(str(project / "readers.toml"))
    build.build(build.Job(recipe, get_target(HOST), project / "out", work=project / "work"), lambda _: None)
    assert "plain/__init__.py" in contents(project / "out" / "layer" / "python")


@pytest.mark.parametrize(
    ("answer", "compiled"),
    [("import plain\n    return str(1)", ["__init__"]),
     ("import plain.eager\n    return str(1)", ["__init__", "_part", "eager"]),
     ("import plain", ["__init__", "_part", "eager", "public"])],
)  # fmt: skip
def test_bytecode_beside_sources(project, answer, compiled):
    """Where sources stay, modules that the prediction imports have bytecode, too; all, if it only imports."""
    (project / "smoke.py").write_text(f"def answer():\n    {answer}\n")
    (project / "readers.toml").write_text(f'sources = ["plain/**"]\n{RECIPE}imports = ["plain"]\n')
    recipe = load(str(project / "readers.toml"))
    job = build.Job(recipe, get_target(HOST), project / "out", work=project / "work")
    report = build.build(job, lambda _: None)

    files = set(contents(project / "out" / "layer" / "python"))
    sources = {f"plain/{name}.py" for name in ("__init__", "_part", "eager", "public")}
    cached = {f"plain/__pycache__/{name}.{sys.implementation.cache_tag}.pyc" for name in compiled}
    assert {path for path in files if path.startswith("plain/") and "names" not in path} == sources | cached
    assert (f"{4 - len(compiled)} modules that the prediction" in report.compiled) == (len(compiled) < 4)


@pytest.mark.check
def test_record_is_not_tried_again(project, monkeypatch):
    """A build of the same wheels compiles once, by what the lock says."""
    make(project, "docs")
    counted = []
    from layer.builder.pack import bytecode

    compile_really = bytecode.compile_tree
    monkeypatch.setattr(bytecode, "compile_tree", lambda *all_: counted.append(1) or compile_really(*all_))
    make(project, "docs", "arguments = {}\n")

    assert len(counted) == 1


def test_imports(project):
    """Public modules are imported; their package stays whole, and of others what it may import."""
    files, locked = make(project, "docs", 'imports = ["plain"]\n')

    assert set(files) == {
        "docs/__init__.pyc",
        "other/__init__.pyc",
        "other/deep.pyc",
        "plain/__init__.pyc",
        "plain/_part.pyc",
        "plain/eager.pyc",
        "plain/names.txt",
        "plain/public.pyc",
        "readers-1.0.dist-info/METADATA",
    }
    metadata = files["readers-1.0.dist-info/METADATA"].decode()
    assert metadata.splitlines() == ["Metadata-Version: 2.1", "Name: readers", "Version: 1.0"]
    assert locked.kept.levels == {"docs": 1}


@pytest.mark.check
def test_a_description_that_is_read_stays(project):
    """The prediction opened the metadata."""
    body = "import importlib.metadata as one, plain\n    return one.metadata('readers').get_payload()"
    (project / "smoke.py").write_text(f"def answer():\n    {body}\n")
    (project / "readers.toml").write_text(RECIPE + 'imports = ["plain"]\n')
    recipe = load(str(project / "readers.toml"))
    build.build(build.Job(recipe, get_target(HOST), project / "out", work=project / "work"), lambda _: None)
    files = contents(project / "out" / "layer" / "python")
    assert files["readers-1.0.dist-info/METADATA"].endswith(b"\n\n# readers\n")


@pytest.mark.check
def test_dense_code_is_compressed(project):
    """The layer takes no more bytes than the sources, answers the same, and the report says why."""
    dense = (
        "".join(f"def f{n}(x):\n return x.a{n}+{n}\n" for n in range(200))
        + "N = f7(type('X', (), {'a7': 1}))\n"
    )
    wheel(project, "readers", {"dense.py": dense})
    (project / "smoke.py").write_text("def answer():\n    import dense\n    return dense.N\n")
    (project / "readers.toml").write_text(RECIPE)
    recipe = load(str(project / "readers.toml"))
    job = build.Job(recipe, get_target(HOST), project / "out", work=project / "work")
    report = build.build(job, lambda _: None)
    assert report.proven
    assert "1 compressed, since bytecode and licences outweighed the sources" in report.compiled
    assert len(contents(project / "out" / "layer" / "python")["dense.pyc"]) <= len(dense)


def test_a_reader_that_nothing_imports(project):
    """What only a function imports stays, and what that reads of others' docstrings stays with it."""
    late = {
        "lazy/__init__.py": "def f():\n    import lazy.reader\n",
        "lazy/reader.py": "from lazy.written import g\nTEXT = g.__doc__.upper()\n",
        "lazy/written.py": "def g():\n    'Read.'\n",
    }
    wheel(project, "readers", {**READERS, **late, "plain/__init__.py": "import lazy\n"})
    files, locked = make(project, "plain", 'imports = ["plain"]\n')

    assert {"lazy/reader.pyc", "lazy/written.pyc"} < set(files)
    assert b"Read." in files["lazy/written.pyc"]
    assert locked.kept.levels == {"lazy.reader": 1, "lazy.written": 1}


def test_dependencies_of_the_script(project):
    """What the script imports and the recipe does not name is told: other parts of it may be gone."""
    (project / "smoke.py").write_text("def answer():\n    import json, docs, plain\n    return str(1)\n")
    (project / "readers.toml").write_text(RECIPE + 'imports = ["plain"]\n')
    recipe, said = load(str(project / "readers.toml")), []
    job = build.Job(recipe, get_target(HOST), project / "out", work=project / "work")
    build.build(job, said.append)

    (note,) = (line for line in said if line.startswith("NOTE"))
    assert note.startswith("NOTE: the smoke script imports docs, which [smoke] imports does not name")


@pytest.mark.check
def test_imports_alone(project):
    """A recipe without a prediction is proven by its imports."""
    (project / "readers.toml").write_text(RECIPE.replace('script = "smoke.py"', 'imports = ["source"]'))
    recipe, target = load(str(project / "readers.toml")), get_target(HOST)
    report = build.build(build.Job(recipe, target, project / "out", work=project / "work"), lambda _: None)

    assert report.proven
    assert json.loads((project / "readers" / target.record / "proof.json").read_text())["answer"] is None
    assert lock.read(recipe, target).kept.levels == {"source": 2}


def test_lost_import(project):
    """A rule that takes out a module that a public one imports is an error that names the public one."""
    rule = '[[rules]]\nname = "mistake"\nreason = "tested"\nglobs = ["plain/_part.py"]\n'

    with pytest.raises(BuildError, match=r"(?s)modules no longer import.*plain\.eager: Module"):
        make(project, "docs", 'imports = ["plain"]\n' + rule)


def test_unknown_import(project):
    """A package that no wheel has is an error that names those that there are."""
    with pytest.raises(
        BuildError, match=r"imports names plane, .* the packages are docs, other, plain, source"
    ):
        make(project, "docs", 'imports = ["plane"]\n')
