"""What compiling keeps of sources is found by trying, and is the least that the packages read."""

import pytest

from layer.builder.errors import CompileError, SmokeError
from layer.builder.pack import bytecode
from layer.builder.pack.kept import DOCSTRINGS, SOURCES, Failure, Kept, decide, parse
from layer.builder.verify.compile import Compiler
from layer.builder.verify.smoke import Outcome


class Reader:
    """A tree whose packages need so much; it fails as its first package does that has too little."""

    def __init__(self, needs, *, traceback=True):
        self.needs, self.traceback, self.attempts = needs, traceback, []

    def __call__(self, kept):
        self.attempts.append(dict(kept.levels))
        short = [package for package, level in self.needs.items() if kept.get(package) < level]
        return [Failure("it differs", ("smoke", short[0]) if self.traceback else ())] if short else []


PACKAGES = [f"p{number}" for number in range(20)]


@pytest.mark.parametrize("traceback", [True, False], ids=["traceback", "silent"])
@pytest.mark.parametrize(
    "needs",
    [{}, {"p3": DOCSTRINGS}, {"p3": SOURCES}, {"p0": SOURCES, "p7": DOCSTRINGS, "p19": SOURCES}],
    ids=["nothing", "docstrings", "sources", "several"],
)
def test_least(needs, traceback):
    """The least is found, with a traceback that names packages and without."""
    reader = Reader(needs, traceback=traceback)

    assert decide(PACKAGES, Kept(), reader).levels == needs
    assert len(reader.attempts) <= 30


def test_guess():
    """A guess that is too much is reduced, and one of packages that are not there is ignored."""
    reader = Reader({"p3": DOCSTRINGS})

    assert (
        decide(PACKAGES, Kept({"p3": SOURCES, "p4": DOCSTRINGS, "gone": SOURCES}), reader).levels
        == reader.needs
    )


def test_documented():
    """Packages whose functions need their docstrings keep them, whatever was tried."""
    assert decide(PACKAGES, Kept(), Reader({"p5": SOURCES}), {"p1", "gone"}).levels == {
        "p1": DOCSTRINGS, "p5": SOURCES
    }  # fmt: skip
    silent = Reader({"p5": SOURCES}, traceback=False)
    assert decide(PACKAGES, Kept(), silent, {"p1"}).levels == {"p1": DOCSTRINGS, "p5": SOURCES}


TRACES = [("p1", "p1.a", "p1.b", "p2.c"), ("p1", "p1.b", "p2.c")]
"""Two imports that fail in the same module, of which one leads through p1.a as well."""

IMPORTED = {"p2.c": ["p2.d", "p3.e"]}


@pytest.mark.parametrize(
    ("needs", "levels"),
    [
        ({"p2.c"}, ["p1.b", "p2.c"]),
        ({"p1.b", "p2.c"}, ["p1.b", "p2.c"]),
        ({"p3.e"}, ["p1.b", "p2.c", "p2.d", "p3.e"]),
        ({"p2.hidden"}, ["p1.b", "p2", "p3.e"]),
        ({"p1.a"}, ["p1", "p3.e"]),
    ],
    ids=["innermost", "both", "imported", "of its package", "of another package"],
)
def test_modules(needs, levels):
    """Modules on the way to the failure keep docstrings, then those imported there, then packages."""

    def attempt(kept):
        short = [one for one in needs if not kept.get(one.partition(".")[0], one)]
        return [Failure("it differs", trace) for trace in TRACES] if short else []

    found = decide(PACKAGES, Kept(), attempt, list_imported=lambda name: IMPORTED.get(name, []))
    assert sorted(found.levels) == levels
    assert set(found.levels.values()) == {DOCSTRINGS}
    again = decide(PACKAGES, Kept({**found.levels, "gone.x": DOCSTRINGS}), attempt)
    assert again == found


def test_files_that_are_looked_for():
    """A failure that looks for a source is not tried with docstrings first; what is too much goes again."""
    attempts = []

    def attempt(kept):
        attempts.append(kept.levels)
        return [] if kept.get("p2") == SOURCES else [Failure("OSError", ("p1.a", "p2.b"), SOURCES)]

    assert decide(PACKAGES, Kept(), attempt).levels == {"p2": SOURCES}
    assert attempts[:2] == [{}, {"p2": SOURCES}]
    assert decide(PACKAGES, Kept({"p2.c": DOCSTRINGS}), attempt).levels == {"p2": SOURCES}


