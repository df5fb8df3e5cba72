"""The results as people see them: a table, a page, parts of the README and of docs/examples.md, and charts.

All of it is made of results.json alone and is the same on every machine. ``make bench`` writes it when it
has measured, ``python -m bench --document`` without measuring.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import seeds
from bench.chart import Bar, Panel, draw
from layer.builder.report.treemap import human

TELLING = (
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
"""The rows that the README shows, by name or beginning, in its order."""

README = "README.md"
EXAMPLES = "docs/examples.md"
DOCUMENT = "docs/performance.md"
IMAGES = "docs/images"
MARKERS = ("<!-- bench -->\n", "<!-- end bench -->")

ABSOLUTE = ("bytes", "ms")
"""What units begin with whose rows are drawn as parts of their goals. Ratios are drawn as they are."""

PROSE = """\
# Performance

Every row of [results.json](../bench/results.json): {count}, of which {met} meet their goals. Measured on \
{machine}, last at commit `{commit}`; not on Lambda.

`make bench` measures all of them and writes this page, `make bench ROW={area}` an area, \
`make bench ROW={row}` a row; `python -m bench --document` only writes it.

A ratio divides medians of ours and of the baseline, measured side by side; *runs* has the least and the \
most of its repetitions. In the charts 1 is what a row is compared with. A row in bytes or milliseconds is \
drawn against its goal; one in another unit is in the table alone."""

WORDS = {"lower": "less", "higher": "more"}
SIGNS = {"lower": "≤", "higher": "≥"}

Record = dict[str, Any]
"""A row as results.json has it."""


def write(results: Record, root: Path) -> None:
    """Write everything that is made of the results, and remove charts of areas that are no more."""
    files = documents(
        results, {name: (root / name).read_text(encoding="utf-8") for name in (README, EXAMPLES)}
    )
    (root / IMAGES).mkdir(parents=True, exist_ok=True)
    for path in charts_in(root):
        if path.relative_to(root).as_posix() not in files:
            path.unlink()
    for name, text in files.items():
        (root / name).write_text(text, encoding="utf-8")


def charts_in(root: Path) -> list[Path]:
    """Return the charts that are there."""
    return sorted([*(root / IMAGES).glob("bench.svg"), *(root / IMAGES).glob("bench-*.svg")])


def documents(results: Record, texts: Mapping[str, str]) -> dict[str, str]:
    """Return what is made of the results, by its path in the repository; texts are those that have parts."""
    rows = results["rows"]
    charts = {f"bench-{area}.svg": chart(area, found) for area, found in areas(rows).items()}
    charts["bench.svg"] = chart("", telling(rows))
    return {
        DOCUMENT: page(results),
        README: put(README, texts[README], summary(results)),
        EXAMPLES: put(EXAMPLES, texts[EXAMPLES], beside_seeds(results)),
        **{f"{IMAGES}/{name}": text for name, text in charts.items() if text},
    }


def page(results: Record) -> str:
    """Return the document with every row, a section an area."""
    rows = results["rows"]
    lines = [
        PROSE.format(
            count=len(rows),
            met=sum(row["met"] for row in rows),
            machine=machine(results["machine"]),
            commit=results["commit"][:7],
            area=area_of(rows[0]),
            row=rows[0]["name"],
        )
    ]
    for area, found in areas(rows).items():
        lines += ["", f"## {heading(area)}", ""]
        if chart(area, found):
            lines += [f"![{heading(area)}: ratios, goals and runs](images/bench-{area}.svg)", ""]
        lines.append(table(found))
    return "\n".join(lines) + "\n"


def summary(results: Record) -> str:
    """Return the README's part: a chart, and a table of the telling rows."""
    rows = telling(results["rows"])
    image = ["![Ratios to the baselines, goals and runs](docs/images/bench.svg)", ""]
    lines = [
        *(image if chart("", rows) else []),
        f"Measured on {machine(results['machine'])}; not on Lambda.",
        "",
        "| row | value | goal | compared with |",
        "|---|---|---|---|",
    ]
    for row in rows:
        baseline = re.sub(r" \(bench/[^)]*\)", "", row["baseline"])
        unit = "" if row["unit"] == "bytes" else f" {row['unit']}"
        value = text(row, row["value"]) + unit
        goal = f"{SIGNS[row['better']]} {text(row, row['goal'])}, {verdict(row)}"
        lines.append(f"| `{row['name']}` | {value} | {goal} | {cell(baseline)} |")
    return "\n".join(lines) + "\n"


def beside_seeds(results: Record) -> str:
    """Return the part of the page about the examples: a table, and what its numbers were measured on."""
    values = {row["name"]: text(row, row["value"]) for row in results["rows"]}
    return f"{seeds.part(values)}\nMeasured on {machine(results['machine'])}; not on Lambda.\n"


