"""Everything in the documents that is generated is what its data say."""

import sys
from functools import partial
from pathlib import Path

import pytest
from support.project import ROOT

from tools import docs
from tools.markers import replace_part

DOCUMENTS = docs.make_documents()


@pytest.mark.parametrize("name", DOCUMENTS)
def test_what_is_committed_is_what_the_data_say(name: str) -> None:
    """`python -m tools.docs` writes the same as is committed."""
    assert (ROOT / name).read_text(encoding="utf-8") == DOCUMENTS[name]


def test_no_chart_is_left_over() -> None:
    """A chart of rows that are gone is gone."""
    assert docs.find_stale(DOCUMENTS) == []


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with two documents, of which one is out of date, and a chart that nothing draws."""
    (tmp_path / "docs" / "images").mkdir(parents=True)
    (tmp_path / "docs" / "images" / "bench-old.svg").write_text("<svg/>")
    (tmp_path / "docs" / "new.md").write_text("new")
    (tmp_path / "docs" / "old.md").write_text("old")
    monkeypatch.setattr(docs, "ROOT", tmp_path)
    monkeypatch.setattr(docs, "find_stale", partial(docs.find_stale, root=tmp_path))
    monkeypatch.setattr(docs, "make_documents", lambda: {"docs/new.md": "new", "docs/old.md": "newer"})
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run the command and return its exit code."""
    monkeypatch.setattr(sys, "argv", ["docs", *arguments])
    with pytest.raises(SystemExit) as ended:
        docs.main()
    return int(ended.value.code or 0)


def test_check_names_what_is_out_of_date_and_changes_nothing(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And exits with 1."""
    assert run(monkeypatch, "--check") == 1
    printed = capsys.readouterr().out
    assert "docs/old.md is out of date" in printed
    assert "docs/images/bench-old.svg is out of date" in printed
    assert "new.md" not in printed
    assert (project / "docs" / "old.md").read_text() == "old"


def test_writing_replaces_what_was_there(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Documents get their text, and charts of other rows go; a second time there is nothing to do."""
    assert run(monkeypatch) == 0
    assert (project / "docs" / "old.md").read_text() == "newer"
    assert not (project / "docs" / "images" / "bench-old.svg").exists()
    assert run(monkeypatch, "--check") == 0


def test_a_part_is_replaced_and_what_is_around_it_stays() -> None:
    """Nothing but the lines between the markers."""
    document = "before\n<!-- table -->\nold\n<!-- end table -->\nafter\n"
    assert replace_part("page.md", document, "table", "new\n") == document.replace("old", "new")


def test_a_document_without_a_part_says_what_is_missing() -> None:
    """It is not appended somewhere."""
    with pytest.raises(ValueError, match=r"page\.md .*<!-- bench -->"):
        replace_part("page.md", "no markers", "bench", "part")
