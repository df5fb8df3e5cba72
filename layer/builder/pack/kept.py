"""What is kept of sources when a tree is compiled: nothing, but for packages that read them.

numpy before 2.4 wants docstrings when it is imported, torch.jit wants sources. Which packages do is found by
trying: without docstrings and sources, every import and the prediction must end as they do with them. The
packages that a failure leads through keep their docstrings, then their sources, until nothing differs. So do
those whose functions would fail without docstrings; nobody may have called these functions.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from layer.builder.errors import CompileError

NOTHING, DOCSTRINGS, SOURCES = range(3)
"""How much of a package's sources is kept; sources hold docstrings."""

_LINE = re.compile(r"# keeps (docstrings|sources) of: ?(.*)")
_LEVELS = {"docstrings": DOCSTRINGS, "sources": SOURCES}


@dataclass(frozen=True)
class Kept:
    """The packages of a tree that keep docstrings or sources, each with how much."""

    levels: dict[str, int] = field(default_factory=dict)

    def get(self, package: str) -> int:
        """Return how much a package keeps."""
        return self.levels.get(package, NOTHING)

    def names(self, level: int) -> list[str]:
        """Return the packages that keep so much."""
        return sorted(package for package, own in self.levels.items() if own == level)

    def format(self) -> list[str]:
        """Return the lines that a lock has of it."""
        return [
            f"# keeps {name} of: {' '.join(self.names(level))}".rstrip() for name, level in _LEVELS.items()
        ]

    def format_levels(self) -> str:
        """Return what is left, by level; empty if it is nothing."""
        parts = [f"{name} of {', '.join(self.names(level))}" for name, level in _LEVELS.items()
                 if self.names(level)]  # fmt: skip
        return f"with the {' and the '.join(parts)}" if parts else ""

    def describe(self) -> str:
        """Return what is left, for the report."""
        return f"; {parts}, which are read" if (parts := self.format_levels()) else ""


@dataclass(frozen=True)
class Failure:
    """A difference that compiling made, and the packages that it leads through, the outermost first."""

    text: str
    packages: tuple[str, ...] = ()


def parse(lines: Iterable[str]) -> Kept | None:
    """Return what a lock's lines say, or None if they say nothing."""
    matches = [match for line in lines if (match := _LINE.fullmatch(line))]
    if not matches:
        return None
    return Kept({package: _LEVELS[match[1]] for match in matches for package in match[2].split()})


def is_line(line: str) -> bool:
    """Return whether a lock's line is about this."""
    return bool(_LINE.fullmatch(line))


def decide(
    packages: Iterable[str],
    first: Kept,
    attempt: Callable[[Kept], list[Failure]],
    documented: Collection[str] = (),
) -> Kept:
    """Return the least that must be kept for an attempt to have no failures, starting with ``first``.

    Packages that are ``documented`` keep their docstrings, whatever an attempt says.
    """
    packages = sorted(packages)
    attempt = _remember(attempt)
    least = {package: DOCSTRINGS for package in documented if package in packages}
    levels = least | {package: level for package, level in first.levels.items() if package in packages}
    while failures := attempt(Kept(levels)):
        suspects = {_get_suspect(failure, packages, levels) for failure in failures}
        if None in suspects:
            return _reduce(least | _search(packages, attempt, failures), least, attempt)
        for package in filter(None, suspects):
            levels[package] = levels.get(package, NOTHING) + 1
    return _reduce(levels, least, attempt)


def _remember(attempt: Callable[[Kept], list[Failure]]) -> Callable[[Kept], list[Failure]]:
    """Return an attempt that is made once for what is kept."""
    known: dict[frozenset[tuple[str, int]], list[Failure]] = {}

    def attempt_once(kept: Kept) -> list[Failure]:
        key = frozenset((package, level) for package, level in kept.levels.items() if level)
        if key not in known:
            known[key] = attempt(kept)
        return known[key]

    return attempt_once


def _get_suspect(failure: Failure, packages: list[str], levels: dict[str, int]) -> str | None:
    """Return the innermost package of a failure that could keep more."""
    known = (package for package in reversed(failure.packages) if package in packages)
    return next((package for package in known if levels.get(package, NOTHING) < SOURCES), None)


def _search(
    packages: list[str], attempt: Callable[[Kept], list[Failure]], failures: list[Failure]
) -> dict[str, int]:
    """Return packages whose sources must be kept, found by halving, for a failure that names none."""
    if left := attempt(Kept(dict.fromkeys(packages, SOURCES))):
        raise CompileError(
            f"compiled to bytecode, the tree answers differently, even with all sources kept: {left[0].text}"
        )
    found: list[str] = []
    while attempt(Kept(dict.fromkeys(found, SOURCES))) if found else failures:
        low, high = (
            0,
            len(packages),
        )  # with the first `high` packages nothing fails, with `low` something does
        while high - low > 1:
            middle = (low + high) // 2
            if attempt(Kept(dict.fromkeys([*found, *packages[:middle]], SOURCES))):
                low = middle
            else:
                high = middle
        found.append(packages[high - 1])
    return dict.fromkeys(found, SOURCES)


def _reduce(
    levels: dict[str, int], least: Mapping[str, int], attempt: Callable[[Kept], list[Failure]]
) -> Kept:
    """Return the same with whatever is not needed taken back, package after package."""
    for package in sorted(levels):
        lowest = least.get(package, NOTHING)
        while levels[package] > lowest and not attempt(Kept({**levels, package: levels[package] - 1})):
            levels = {**levels, package: levels[package] - 1}
    return Kept({package: level for package, level in levels.items() if level})
