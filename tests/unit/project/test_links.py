"""Links in Markdown lead somewhere."""

import re
import subprocess
from pathlib import Path

import pytest
from support.project import ROOT

PAGES = subprocess.run(
    ["/usr/bin/env", "git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard", "*.md"],
    check=True,
    capture_output=True,
    text=True,
).stdout.splitlines()


def find_anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


WRITTEN = [name for name in PAGES if (ROOT / name).exists() and not name.startswith("tools/")]
"""Without the texts of pages that are made of them, whose links lead on from there."""


@pytest.mark.parametrize("name", WRITTEN)
def test_links_lead_somewhere(name: str) -> None:
    """Every relative link names a file or a folder that is there, and a heading that it has."""
    page = ROOT / name
    for link in re.findall(r"\]\((?!\w+:)([^)\s]+)\)", page.read_text(encoding="utf-8")):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in find_anchors(target), link


def test_the_index_has_every_page() -> None:
    """A page that nobody can find is none."""
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    for name in PAGES:
        path = Path(name).relative_to("docs").as_posix() if name.startswith("docs/") else ""
        if path and path != "index.md" and not path.startswith("decisions/"):
            assert f"]({path})" in index, name


@pytest.mark.parametrize(
    "name", [name for name in WRITTEN if re.match(r"docs/|examples/|studies/|(?!README)[A-Z]+\.md$", name)]
)
def test_a_page_says_who_it_is_for(name: str) -> None:
    """In the line below its title, so that a reader who is not meant can leave; the README is for all."""
    title, empty, line = (ROOT / name).read_text(encoding="utf-8").splitlines()[:3]
    assert title.startswith("# ")
    assert not empty
    assert line.startswith("For you if ")


def test_the_glossary_stays_short() -> None:
    """At most 30 terms, each once and in their order."""
    page = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    terms = re.findall(r"^\| ([^|]+) \|", page, re.MULTILINE)[1:]
    terms = [term for term in terms if not term.startswith("-")]
    assert terms == sorted(set(terms))
    assert len(terms) <= 30
