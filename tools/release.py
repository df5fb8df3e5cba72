"""Check that a tag can be released, and print what changed: ``python -m tools.release v0.1.0``.

The tag is the version of pyproject.toml, and CHANGELOG.md has a part of that version with its date.
"""

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_PART = re.compile(
    r"^## (?P<version>[^\s,]+)(?:, (?P<date>[^\n]+))?$\n(?P<text>.*?)(?=^## |\Z)", re.DOTALL | re.MULTILINE
)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


def write_notes(tag: str, project: str, changelog: str) -> str:
    """Return the changelog's part of a tag's version.

    Args:
        tag: such as ``v0.1.0``.
        project: text of pyproject.toml.
        changelog: text of CHANGELOG.md, whose parts begin with ``## VERSION, DATE``.

    Raises:
        ValueError: the tag is not the project's version, or the changelog has no such part with a date.

    """
    version = tomllib.loads(project)["project"]["version"]
    if tag != f"v{version}":
        raise ValueError(f"the tag is {tag}, and pyproject.toml has version {version}: tag v{version}")
    for part in _PART.finditer(changelog):
        if part["version"] == version:
            if not _DATE.fullmatch(part["date"] or ""):
                raise ValueError(f"CHANGELOG.md has no date for {version}: write '## {version}, YYYY-MM-DD'")
            return part["text"].strip() + "\n"
    raise ValueError(f"CHANGELOG.md has no part '## {version}, YYYY-MM-DD': write what changed")


def main() -> int:
    """Print the notes, or what is missing."""
    if len(sys.argv) != 2:  # noqa: PLR2004
        print("usage: python -m tools.release TAG", file=sys.stderr)
        return 2
    texts = ((ROOT / name).read_text(encoding="utf-8") for name in ("pyproject.toml", "CHANGELOG.md"))
    try:
        print(write_notes(sys.argv[1], *texts), end="")
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
