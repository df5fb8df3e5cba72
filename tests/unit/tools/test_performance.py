"""What is shown of the results: all of it, as it is committed, and legible whatever they are."""

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from support.project import ROOT

from bench import __main__ as bench
from bench.results import RESULTS as FILE
from bench.row import OF_TIME, meets
from tools.pages import performance, posts

RESULTS = json.loads(FILE.read_text())
TEXTS = {name: (ROOT / name).read_text() for name in (performance.README, performance.EXAMPLES)}
DOCUMENTS = performance.make_documents(RESULTS, TEXTS)
SVG = "{http://www.w3.org/2000/svg}"

a_chart = pytest.mark.parametrize(
    "chart", [text for name, text in DOCUMENTS.items() if name.endswith(".svg")],
    ids=[Path(name).stem for name in DOCUMENTS if name.endswith(".svg")],
)  # fmt: skip


def row(name: str, value: float, *, better: str = "lower", goal: float = 1, **fields: Any) -> dict[str, Any]:
    """Return a row of a ratio, or of what fields say."""
    met = meets(value, better, goal)
    return {
        "name": name,
        "value": value,
        "better": better,
        "unit": OF_TIME,
        "baseline": "what everyone does",
        "goal": goal,
        "met": met,
        "runs": [value * 0.9, value, value * 1.1],
        **({} if met else {"cause": f"why {name} is slow"}),
        **fields,
    }


def parse(chart: str) -> ET.Element:
    """Return a chart as XML, which it has to be."""
    return ET.fromstring(chart)  # noqa: S314 - we wrote it


