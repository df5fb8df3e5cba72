"""The site has every page, each in its place, and links lead there or into the repository."""

import posixpath
import re
from pathlib import Path

import pytest
from support.project import ROOT

from tools.site.pages import build_navigation, list_linked, list_pages, rewrite_links

PAGES = list_pages(ROOT)
NAVIGATION = build_navigation(ROOT)


def test_the_navigation_names_every_page_once() -> None:
    """A page that is not in it is found by nobody."""
    assert sorted(list_linked(NAVIGATION)) == sorted(PAGES.values())
    assert {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")} < set(PAGES)


def test_the_navigation_is_the_index() -> None:
    """Its sections are those of docs/index.md, in their order, between the first page and the project's."""
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    titles = [title for section in NAVIGATION for title in section]
    assert titles == ["Start", *re.findall(r"^## (.+)$", index, re.MULTILINE), "Project"]


def test_no_two_pages_have_one_place() -> None:
    """README.md is the first page; those outside of docs have folders of their own."""
    assert len(set(PAGES.values())) == len(PAGES)
    assert PAGES["README.md"] == "index.md"


@pytest.mark.parametrize(
    ("page", "link", "place"),
    [
        ("README.md", "docs/layers.md#what-fits", "layers.md#what-fits"),
        ("README.md", "docs/images/demo.svg", "images/demo.svg"),
        ("README.md", "LICENSE", "https://host/x/blob/main/LICENSE"),
        ("docs/how-to/sam.md", "../../README.md", "../index.md"),
        ("docs/how-to/sam.md", "../layers.md", "../layers.md"),
        ("docs/how-to/sam.md", "iam/caller.json", "iam/caller.json"),
        ("docs/how-to/sam.md", "../../models/en-es", "https://host/x/blob/main/models/en-es/README.md"),
        ("docs/how-to/sam.md", "../../events", "https://host/x/tree/main/events"),
        ("docs/index.md", "decisions/", "decisions/README.md"),
        ("examples/spacy_function/README.md", "../../docs/cost.md", "../cost.md"),
        ("docs/cost.md", "https://aws.amazon.com/s3", "https://aws.amazon.com/s3"),
        ("docs/cost.md", "#measured", "#measured"),
    ],
)
def test_links_lead_to_the_page_or_the_repository(page: str, link: str, place: str) -> None:
    """By the path from the page's own place; what is outside is left alone."""
    assert rewrite_links(f"a [b]({link}) c", page, PAGES, ROOT, "https://host/x") == f"a [b]({place}) c"


def test_pictures_in_html_are_rewritten_and_code_is_not() -> None:
    """A program may hold brackets."""
    text = '<img src="../images/viewer.png"> `[a](b.md)`\n\n```\n[a](b.md)\n```\n'
    assert rewrite_links(text, "docs/how-to/results.md", PAGES, ROOT, "") == text


@pytest.mark.parametrize("path", PAGES)
def test_every_link_of_a_page_is_there(path: str) -> None:
    """In the site as in the project: a page, or a file beside the pages."""
    text = rewrite_links((ROOT / path).read_text(encoding="utf-8"), path, PAGES, ROOT, "https://host/x")
    here = posixpath.dirname(PAGES[path])
    for link in re.findall(r"\]\((?!\w+:|#)([^)\s#]+)|src=\"([^\"]+)\"", text):
        place = posixpath.normpath(posixpath.join(here, *filter(None, link)))
        assert place in PAGES.values() or (ROOT / "docs" / place).is_file(), place


def test_a_section_of_a_page_is_not_listed_twice(tmp_path: Path) -> None:
    """An index may name a page again, or a part of one."""
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "docs/a.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"# {name}\n")
    (tmp_path / "docs" / "index.md").write_text(
        "# I\n\n## One\n| [A](a.md) |\n## Two\n| [B](a.md#b) |\n| [A](a.md) |\n"
    )
    assert build_navigation(tmp_path)[1:-1] == [{"One": [{"A": "a.md"}]}]


def test_every_package_of_the_site_is_pinned_by_hash() -> None:
    """A file that is another one is refused."""
    text = (ROOT / "tools" / "site" / "requirements.txt").read_text(encoding="utf-8")
    entries = [one for one in re.split(r"(?m)^(?=[A-Za-z])", text) if not one.startswith("#")]
    assert any(one.startswith("mkdocs-material==") for one in entries)
    for one in entries:
        assert re.match(r"[\w.-]+==\S+ ", one), one
        assert "--hash=sha256:" in one, one
