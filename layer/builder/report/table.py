"""The report for a terminal."""

import textwrap
from collections.abc import Sequence

from layer.builder.report.facts import Report
from layer.builder.report.summary import by_package, by_step, plain

_WIDTH = 100
_SHOWN = 12


def format_table(report: Report) -> str:
    """Return the report for a terminal: what was taken out, what is in, and the verdict."""
    out = [(group.step, group.files, group.bytes) for group in by_step(report)]
    if report.stripped.files:
        out.append(("stripped of symbols", report.stripped.files, report.stripped.savings))
    total = sum(file.bytes for file in report.files)
    inside = by_package(report.files)
    rows: list[tuple[str, int, int] | str] = ["TAKEN OUT"]
    rows += [(f"  {name}", files, count) for name, files, count in sorted(out, key=lambda row: -row[2])]
    rows += [("  together", sum(row[1] for row in out), sum(row[2] for row in out)), "", "IN"]
    rows += [(f"  {name}", files, count) for name, files, count in inside[:_SHOWN]]
    if rest := inside[_SHOWN:]:
        several = f"  {len(rest):,} other packages"
        rows.append((several, sum(row[1] for row in rest), sum(row[2] for row in rest)))
    rows.append(("  together", len(report.files), total))
    lines = [*_align(rows), ""]
    budget = report.budget
    sums = f"{budget.function:,} function + {budget.layer:,} layer = {budget.total:,}"
    facts = [
        ("budget", f"{sums} of {budget.limit:,} bytes"),
        ("verdict", report.verdict),
        ("proof", f"{report.proof.label}: {report.proof.how}"),
    ]
    if packed := report.archive:
        text = f"{packed.bytes:,} bytes for {packed.files:,} files of {packed.tree_bytes:,} bytes"
        facts[:0] = [("archive", text), ("plan", report.reason)]
    facts[:0] = [
        ("split", f"{one.path}: {one.before:,} bytes as {one.after:,}; {one.hot:,} of its code as they are")
        for one in report.split
    ]
    for name, text in facts:
        hang = f"{name:<9}"
        lines += textwrap.wrap(plain(text), _WIDTH, initial_indent=hang, subsequent_indent=" " * len(hang))
    return "\n".join(lines)


def _align(rows: Sequence[tuple[str, int, int] | str]) -> list[str]:
    texts = [row if isinstance(row, str) else (plain(row[0]), f"{row[1]:,}", f"{row[2]:,}") for row in rows]
    cells = [row for row in texts if not isinstance(row, str)]
    files, total = (max(len(row[i]) for row in [("", "files", "bytes"), *cells]) for i in (1, 2))
    room = _WIDTH - files - total - 4
    first = min(room, max(len(row[0]) for row in cells))
    lines = []
    for row in texts:
        if not row:
            lines.append("")
            continue
        name, *counts = (row, "files", "bytes") if isinstance(row, str) else row
        name = name if len(name) <= first else name[: first - 1] + "…"
        lines.append(f"{name:<{first}}  {counts[0]:>{files}}  {counts[1]:>{total}}")
    return lines
