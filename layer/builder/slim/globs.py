"""Globs of recipes over a tree's files: ``*`` stays in a folder, ``**`` crosses folders."""

import functools
import re
from collections.abc import Iterable

_PARTS = re.compile(r"(\*\*/|\*\*|\*|\?|\[[^]]+\])")
_MEANINGS = {"**/": r"(?:[^/]+/)*", "**": r".*", "*": r"[^/]*", "?": r"[^/]"}


@functools.cache
def _compile(glob: str) -> re.Pattern[str]:
    parts = _PARTS.split(glob)
    return re.compile(
        "".join(
            _MEANINGS.get(part, part.replace("[!", "[^/")) if number % 2 else re.escape(part)
            for number, part in enumerate(parts)
        )
    )


def matches(path: str, globs: Iterable[str]) -> bool:
    """Return whether one of the globs matches a whole path, written with ``/``."""
    return any(_compile(glob).fullmatch(path) for glob in globs)
