"""The results as people see them: a page, parts of the README and of docs/examples.md, and charts.

All of it is made of results.json alone and is the same on every machine.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from bench.table import SIGNS, Record, covers, draw, escape, format_number
from layer.builder.report.treemap import format_bytes
from tools.markers import replace_part
from tools.pages import chart, posts

HIGHLIGHTS = (
    "cold_start",
    "layer.cold_start",
    "throughput.opennmt",
    "throughput.ctranslate2_float32",
    "throughput.ctranslate2_int8",
    "layer.size.opennmt",
    "layer.size.ctranslate2",
    "store.load_time",
    "results",
    "growth",
)
"""The rows that the first chart of the page shows, by name or beginning, in its order."""

SUMMARY = {
    "cold_start.opennmt": "cold start, to the first translation",
    "layer.cold_start": "unpacking, import and first translation, from a nested layer",
    "throughput.opennmt": "translation when warm",
}
"""The rows that the README shows, each with what it measures."""

README = "README.md"
EXAMPLES = "docs/examples.md"
DOCUMENT = "docs/performance.md"
IMAGES = "docs/images"
MARKER = "bench"

ABSOLUTE = ("bytes", "ms")
"""Beginnings of the units whose rows are drawn as parts of their goals. Ratios are drawn as they are."""

PROSE = (Path(__file__).parent / "texts" / "performance.md").read_text(encoding="utf-8").rstrip("\n")

WORDS = {"lower": "less", "higher": "more"}


def make_documents(results: Record, texts: Mapping[str, str]) -> dict[str, str]:
    """Return everything made of the results by its path; texts has the pages with a part between markers."""
    rows = results["rows"]
    charts = {f"bench-{area}.svg": draw_chart(area, group) for area, group in group_by_area(rows).items()}
    charts["bench.svg"] = draw_chart("", select_highlights(rows))
    return {
        DOCUMENT: make_page(results),
        README: replace_part(README, texts[README], MARKER, make_summary(results)),
        EXAMPLES: replace_part(EXAMPLES, texts[EXAMPLES], MARKER, compare_posts(results)),
        **{f"{IMAGES}/{name}": text for name, text in charts.items() if text},
    }


def make_page(results: Record) -> str:
    """Return the document with every row, a section an area."""
    rows = results["rows"]
    lines = [
        PROSE.format(
            count=len(rows),
            met=sum(row["met"] for row in rows),
            machine=describe_machine(results["machine"]),
            commit=results["commit"][:7],
            area=area_of(rows[0]),
            row=rows[0]["name"],
        )
    ]
    if draw_chart("", select_highlights(rows)):
        lines += ["", "![Ratios to the baselines, goals and runs](images/bench.svg)"]
    for area, group in group_by_area(rows).items():
        lines += ["", f"## {format_heading(area)}", ""]
        if draw_chart(area, group):
            lines += [f"![{format_heading(area)}: ratios, goals and runs](images/bench-{area}.svg)", ""]
        lines.append(draw(group))
    return "\n".join(lines) + "\n"


def make_summary(results: Record) -> str:
    """Return the README's part: a table of three rows, and how many goals are met."""
    rows = {row["name"]: row for row in results["rows"]}
    lines = ["| | value | compared with |", "|---|---|---|"]
    for name, meaning in SUMMARY.items():
        if row := rows.get(name):
            value = f"{format_value(row, row['value'])} {row['unit']}"
            miss = (
                ""
                if row["met"]
                else f", goal {SIGNS[row['better']]} {format_value(row, row['goal'])} **missed**"
            )
            lines.append(f"| {meaning} | {value}{miss} | {escape(name_baseline(row))} |")
    met = sum(row["met"] for row in rows.values())
    lines.append(
        f"\nMeasured on {describe_machine(results['machine'])}; not on Lambda. {met} of {len(rows)} "
        f"measurements meet their goals: [Performance]({DOCUMENT}) has every row with its runs, and why "
        "others miss theirs."
    )
    return "\n".join(lines) + "\n"


