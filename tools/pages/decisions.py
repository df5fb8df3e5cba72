"""The list of the decisions, from their titles."""

from pathlib import Path

DOCUMENT = "docs/decisions/README.md"
_HEAD = """# Decisions

For you if you ask why something is not done the other way: each page says what was chosen, and over what.

"""


def make_page(root: Path) -> str:
    """Return the page's text: a line a decision, in the order of their numbers."""
    pages = sorted((root / DOCUMENT).parent.glob("[0-9]*.md"))
    titles = (
        (path.name, path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")) for path in pages
    )
    return _HEAD + "".join(f"- [{title}]({name})\n" for name, title in titles)
