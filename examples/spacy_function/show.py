"""How analysed texts are shown; it is not deployed."""

import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Rectangle
from rich.table import Table
from rich.text import Text

COLOURS = {
    "#F5B8A0": "PERSON NORP",
    "#A8D8C8": "GPE LOC FAC",
    "#A9CDEE": "ORG PRODUCT EVENT WORK_OF_ART LAW LANGUAGE",
    "#F2DF8C": "DATE TIME",
}
"""Labels of people, places, things and dates; also the colour-blind can tell the colours apart."""
OTHER = "#DCDCDC"
"""Quantities."""

WIDTH, MARGIN, SIZE, DPI = 1400, 40, 15, 144
"""Pixels, pixels, points, and pixels an inch."""
LABEL = 120
"""Pixels that are kept free at the end of a line for the label of its last entity."""
LONGEST = 2_000
"""Characters that are drawn of a text."""


def table(records: list[dict[str, Any]]) -> Table:
    """Return a table: each text with its entities."""
    rows = Table("#", "text", "entity", "label")
    for record in records:
        first = (str(record["index"]), Text(record["text"]))
        for one in record["entities"] or [{"text": "", "label": ""}]:
            rows.add_row(*first, Text(one["text"]), one["label"])
            first = ("", Text(""))
        rows.add_section()
    return rows


def picture(record: dict[str, Any], _item: Any, path: Path) -> None:
    """Draw a text with its entities in their places."""
    figure = Figure(dpi=DPI)
    canvas = FigureCanvasAgg(figure)
    renderer = canvas.get_renderer()
    fonts = {False: FontProperties(size=SIZE), True: FontProperties(size=SIZE * 0.55, weight="bold")}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # drawn as a box where the font has none
        space, height, descent = renderer.get_text_width_height_descent("Ág", fonts[False], ismath=False)
        line, x, y = height * 1.7, float(MARGIN), height * 1.5
        boxes: list[tuple[float, float, float, str]] = []
        texts: list[tuple[float, float, str, bool]] = []
        for text, gap, colour, is_label in _pieces(record["text"], record["entities"]):
            width = renderer.get_text_width_height_descent(text, fonts[is_label], ismath=False)[0]
            before = space * 0.3 if gap else 0.0
            apart = not is_label and (gap or width > LABEL)  # a full stop stays with its sentence
            if apart and x > MARGIN and x + before + width > WIDTH - MARGIN - LABEL:
                x, y, before = float(MARGIN), y + line, 0.0
            if colour:
                joined = boxes and boxes[-1][2:] == (y, colour) and gap != "outside"
                start = boxes.pop()[0] if joined else x + before - space * 0.1
                boxes.append((start, x + before + width + space * 0.1, y, colour))
            texts.append((x + before, y, text, is_label))
            x += before + width
        total = y + height
        figure.set_size_inches(WIDTH / DPI, total / DPI)
        for left, right, baseline, colour in boxes:
            place = (left / WIDTH, 1 - (baseline + descent * 1.3) / total)
            extent = ((right - left) / WIDTH, height * 1.15 / total)
            figure.add_artist(Rectangle(place, *extent, facecolor=colour, transform=figure.transFigure))
        for left, baseline, text, is_label in texts:
            figure.text(left / WIDTH, 1 - baseline / total, text, fontproperties=fonts[is_label],
                        parse_math=False, va="baseline")  # fmt: skip
        figure.savefig(path)


def _pieces(text: str, entities: list[dict[str, Any]]) -> Iterator[tuple[str, str, str, bool]]:
    """Yield words and labels: the text, the gap before it, its colour, and whether it is a label."""
    end = 0
    for entity in [*entities, {"start": min(len(text), LONGEST), "end": None, "label": ""}]:
        if entity["start"] > LONGEST:
            continue
        yield from _words(text[end : entity["start"]], "", "outside")
        if entity["end"] is None:
            break
        colour = next((one for one, labels in COLOURS.items() if entity["label"] in labels.split()), OTHER)
        before = "outside" if text[: entity["start"]][-1:].isspace() else ""
        for number, (word, gap, _, _) in enumerate(_words(entity["text"], colour, "inside")):
            yield word, gap if number else before, colour, False
        yield entity["label"], "inside", colour, True
        end = entity["end"]
    if len(text) > LONGEST:
        yield "…", "", "", False


def _words(text: str, colour: str, gap: str) -> Iterator[tuple[str, str, str, bool]]:
    for found in re.finditer(r"(\s*)(\S{1,60})", text):
        yield found[2], gap if found[1] else "", colour, False
