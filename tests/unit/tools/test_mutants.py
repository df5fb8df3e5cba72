"""Mutants: one small fault each, drawn with a seed, and a score with its interval."""

import ast

import pytest

from tools.trust import mutants
from tools.trust.mutants import (
    RECORD,
    ROOT,
    calculate_interval,
    choose_tests,
    draw,
    find_entry,
    find_runners,
    list_tests,
    read_record,
)

CODE = '''
LIMIT = 3

def share(a: int, b: int = 0) -> float:
    """Return a share."""
    if a < b and not b:
        raise ValueError("no")
    print(a)
    return (a + 1) / b
'''


@pytest.fixture
def folder(tmp_path):
    """Return a folder with one module."""
    (tmp_path / "m.py").write_text(CODE)
    return tmp_path


def test_every_mutant_has_one_fault(folder):
    """Each differs from the original, and from the others; what is outside of functions stays."""
    drawn = draw(folder, 100, 1)
    original = ast.unparse(ast.parse(CODE))
    assert len({one.text for one in drawn}) == len(drawn)
    assert original not in {one.text for one in drawn}
    assert all("LIMIT = 3" in one.text and "b: int=0" in one.text for one in drawn)
    faults = {(one.before, one.after) for one in drawn}
    condition, result = "if a < b and (not b):", "return (a + 1) / b"
    assert faults >= {
        (condition, "if a <= b and (not b):"), (condition, "if a < b and b:"),
        (condition, "if a < b or not b:"), (condition, "if not (a < b and (not b)):"),
        ("print(a)", "pass"), ("raise ValueError('no')", "pass"),
        (result, "return (a - 1) / b"), (result, "return (a + 2) / b"), (result, "return None"),
    }  # fmt: skip


def test_a_seed_draws_the_same(folder):
    """And another one another sample."""
    assert draw(folder, 3, 1) == draw(folder, 3, 1)
    assert draw(folder, 3, 1) != draw(folder, 3, 2)


@pytest.mark.parametrize(
    ("hits", "total", "low", "high"), [(9, 10, 0.596, 0.982), (0, 10, 0.0, 0.278), (85, 100, 0.767, 0.907)]
)
def test_the_interval_is_wilsons(hits, total, low, high):
    """By the figures of Brown, Cai and DasGupta's formula (2001)."""
    assert calculate_interval(hits, total) == (pytest.approx(low, abs=1e-3), pytest.approx(high, abs=1e-3))


def test_a_mutant_has_the_tests_that_run_its_line(folder):
    """And then those of its name, and the record's; where none runs it, those of what starts it.

    The quicker ones come first.
    """
    named = {name: folder / f"{name}.py" for name in ("m", "a_runner", "b")}
    named["b"].write_text('start("a_runner.py"); start("-m", "room.other")')
    named["other"] = folder / "other.py"
    tests = ["test_a.py", "test_m.py", "test_z.py"]
    costs = {"test_m.py::test_1": 9, "test_a.py::test": 5, "test_a.py::test_0": 1, "test_z.py::test_9": 4}
    line = {*costs}
    costs["test_m.py::test_0"] = 2
    runners = {
        (named["m"], 8): line,
        (named["b"], 1): {"test_z.py::test"},
    }

    def choose(name: str, line: int, recorded: str = "") -> list[list[str]]:
        return choose_tests(
            mutants.Mutant(named[name], line, "", "", str), folder, tests, runners, costs, recorded
        )

    assert choose("m", 8) == [
        ["test_m.py::test_1", "test_z.py::test_9", "test_a.py::test_0", "test_a.py::test"],
        ["test_m.py::test_0"],
    ]  # fmt: skip
    assert choose("m", 9, "test_z.py::test_2") == [
        ["test_m.py::test_0", "test_m.py::test_1", "test_z.py::test_2"]
    ]
    assert choose("a_runner", 9) == choose("other", 9) == [["test_z.py::test"]]
    assert choose("b", 9) == []


def test_the_tests_that_run_a_line_are_found(folder):
    """By pytest's names, as far as they are known; what a fixture alone runs is nobody's."""
    (folder / "tests").mkdir()
    (folder / "tests" / "test_m.py").write_text(
        "import m, pytest\n@pytest.fixture(autouse=True)\ndef two(): assert m.share(2, 1) == 3\n"
        "class TestM:\n    def test_one(self): assert m.share(1, 1) == 2\n"
    )
    (folder / "room").mkdir()
    (folder / "m.py").rename(folder / "room" / "m.py")
    (folder / "pyproject.toml").write_text("[tool.pytest.ini_options]\npythonpath = ['room']\n")
    [listed] = list_tests(folder, ["tests"])
    runners, costs = find_runners(folder, "room", [listed])
    assert list(costs) == [f"{listed}::TestM::test_one"]
    found = {
        line: tests for (path, line), tests in runners.items() if path == ROOT / "room" / "m.py" and tests
    }
    assert found == {line: {f"{listed}::TestM::test_one"} for line in (6, 8, 9)}


def test_a_record_outlives_what_moves_its_line(folder, monkeypatch):
    """A mutant is found again by its statement, and by nothing else."""
    monkeypatch.setattr(mutants, "ROOT", folder)
    entry = {"file": "m.py", "before": "return (a + 1) / b", "after": "return (a - 1) / b"}
    assert [one.entry for one in mutants.list_mutants(folder)].count(entry) == 1
    (folder / "m.py").write_text(f"import this\n{CODE}")
    found = [find_entry([entry | {"reason": "any"}], one) for one in mutants.list_mutants(folder)]
    assert [one for one in found if one] == [entry | {"reason": "any"}]


def test_the_record_says_why():
    """Each survivor has either a test, which is there, or a reason."""
    for one in read_record(RECORD, "."):
        assert ("test" in one) != ("reason" in one), one
        path, _, name = one.get("test", "").partition("::")
        assert f"def {name}(" in (ROOT / path).read_text() if path else one["reason"], one
