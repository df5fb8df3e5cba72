"""Posts about the same by hand, beside the examples: the part of docs/examples.md that has numbers.

Figures of posts are their own, and stand in texts/posts.md. Braces there name rows, whose values are ours.
"""

import re
from collections.abc import Mapping
from pathlib import Path

PART = (Path(__file__).parent / "texts" / "posts.md").read_text(encoding="utf-8")

_ROW = re.compile(r"\{([a-z0-9_.]+)\}")


def list_rows() -> list[str]:
    """Return the names of the rows in the part."""
    return _ROW.findall(PART)


def fill_part(values: Mapping[str, str]) -> str:
    """Return the part with the values of rows by their names; a missing one reads "(not measured)"."""
    return _ROW.sub(lambda match: values.get(match[1], "(not measured)"), PART)