def bars(svg: ET.Element) -> list[tuple[float, float, float, float]]:
    """Return the left, right, upper and lower edges of a chart's bars."""
    found = []
    for group in svg.iter(f"{SVG}g"):
        if group.get("id", "").startswith("bar-"):
            (path,) = group
            numbers = [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", path.get("d", ""))]
            found.append((min(numbers[::2]), max(numbers[::2]), min(numbers[1::2]), max(numbers[1::2])))
    return found


def results(*rows: dict[str, Any]) -> dict[str, Any]:
    """Return results with rows."""
    return {**RESULTS, "rows": list(rows)}


def test_the_page_has_every_row_and_every_cause() -> None:
    """With the machine that they were measured on."""
    page = DOCUMENTS[performance.DOCUMENT]
    for each in RESULTS["rows"]:
        assert f"| {each['name']} |" in page
        assert each.get("cause", "") in page
    assert RESULTS["machine"]["cpu"] in page
    assert RESULTS["commit"][:7] in page


def test_the_page_shows_every_chart() -> None:
    """Each area's, and at its top that of the telling rows."""
    for name in DOCUMENTS:
        image = f"(images/{Path(name).name})"
        assert (image in DOCUMENTS[performance.DOCUMENT]) == name.endswith(".svg")


def test_the_readme_has_the_rows_that_are_there() -> None:
    """A row that was not measured is left out, and a miss is called one."""
    shown = performance.make_summary(
        results(row("throughput.opennmt", 2), row("store.other", 0.5), row("cold_start.opennmt", 0.5))
    )
    assert f"| 0.50 {OF_TIME} | what everyone does |" in shown
    assert f"| 2.00 {OF_TIME}, goal ≤ 1.00 **missed** |" in shown
    assert "2 of 3 measurements meet their goals" in shown
    assert shown.index("cold start") < shown.index("when warm")
    assert shown.count("\n|") == 3


def test_a_row_of_an_unknown_area_is_shown() -> None:
    """In a section and a chart of its own."""
    found = performance.make_documents(results(row("dead_weight.one", 3)), TEXTS)
    page = found[performance.DOCUMENT]
    assert "## Dead weight\n" in page
    assert f"| dead_weight.one | 3.00 {OF_TIME} | 2.70 to 3.30 | ≤ 1.00 | **missed** |" in page
    assert "- dead_weight.one: why dead_weight.one is slow." in page
    assert ">one</text>" in found[f"{performance.IMAGES}/bench-dead_weight.svg"]
    assert f"{performance.IMAGES}/bench.svg" not in found


def test_what_is_no_ratio_is_drawn_against_its_goal_or_not_at_all() -> None:
    """A score has no 1 to begin a bar at, nor has a goal of nothing."""
    drawn = performance.draw_chart(
        "a", [row("a.size", 50, goal=100, unit="bytes"), row("a.ms", 8, goal=10, unit="ms more")]
    )
    assert "bytes, 1 being the goal: less is better" in drawn
    assert "ms more, 1 being the goal: less is better" in drawn
    assert not performance.draw_chart(
        "a", [row("a.bleu", 35, goal=34, unit="BLEU"), row("a.leak", 0, goal=0, unit="bytes")]
    )


@a_chart
def test_a_chart_is_told_to_those_who_do_not_see_it(chart: str) -> None:
    """By a title, and by a description with every value."""
    svg = parse(chart)
    assert svg.get("role") == "img"
    assert {svg.findtext(f"{SVG}title"), svg.findtext(f"{SVG}desc")}.isdisjoint({None, ""})
    assert {each.get("id") for each in svg} >= set((svg.get("aria-labelledby") or "none").split())


@a_chart
def test_a_chart_is_small_and_needs_nothing_else(chart: str) -> None:
    """No script, no picture, no font, no link."""
    names = {element.tag.removeprefix(SVG) for element in parse(chart).iter()}
    assert names <= {"svg", "title", "desc", "style", "defs", "g", "path", "use", "text", "clipPath", "rect"}
    rest = re.sub(r' xmlns(:xlink)?="http://www.w3.org/[^"]*"', "", chart)
    rest = rest.replace('xlink:href="#', "").replace("url(#", "")  # marks that are drawn more than once
    assert not [word for word in ("://", "href", "url(", "@import", "@font-face") if word in rest]
    assert len(chart.encode()) < 60_000


EXTREME = [
    row("x.tiny", 1e-5, goal=0.01),
    row("x.huge_with_a_long_name.of_many_words", 3e8),
    row("x.nothing", 0.0, goal=0, runs=[0.0, 0.0]),
    row("x.negative", -3.0, goal=10, unit="ms more", runs=[-4.0, 5.0]),
    row("x.fast", 5200.0, better="higher", goal=100),
    row("x.infinitesimal", 1e-300),
]


@pytest.mark.parametrize("rows", [EXTREME, EXTREME[:1], EXTREME[1:2], EXTREME[2:3], RESULTS["rows"]])
def test_bars_stay_within_the_picture(rows: list[dict[str, Any]]) -> None:
    """However far apart the ratios are; those that no such axis has end at its edge."""
    svg = parse(performance.draw_chart("x", rows))
    *_, width, height = map(float, (svg.get("viewBox") or "").split())
    for left, right, upper, lower in bars(svg):
        assert 0 <= left <= right <= width
        assert 0 <= upper < lower <= height
    for text in [*svg.iter(f"{SVG}text"), *svg.iter(f"{SVG}use")]:
        assert 0 <= float(text.get("x", 0)) <= width
        assert 0 <= float(text.get("y", 0)) <= height
    assert len(bars(svg)) == sum(performance.unit_length(each) > 0 for each in rows)


def test_a_bar_begins_at_1_and_ends_at_its_value() -> None:
    """Half and twice are equally long, one to each side."""
    half, twice = bars(parse(performance.draw_chart("a", [row("a.half", 0.5), row("a.twice", 2.0)])))
    assert half[1] == pytest.approx(twice[0], abs=0.2)
    assert half[1] - half[0] == pytest.approx(twice[1] - twice[0], abs=0.2)


def test_the_page_about_examples_has_a_number_for_every_row_of_theirs() -> None:
    """Each is a row's value; what was not measured is called so."""
    examples = {
        name for one in bench.collect() if one.run.__module__ == "bench.areas.examples" for name in one.names
    }
    assert set(posts.list_rows()) == examples
    assert "not measured" not in DOCUMENTS[performance.EXAMPLES]
    page = performance.make_documents(results(row("cold_start.spacy", 7.5, better="higher")), TEXTS)[
        performance.EXAMPLES
    ]
    assert "| 7.50 times as fast |" in page
    assert page.count("(not measured)") == len(posts.list_rows()) - 1
