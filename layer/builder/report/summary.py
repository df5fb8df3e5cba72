"""Sums of a report's facts, for the table and the page."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from layer.builder.report.facts import File, Removed, Report


@dataclass(frozen=True)
class Step:
    """What a step or rule took out of all packages."""

    step: str
    reason: str
    files: int
    bytes: int
    packages: tuple[tuple[str, int], ...]


def by_step(report: Report) -> list[Step]:
    """Return the steps, that which took out most first, each with its packages in the same order."""
    grouped: dict[str, list[Removed]] = {}
    for one in report.removed:
        grouped.setdefault(one.step_or_rule, []).append(one)
    steps = []
    for step, rows in grouped.items():
        packages: Counter[str] = Counter()
        for row in rows:
            packages[row.package] += row.bytes
        reason = "; ".join(dict.fromkeys(row.reason for row in rows))
        files = sum(row.files for row in rows)
        steps.append(Step(step, reason, files, sum(packages.values()), tuple(packages.most_common())))
    return sorted(steps, key=lambda one: (-one.bytes, one.step))


def by_package(files: Iterable[File]) -> list[tuple[str, int, int]]:
    """Return every package's name, number of files and bytes, the largest first."""
    sizes: dict[str, list[int]] = {}
    for file in files:
        sizes.setdefault(file.package, []).append(file.bytes)
    rows = [(package, len(own), sum(own)) for package, own in sizes.items()]
    return sorted(rows, key=lambda row: (-row[2], row[0]))


def plain(text: str) -> str:
    """Return a text in which what no terminal or page should be given is escaped."""
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)