def test_wrong_suspect():
    """A traceback through packages that already keep all leads to a search."""

    def attempt(kept):
        return [] if kept.get("p5") == SOURCES else [Failure("it differs", ("p1",))]

    assert decide(PACKAGES, Kept(), attempt).levels == {"p5": SOURCES}


def test_hopeless():
    """A tree that differs although everything is kept is an error that says how."""
    with pytest.raises(CompileError, match="even with all sources kept: no luck"):
        decide(PACKAGES, Kept(), lambda _: [Failure("no luck")])


def test_lines():
    """A lock's lines say it again; without any, nobody has tried."""
    kept = Kept({"numpy": DOCSTRINGS, "numba": SOURCES, "scipy.special": DOCSTRINGS})

    assert parse(["numpy==1", *kept.format()]) == kept
    assert parse(Kept().format()) == Kept()
    assert parse(["numpy==1"]) is None


def test_the_reports_words():
    """They name who keeps what; where nothing is kept, nothing is said."""
    assert Kept().describe() == ""
    assert Kept({"b": SOURCES}).describe() == "; with the sources of b, which are read"
    kept = Kept({"b": DOCSTRINGS, "a": DOCSTRINGS, "c": SOURCES})
    assert kept.describe() == "; with the docstrings of a, b and the sources of c, which are read"
    kept = Kept({"b.x": DOCSTRINGS, "a": DOCSTRINGS, "b.y.z": DOCSTRINGS, "c.x": DOCSTRINGS})
    assert kept.describe() == "; with the docstrings of a, b (2 modules), c (1 module), which are read"


def test_a_tree_that_differs_when_it_is_compiled_again(tmp_path, monkeypatch):
    """What was tried holds no more: the build stops, and the tree is as it was."""
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "a.py").touch()
    compiler = Compiler(tmp_path / "tree", None, (), None, None, print)
    answers = iter([[], [Failure("it differs")]])
    monkeypatch.setattr(compiler, "list_failures", lambda _: next(answers))
    with pytest.raises(CompileError, match="compiled to bytecode, the tree answers differently: it differs"):
        compiler.run(None, None)
    assert (tmp_path / "tree" / "a.py").exists()


def test_what_a_module_reads_from(tmp_path):
    """That is what it imports, and what classes there inherit from: a method's docstring may be theirs."""
    sources = {
        "a/__init__.py": "",
        "a/reader.py": "from a.written import Written\nfrom . import other as o\nimport os.path, b.sub\n",
        "a/written.py": "from .base import Base as B\nfrom a.far import g\nclass Written(B): pass\n",
        "a/base.py": "from a.far import Farther\nclass Base(Farther): pass\n",
        "a/far.py": "", "a/other.py": "", "b/__init__.py": "", "b/sub.py": "",
    }  # fmt: skip
    for path, text in sources.items():
        (tmp_path / "tree" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / path).write_text(text)
    compiler = Compiler(tmp_path / "tree", None, (), None, None, print)
    assert compiler._list_imported("a.reader") == ["a.base", "a.other", "a.written", "b.sub"]
    assert compiler._list_imported("a") == compiler._list_imported("gone") == []


C = ("OSError", "a/x.py", "/b/y.py", "<z>")
"""An import's error, and the files that it led through."""


@pytest.mark.parametrize(
    ("outcome", "failures"),
    [
        (Outcome("[1]", frozenset(), failures={"b": ("KeyError",)}), []),
        (
            Outcome(
                "[1]",
                frozenset(),
                failures={"b": ("KeyError",), "c": ("OSError", "a/x.py", "/b/y.py", "<z>")},
            ),
            [Failure("importing c: OSError", ("a.x",), SOURCES)],
        ),
        (Outcome("[1]", frozenset()), [Failure("importing b: KeyError", ())]),
        (Outcome("[2]", frozenset()), [Failure("\n  answer[0]: 2, not 1")]),
        (SmokeError('failed\n  File "a/x.py", line 1, in f'), None),
    ],
    ids=["none", "an import", "an import that failed before", "the answer", "the prediction"],
)
def test_what_differs(outcome, failures, tmp_path, monkeypatch):
    """Imports that end otherwise are named with the modules that they led through, and another answer."""

    def predict(folder):
        assert folder.name == "compiled"
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(bytecode, "compile_tree", lambda *_: None)
    (tmp_path / "tree").mkdir()
    expected = Outcome("[1]", frozenset(), failures={"b": ("KeyError",)})
    found = Compiler(tmp_path / "tree", None, (), predict, expected, print).list_failures(Kept())
    assert found == ([Failure(str(outcome), ("a.x",))] if failures is None else failures)
