"""Which pages the site has, in which order, and where links of a page lead there.

``docs/index.md`` is the one list of the pages: its tables are the site's navigation. README.md is the first
page. Pages outside of ``docs`` that it lists have a place in the site, and every other file of the project
is linked where its repository shows it.
"""

import posixpath
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

HOME, INDEX = "README.md", "docs/index.md"
PROJECT = ("CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")
DECISIONS = "docs/decisions/README.md"
_SECTION = re.compile(r"^## (.+)$|^\| \[([^\]]+)\]\(([^)#]+)(#[^)]*)?\)", re.MULTILINE)
_FENCE = re.compile(r"(^[ \t]*```.*?^[ \t]*```|`[^`\n]*`)", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"(\]\(|\b(?:src|href)=\")(?![a-z]+:|#)([^)\s\"#]+)")

Navigation = list[dict[str, "str | Navigation"]]


def list_pages(root: Path) -> dict[str, str]:
    """Return the pages of the site, by their paths in the project: where each lies in the site."""
    pages = {HOME: "index.md", INDEX: "contents.md"}
    pages |= {path: path.removeprefix("docs/") for path in _list_docs(root) if path not in pages}
    pages |= {path: f"project/{path.lower()}" for path in PROJECT}
    readmes = [*sorted(root.glob("examples/*/README.md")), *sorted(root.glob("studies/*/README.md"))]
    for path in readmes:
        folder = path.parent.relative_to(root).as_posix()
        pages[f"{folder}/README.md"] = f"{folder}.md"
    return pages


def build_navigation(root: Path) -> Navigation:
    """Return the titles and pages of each section, as the tables of ``docs/index.md`` have them."""
    pages = list_pages(root)
    sections: dict[str, Navigation] = {}
    seen: set[str] = set()
    title = ""
    for heading, name, link, anchor in _SECTION.findall((root / INDEX).read_text(encoding="utf-8")):
        if heading:
            title = heading
            continue
        path = _resolve(root, "docs", link)
        if anchor or path in seen:  # a part of a page that stands elsewhere
            continue
        seen.add(path)
        entry: str | Navigation = pages[path]
        if path == DECISIONS:
            listed = [one for one in pages if one.startswith("docs/decisions/") and one != DECISIONS]
            entry = [{name: pages[DECISIONS]}, *({_read_title(root / one): pages[one]} for one in listed)]
        if path == "docs/examples.md":
            listed = [one for one in pages if one.startswith("examples/")]
            entry = [{name: pages[path]}, *({_read_title(root / one): pages[one]} for one in listed)]
        sections.setdefault(title, []).append({name: entry})
    project: Navigation = [{_read_title(root / path): pages[path]} for path in PROJECT]
    start: Navigation = [{"Start": pages[HOME]}, {"All pages": pages[INDEX]}]
    return [{"Start": start}, *({name: entries} for name, entries in sections.items()), {"Project": project}]


def rewrite_links(text: str, path: str, pages: Mapping[str, str], root: Path, repository: str) -> str:
    """Return a page's text with links as they are in the site.

    ``path`` is the page's in the project. Files of ``docs`` lie in the site, others at ``repository``.
    Code stays as it is.
    """
    here = posixpath.dirname(pages[path])

    def lead(match: re.Match[str]) -> str:
        target = _resolve(root, posixpath.dirname(path), match[2])
        if target in pages:
            return match[1] + posixpath.relpath(pages[target], here or ".")
        if target.startswith("docs/"):
            return match[1] + posixpath.relpath(target.removeprefix("docs/"), here or ".")
        kind = "tree" if (root / target).is_dir() else "blob"
        return f"{match[1]}{repository}/{kind}/main/{target}"

    parts = _FENCE.split(text)
    parts[::2] = [_LINK.sub(lead, part) for part in parts[::2]]
    return "".join(parts)


def list_linked(navigation: Navigation) -> Iterator[str]:
    """Yield every page that a navigation names."""
    for entry in navigation:
        for target in entry.values():
            yield from [target] if isinstance(target, str) else list_linked(target)


def _list_docs(root: Path) -> Iterator[str]:
    for path in sorted((root / "docs").rglob("*.md")):
        yield path.relative_to(root).as_posix()


def _resolve(root: Path, folder: str, link: str) -> str:
    """Return the path in the project that a link from a folder leads to; of a folder, that of its page."""
    path = posixpath.normpath(posixpath.join(folder, link))
    return f"{path}/README.md" if (root / path / "README.md").is_file() else path


def _read_title(page: Path) -> str:
    return page.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")