def put(name: str, document: str, part: str) -> str:
    """Return a document with another part between its markers."""
    start, end = MARKERS
    before, found, rest = document.partition(start)
    _, ended, after = rest.partition(end)
    if not found or not ended:
        raise ValueError(f"{name} has no part between {start.strip()} and {end}: put both back")
    return before + start + part + end + after


def table(rows: Sequence[Record]) -> str:
    """Return rows as a table in Markdown, and below it why goals are missed."""
    lines = ["| row | value | runs | goal | | compared with |", "|---|---|---|---|---|---|"]
    for row in rows:
        spread = f"{number(min(row['runs']))} to {number(max(row['runs']))}" if len(row["runs"]) > 1 else ""
        value, goal = f"{number(row['value'])} {row['unit']}", f"{SIGNS[row['better']]} {number(row['goal'])}"
        lines.append(
            f"| {row['name']} | {value} | {spread} | {goal} | {verdict(row)} | {cell(row['baseline'])} |"
        )
    causes = [f"- {row['name']}: {row['cause']}." for row in rows if not row["met"]]
    return "\n".join([*lines, *(["", *causes] if causes else [])])


def chart(area: str, rows: Iterable[Record]) -> str:
    """Return the SVG of an area's rows, or without an area of several's; empty if none can be drawn."""
    rows = [row for row in rows if unit_length(row)]
    if not rows:
        return ""
    panels: dict[tuple[str, str], list[Bar]] = {}
    for row in rows:
        panels.setdefault((row["unit"], row["better"]), []).append(bar(row, area))
    told = [
        f"{row['name']}: {text(row, row['value'])} {row['unit']}, "
        f"goal {SIGNS[row['better']]} {text(row, row['goal'])}, {'met' if row['met'] else 'missed'}."
        for row in rows
    ]
    return draw(
        f"{heading(area) if area else 'Performance'}: ratios, goals and runs",
        " ".join(told),
        [Panel(meaning(*key), bars) for key, bars in panels.items()],
    )


def meaning(unit: str, better: str) -> str:
    """Return what bars of a unit say."""
    return f"{unit}{', 1 being the goal' if absolute(unit) else ''}: {WORDS[better]} is better"


def bar(row: Record, area: str) -> Bar:
    """Return a row as a bar, labelled with its name without that of its area."""
    one = unit_length(row)
    return Bar(
        label=row["name"].removeprefix(f"{area}."),
        value=row["value"] / one,
        runs=[run / one for run in row["runs"]],
        goal=row["goal"] / one,
        better=row["better"],
        met=row["met"],
        texts=(text(row, row["value"]), f"{SIGNS[row['better']]} {text(row, row['goal'])}"),
    )


def unit_length(row: Record) -> float:
    """Return the value that is drawn as 1, or 0 of a row that is not drawn."""
    if row["unit"].startswith("×"):  # noqa: RUF001
        return 1
    return float(max(row["goal"], 0)) if absolute(row["unit"]) else 0


def absolute(unit: str) -> bool:
    """Return whether a value is compared with its goal alone, by its unit: bytes, or milliseconds."""
    return unit.partition(" ")[0] in ABSOLUTE


def telling(rows: Sequence[Record]) -> list[Record]:
    """Return the rows for the README, in its order."""
    return [row for beginning in TELLING for row in rows if covers(beginning, row["name"])]


def areas(rows: Iterable[Record]) -> dict[str, list[Record]]:
    """Return the rows of each area, in the order of the file."""
    found: dict[str, list[Record]] = {}
    for row in rows:
        found.setdefault(area_of(row), []).append(row)
    return found


def area_of(row: Record) -> str:
    """Return a row's area, which its name begins with."""
    area: str = row["name"].partition(".")[0]
    return area


def covers(asked: str, name: str) -> bool:
    """Return whether a row is asked for, by its name or its beginning."""
    return not asked or name == asked or name.startswith(f"{asked}.")


def heading(area: str) -> str:
    """Return an area's name as words."""
    return area.replace("_", " ").capitalize()


def machine(found: Record) -> str:
    """Return what was measured on, in words."""
    return (
        f"{found['cores']} cores ({found['cpu']}) with {found['memory_gb']} GB, "
        f"Python {found['python']} and torch {found['torch']}"
    )


def verdict(row: Record) -> str:
    """Return whether a row meets its goal; a miss is to be seen."""
    return "met" if row["met"] else "**missed**"


def cell(words: str) -> str:
    """Return words that do not end the cell of a table."""
    return words.replace("|", r"\|")


def text(row: Record, value: float) -> str:
    """Return a value of a row in few digits."""
    return human(value) if row["unit"] == "bytes" else number(value)


def number(value: float) -> str:
    """Return a size with separators, anything else with two digits."""
    if 0 < abs(value) < 0.1:  # noqa: PLR2004
        return f"{value:.2g}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.2f}"  # noqa: PLR2004