def name_baseline(row: Record) -> str:
    """Return what a row is compared with, without the file that measures it."""
    return re.sub(r" \(bench/[^)]*\)", "", row["baseline"])


def compare_posts(results: Record) -> str:
    """Return the part of the page about the examples: a table, and the machine of its numbers."""
    values = {row["name"]: format_value(row, row["value"]) for row in results["rows"]}
    return f"{posts.fill_part(values)}\nMeasured on {describe_machine(results['machine'])}; not on Lambda.\n"


def draw_chart(area: str, rows: Iterable[Record]) -> str:
    """Return the SVG of an area's rows, or without an area of several's; empty if none can be drawn."""
    rows = [row for row in rows if unit_length(row)]
    if not rows:
        return ""
    panels: dict[str, list[chart.Bar]] = {}
    for row in rows:
        panels.setdefault(describe_unit(row["unit"], row["better"]), []).append(make_bar(row, area))
    sentences = [
        f"{row['name']}: {format_value(row, row['value'])} {row['unit']}, "
        f"goal {SIGNS[row['better']]} {format_value(row, row['goal'])}, {'met' if row['met'] else 'missed'}."
        for row in rows
    ]
    return chart.draw(
        f"{format_heading(area) if area else 'Performance'}: ratios, goals and runs",
        " ".join(sentences),
        panels,
    )


def describe_unit(unit: str, better: str) -> str:
    """Return the meaning of bars of a unit."""
    return f"{unit}{', 1 being the goal' if is_absolute(unit) else ''}: {WORDS[better]} is better"


def make_bar(row: Record, area: str) -> chart.Bar:
    """Return a row as a bar, labelled with its name without that of its area."""
    one = unit_length(row)
    return chart.Bar(
        label=row["name"].removeprefix(f"{area}."),
        value=row["value"] / one,
        runs=[run / one for run in row["runs"]],
        goal=row["goal"] / one,
        better=row["better"],
        met=row["met"],
        texts=(format_value(row, row["value"]), f"{SIGNS[row['better']]} {format_value(row, row['goal'])}"),
    )


def unit_length(row: Record) -> float:
    """Return the value that is drawn as 1, or 0 of a row that is not drawn."""
    if row["unit"].startswith("×"):  # noqa: RUF001
        return 1
    return float(max(row["goal"], 0)) if is_absolute(row["unit"]) else 0


def is_absolute(unit: str) -> bool:
    """Return whether a value is compared with its goal alone, by its unit: bytes, or milliseconds."""
    return unit.partition(" ")[0] in ABSOLUTE


def select_highlights(rows: Sequence[Record]) -> list[Record]:
    """Return the rows of the first chart, in its order."""
    return [row for beginning in HIGHLIGHTS for row in rows if covers(beginning, row["name"])]


def group_by_area(rows: Iterable[Record]) -> dict[str, list[Record]]:
    """Return the rows of each area, in the order of the file."""
    groups: dict[str, list[Record]] = {}
    for row in rows:
        groups.setdefault(area_of(row), []).append(row)
    return groups


def area_of(row: Record) -> str:
    """Return a row's area, which its name begins with."""
    area: str = row["name"].partition(".")[0]
    return area


def format_heading(area: str) -> str:
    """Return an area's name as words."""
    return area.replace("_", " ").capitalize()


def describe_machine(machine: Record) -> str:
    """Return the machine of the measurements in words."""
    return (
        f"{machine['cores']} cores ({machine['cpu']}) with {machine['memory_gb']} GB, "
        f"Python {machine['python']} and torch {machine['torch']}"
    )


def format_value(row: Record, value: float) -> str:
    """Return a value of a row in few digits."""
    return format_bytes(value) if row["unit"] == "bytes" else format_number(value)
