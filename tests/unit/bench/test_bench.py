"""The results: whole, consistent, and with a row for everything that is measured."""

import json
import math
from collections.abc import Iterator
from typing import Any

import pytest

from bench import __main__ as bench
from bench import results, table
from bench.row import Measurement, Row, meets, ratio

RESULTS = json.loads(results.RESULTS.read_text())
REGISTERED = [name for measurement in bench.collect() for name in measurement.names]
FIELDS = {"name", "value", "better", "unit", "baseline", "goal", "met", "runs"}

TO_MEASURE: set[str] = set()
"""Rows that no machine was quiet enough for yet: the next `make bench` writes them."""

a_row = pytest.mark.parametrize("row", RESULTS["rows"], ids=lambda row: row["name"])


def test_results_say_where_they_come_from() -> None:
    """Numbers stand beside the machine and the commit that they were measured with."""
    assert RESULTS.keys() == {"machine", "commit", "rows"}
    assert RESULTS["machine"].keys() == {"cores", "memory_gb", "cpu", "python", "torch"}
    assert len(RESULTS["commit"]) == 40


@a_row
def test_rows_are_whole(row: dict[str, Any]) -> None:
    """Every row has all fields; only one that misses its goal has a cause, and that is said."""
    assert row.keys() == FIELDS | (set() if row["met"] else {"cause"})
    assert all(row[field] for field in row.keys() & {"name", "unit", "baseline", "runs", "cause"})
    assert all(math.isfinite(number) for number in [row["value"], row["goal"], *row["runs"]])


@a_row
def test_met_is_what_value_and_goal_say(row: dict[str, Any]) -> None:
    """Nobody calls a goal met that is not."""
    assert row["better"] in {"lower", "higher"}
    assert row["met"] == meets(row["value"], row["better"], row["goal"])


@a_row
def test_a_value_lies_among_its_runs(row: dict[str, Any]) -> None:
    """A value is of its runs, not of others."""
    least, most = min(row["runs"]), max(row["runs"])
    assert least - 0.1 * abs(least) <= row["value"] <= most + 0.1 * abs(most)


def test_every_engine_is_measured_whole() -> None:
    """What the function costs is told by numbers, and where they come from stands beside them."""
    from bench.areas import translate

    found = json.loads(results.ENGINES.read_text())
    assert found.keys() == {"machine", "commit", "engines"}
    assert [(one["engine"], one["precision"]) for one in found["engines"]] == [
        (kind.engine, kind.precision) for kind in translate.KINDS
    ]
    for one in found["engines"]:
        assert tuple(one) == translate.MEASURED
        assert all(one.values())


def test_names_are_unique_and_of_the_area_that_measures_them() -> None:
    """A name means one row, and stands in the file once."""
    assert len(set(REGISTERED)) == len(REGISTERED)
    measured = [row["name"] for row in RESULTS["rows"]]
    assert measured == [name for name in REGISTERED if name not in TO_MEASURE or name in measured]


def test_the_table_has_every_row_and_every_cause() -> None:
    """What is shown leaves nothing out."""
    shown = table.draw(RESULTS["rows"])
    for row in RESULTS["rows"]:
        assert f"| {row['name']} |" in shown
        assert row.get("cause", "") in shown


def test_a_row_is_asked_for_by_name_or_beginning() -> None:
    """Not by a part of a word."""
    assert table.covers("", "store.load_time")
    assert table.covers("store", "store.load_time")
    assert table.covers("store.load_time", "store.load_time")
    assert not table.covers("stor", "store.load_time")


def test_a_ratio_is_that_of_the_medians() -> None:
    """And its runs are those of the repetitions, in their order."""
    assert ratio([1, 2, 9], [4, 4, 4]) == {"value": 0.5, "runs": [0.25, 0.5, 2.25]}


def test_functions_side_by_side_have_to_answer_alike() -> None:
    """Labels and texts to the letter, numbers within the tolerance, nothing more and nothing less."""
    from bench.areas.cold_start import TOLERANCE, differences

    answer = {"label": "benign", "probabilities": [0.25, 0.75]}
    near = {**answer, "probabilities": [0.25 + TOLERANCE / 2, 0.75]}
    assert not differences(answer, near, TOLERANCE)
    for other in (
        {**answer, "label": "malignant"},
        {**answer, "probabilities": [0.25 + TOLERANCE * 2, 0.75]},
        {**answer, "probabilities": [0.25]},
        {"label": "benign"},
    ):
        assert differences(answer, other, TOLERANCE)


def test_measured_rows_replace_those_of_their_names(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Others stay as they were, also when one function measures both."""

    def measure(value: float) -> Iterator[Row]:
        for name in ("a.one", "a.two"):
            yield Row(name=name, value=value, unit="x", baseline="b", goal=1, runs=[value], cause="c")

    def run(row: str, value: float) -> dict[str, float]:
        found = [Measurement(("a.one", "a.two"), lambda: measure(value))]
        monkeypatch.setattr(bench, "collect", lambda: found)
        monkeypatch.setattr("sys.argv", ["bench", row])
        bench.main()
        return {row["name"]: row["value"] for row in results.read()["rows"]}

    monkeypatch.setattr(results, "RESULTS", tmp_path / "results.json")
    monkeypatch.setattr(results, "commit", lambda: "0" * 40)
    assert run("", 1) == {"a.one": 1, "a.two": 1}
    assert run("a.two", 2) == {"a.one": 1, "a.two": 2}
    assert "a.two: c." in capsys.readouterr().out


def test_the_former_option_for_documents_still_works(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It names the new command, and runs it."""
    modules: list[str] = []
    monkeypatch.setattr("runpy.run_module", lambda name, **_: modules.append(name))
    monkeypatch.setattr("sys.argv", ["bench", "--document"])
    bench.main()
    assert modules == ["tools.docs"]
    assert "python -m tools.docs" in capsys.readouterr().err
