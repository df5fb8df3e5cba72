"""The libraries' entries and records, and what is made of them."""

import ast
from dataclasses import replace

import pytest

from bench.packages import catalogue, records, summary, timing
from bench.packages.measure import shorten
from bench.packages.records import Record
from layer.builder.recipe import ROOT
from tools.pages import packages as page

PACKAGES = catalogue.read()
RECORD = Record(
    package="numpy", target="host", runtime="python3.11", entry=PACKAGES["numpy"].digest,
    builder=records.digest_builder(), versions={"numpy": "2.4.6"},
    bytes={"pip": 40_000_000, "usual": 20_000_000, "ours": 10_000_000}, largest=1_000_000,
    imports={"pip": [0.8, 0.9, 1.0], "usual": [0.3, 0.4, 0.5]},
    verdict="proven", reason="it answers", other="same",
)  # fmt: skip


@pytest.mark.parametrize("name", PACKAGES)
def test_a_library_has_two_short_scripts_that_differ(name: str) -> None:
    """Each has ``answer``; the traced one has at most ten lines."""
    package = PACKAGES[name]
    for script in (package.smoke, package.other):
        functions = [node.name for node in ast.parse(script).body if isinstance(node, ast.FunctionDef)]
        assert "answer" in functions
    assert len([line for line in package.smoke.splitlines() if line.strip()]) <= 10
    assert package.smoke != package.other


def test_a_record_is_read_as_it_was_written(tmp_path) -> None:
    """And there is none for another target."""
    records.write(RECORD, tmp_path)
    assert records.read("numpy", "host", tmp_path) == RECORD
    assert records.read("numpy", "python3.13-arm64", tmp_path) is None


def test_a_record_stands_while_entry_and_builder_are_the_same() -> None:
    """One of another builder, or of other scripts, is measured again."""
    assert records.is_current(RECORD, PACKAGES["numpy"])
    assert not records.is_current(replace(RECORD, builder="other"), PACKAGES["numpy"])
    assert not records.is_current(RECORD, replace(PACKAGES["numpy"], other=""))
    assert not records.is_current(None, PACKAGES["numpy"])


def test_a_library_whose_second_script_answers_otherwise_is_not_proven() -> None:
    """The proof of the first one does not count then."""
    wrong = replace(RECORD, other="answer: 1, not 2")
    assert summary.count_proven([RECORD, wrong]) == 1
    assert "the second script: answer: 1, not 2" in page.list_unproven({"host": {"numpy": wrong}})


@pytest.mark.parametrize("target", catalogue.TARGETS)
def test_no_layer_is_larger_than_the_usual_slimming_leaves_it(target) -> None:
    """Of all that are recorded; by one byte is larger."""
    sizes = {record.package: summary.compare_size(record) for record in summary.read_records(target)}
    assert not {name: size for name, size in sizes.items() if size is not None and size > 1}
    larger = replace(RECORD, bytes={"usual": 20_000_000, "ours": 20_000_001})
    assert summary.compare_size(larger) > 1


def test_packages_that_are_one_library_are_apart() -> None:
    """A library that was not built has no ratio."""
    single = replace(RECORD, largest=19_000_000, bytes={**RECORD.bytes, "ours": 20_000_000})
    failed = replace(RECORD, verdict="failed", bytes={"pip": 2, "usual": 1})
    found = [RECORD, single, failed]
    assert summary.list_sizes(found, one_library=False) == [0.5]
    assert summary.list_sizes(found, one_library=True) == [1.0]
    assert summary.list_import_times(found[:1], "usual") == [0.4]


def test_a_row_has_sizes_ratio_times_and_proof() -> None:
    """A target without a record has an empty cell."""
    assert page.draw({"host": {"numpy": RECORD}, "python3.13-arm64": {}}, ["numpy"]).splitlines()[-1] == (
        "| numpy 2.4.6 | 40.0, 20.0, 10.0 (0.50) |  | 0.40 | 0.90 | x86_64, Python 3.11 |"
    )


def test_ratios_of_trees_that_cannot_be_imported_are_left_out() -> None:
    """The others are divided repetition by repetition."""
    assert timing.divide({"pip": [2.0, 4.0], "usual": [], "ours": [1.0, 1.0]}) == {"pip": [0.5, 0.25]}


def test_an_error_is_recorded_without_paths_of_the_machine(tmp_path) -> None:
    """So that two machines record the same."""
    text = f"{tmp_path}/.build-x1/tree/a.so is for x, {ROOT}/layer/a.py"
    assert shorten(text, tmp_path) == "tree/a.so is for x, layer/a.py"
