"""What is kept of sources when a tree is compiled: nothing, but for packages that read them.

numpy before 2.4 wants docstrings when it is imported, torch.jit wants sources. Which packages do is found by
trying: without docstrings and sources, every import and the prediction must end as they do with them. The
modules that a failure leads through keep their docstrings, then those that the last one imports, then its
package, which may keep its sources as well, until nothing differs. A package whose functions would fail
without docstrings keeps them; nobody may have called these functions.
"""

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from layer.builder.errors import CompileError

NOTHING, DOCSTRINGS, SOURCES = range(3)
"""How much of a package's sources is kept; sources hold docstrings."""

_LINE = re.compile(r"# keeps (docstrings|sources) of: ?(.*)")
_LEVELS = {"docstrings": DOCSTRINGS, "sources": SOURCES}


@dataclass(frozen=True)
class Kept:
    """The packages and modules of a tree that keep docstrings or sources, each with how much."""

    levels: dict[str, int] = field(default_factory=dict)

    def get(self, package: str, module: str = "") -> int:
        """Return how much a package keeps, or a module of it."""
        return max(self.levels.get(package, NOTHING), self.levels.get(module, NOTHING))

    def names(self, level: int) -> list[str]:
        """Return the packages and modules that keep so much."""
        return sorted(package for package, own in self.levels.items() if own == level)

    def format(self) -> list[str]:
        """Return the lines that a lock has of it."""
        return [
            f"# keeps {name} of: {' '.join(self.names(level))}".rstrip() for name, level in _LEVELS.items()
        ]

    def format_levels(self) -> str:
        """Return what is left, by level and package; empty if it is nothing."""
        parts = [f"{name} of {', '.join(_count_modules(names))}" for name, level in _LEVELS.items()
                 if (names := self.names(level))]  # fmt: skip
        return f"with the {' and the '.join(parts)}" if parts else ""

    def describe(self) -> str:
        """Return what is left, for the report."""
        return f"; {parts}, which are read" if (parts := self.format_levels()) else ""


@dataclass(frozen=True)
class Failure:
    """A difference that compiling made, and the modules that it leads through, the outermost first."""

    text: str
    modules: tuple[str, ...] = ()
    lacks: int = DOCSTRINGS  # or SOURCES, if files were looked for


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
    list_imported: Callable[[str], Iterable[str]] = lambda _: (),
) -> Kept:
    """Return the least that must be kept for an attempt to have no failures, starting with ``first``.

    Packages that are ``documented`` keep their docstrings, whatever an attempt says. ``list_imported`` names
    the modules from which a module has what it imports: it may read their docstrings.
    """
    packages = sorted(packages)
    attempt = _remember(attempt)
    least = {package: DOCSTRINGS for package in documented if package in packages}
    guessed = {name: level for name, level in first.levels.items() if _get_package(name) in packages}
    levels = _drop_implied(guessed | {one: max(level, first.get(one)) for one, level in least.items()})
    while failures := attempt(Kept(levels)):
        additions = [_find_more(failure, packages, levels, list_imported) for failure in _unite(failures)]
        if not all(additions):
            return _reduce(least | _search(packages, attempt, failures), least, attempt)
        levels = _drop_implied(levels | dict(one for addition in additions for one in addition.items()))
    return _reduce(levels, least, attempt)


def _get_package(module: str) -> str:
    return module.partition(".")[0]


def _drop_implied(levels: Mapping[str, int]) -> dict[str, int]:
    """Return the same without modules whose packages keep as much."""
    return {
        name: level for name, level in levels.items()
        if name == (package := _get_package(name)) or levels.get(package, NOTHING) < level
    }  # fmt: skip


def _count_modules(names: Sequence[str]) -> list[str]:
    """Return the packages among names, and others with the number of their modules."""
    counts = Counter(_get_package(name) for name in names if "." in name)
    counted = [f"{package} ({count} module{'s' * (count > 1)})" for package, count in counts.items()]
    return sorted([*(name for name in names if "." not in name), *counted])


def _remember(attempt: Callable[[Kept], list[Failure]]) -> Callable[[Kept], list[Failure]]:
    """Return an attempt that is made once for what is kept."""
    known: dict[frozenset[tuple[str, int]], list[Failure]] = {}

    def attempt_once(kept: Kept) -> list[Failure]:
        key = frozenset((package, level) for package, level in kept.levels.items() if level)
        if key not in known:
            known[key] = attempt(kept)
        return known[key]

    return attempt_once


def _unite(failures: Sequence[Failure]) -> list[Failure]:
    """Return a failure for all that end in the same module, with the modules that each leads through."""
    ends: dict[tuple[str, ...], list[Failure]] = {}
    for failure in failures:
        ends.setdefault(failure.modules[-1:], []).append(failure)
    return [
        replace(
            first, modules=tuple(one for one in first.modules if all(one in other.modules for other in rest))
        )
        for first, *rest in ends.values()
    ]


def _find_more(
    failure: Failure,
    packages: Collection[str],
    levels: Mapping[str, int],
    list_imported: Callable[[str], Iterable[str]],
) -> dict[str, int]:
    """Return what may end a failure, of its innermost package that could keep more; empty if none could."""
    for module in reversed(failure.modules):
        package = _get_package(module)
        level = levels.get(package, NOTHING)
        if package not in packages or level == SOURCES:
            continue
        if level > NOTHING or failure.lacks == SOURCES:
            return {package: SOURCES}
        for names in (failure.modules, list_imported(module)):
            more = [
                name for name in names if "." in name and levels.keys().isdisjoint({name, _get_package(name)})
            ]
            if more:
                return dict.fromkeys(more, DOCSTRINGS)
        return {package: DOCSTRINGS}
    return {}


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
    """Return the same with whatever packages do not need taken back, one after the other."""
    for package in sorted(name for name in levels if "." not in name):
        lowest = least.get(package, NOTHING)
        while levels[package] > lowest and not attempt(Kept({**levels, package: levels[package] - 1})):
            levels = {**levels, package: levels[package] - 1}
    return Kept({name: level for name, level in levels.items() if level})
