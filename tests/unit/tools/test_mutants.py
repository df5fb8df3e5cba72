"""Mutants: one small fault each, drawn with a seed, and a score with its interval."""

import ast

import pytest

from tools.trust import mutants
from tools.trust.mutants import RECORD, ROOT, calculate_interval, draw, find_entry, order_tests, read_record

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
    assert faults >= {
        ("a < b", "a <= b"), ("not b", "b"), ("a < b and (not b)", "a < b or not b"), ("print(a)", "pass"),
        ("a + 1", "a - 1"), ("1", "2"), ("raise ValueError('no')", "pass"),
        ("return (a + 1) / b", "return None"),
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


def test_a_modules_own_tests_come_first(tmp_path):
    """Of other folders they alone are taken."""
    for name in ("own/test_a.py", "own/test_models.py", "other/test_models.py", "other/test_b.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    files = [path.removeprefix(f"{tmp_path}/") for path in order_tests(tmp_path, ["own", "other"], "_models")]
    assert sorted(files[:2]) == ["other/test_models.py", "own/test_models.py"]
    assert files[2:] == ["own/test_a.py"]


def test_a_record_outlives_what_moves_its_line(folder, monkeypatch):
    """A mutant is found again by its statement, and by nothing else."""
    monkeypatch.setattr(mutants, "ROOT", folder)
    [one] = [one for one in mutants.list_mutants(folder) if one.before == "a + 1"]
    entry = {"file": "m.py", "statement": "return (a + 1) / b", "before": "a + 1", "after": "a - 1"}
    assert one.entry == entry
    (folder / "m.py").write_text(f"import this\n{CODE}")
    found = [find_entry([entry | {"reason": "any"}], one) for one in mutants.list_mutants(folder)]
    assert [one for one in found if one] == [entry | {"reason": "any"}]


def test_the_record_says_why():
    """Each survivor has either a test, which is there, or a reason."""
    for one in read_record(RECORD, "."):
        assert ("test" in one) != ("reason" in one), one
        path, _, name = one.get("test", "").partition("::")
        assert f"def {name}(" in (ROOT / path).read_text() if path else one["reason"], one
