"""Charts of ratios as SVG: bars from 1 to the value, the runs as dots, and the goal as a flag.

The picture is the same to the byte on every machine: it names no font, and no text is measured.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as ET

_WIDTH = 800
_PLOT = 260
"""Pixels that the plot has at least; the picture is wider where long labels leave less."""
_MARGIN = 16
_HEADING, _ROW, _AXIS, _LEGEND = 34, 26, 34, 26
_VALUE, _GOAL, _WORD = 92, 180, 190
"""Where the columns beside the plot end, and where the last one, of words, begins."""
_COLUMNS = 250
_CHARACTER = 7.4
"""Pixels that a character of a label takes in the widest of the common monospaced fonts."""
_EXTREMES = (1e-6, 1e6)
"""Ratios beyond these, and those that are not positive, end at the edge of the plot."""
_FINE = 2.5
"""Powers of ten up to which an axis has ticks between them."""
_TICKS = 8

_STYLE = """
text { font: 12px sans-serif; fill: #1f2328; }
.name { font-family: monospace; }
.heading, .missed { font-weight: bold; }
.faint, .tick { fill: #57606a; }
.tick { text-anchor: middle; }
.number { text-anchor: end; }
.missed { fill: #a33f00; }
.card { fill: #ffffff; stroke: #d0d7de; }
.grid { stroke: #e4e7eb; }
.one { stroke: #57606a; stroke-width: 1.5; }
.bar-met { fill: #0072b2; }
.bar-missed { fill: #d55e00; }
.run { fill: #ffffff; stroke: #1f2328; }
.goal { fill: #000000; stroke: #000000; stroke-width: 2; }
"""
# The two colours of bars are of Okabe and Ito's palette (Color Universal Design, 2008).


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A row of a chart.

    Attributes:
        label: what stands before it.
        value: a positive ratio, as all numbers here.
        runs: the same for each repetition.
        goal: what the value may be at most, or has to be at least.
        better: lower or higher.
        met: whether the value is on the goal's good side.
        texts: value and goal as they are written beside it.

    """

    label: str
    value: float
    runs: Sequence[float]
    goal: float
    better: str
    met: bool
    texts: tuple[str, str]


@dataclass(frozen=True)
class Panel:
    """Bars that mean the same, below a line that says what."""

    heading: str
    bars: Sequence[Bar]


@dataclass(frozen=True)
class Axis:
    """Ratios, logarithmic: from ``low`` at the pixel ``left`` to ``high`` at ``right``."""

    low: float
    high: float
    left: float
    right: float

    def x(self, ratio: float) -> float:
        """Return where a ratio stands; one that is not on the axis stands at its end."""
        share = math.log(min(max(ratio, self.low), self.high) / self.low) / math.log(self.high / self.low)
        return self.left + share * (self.right - self.left)

    def ticks(self) -> list[float]:
        """Return the ratios to write: 1, 2 and 5 times the powers of ten, or of many powers some."""
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        span = math.log10(self.high / self.low)
        steps = (1, 2, 5) if span <= _FINE else (1,)
        every = math.ceil(span / _TICKS)
        powers = [power for power in range(first, last + 1) if power % every == 0]
        ticks = [step * 10.0**power for power in powers for step in steps]
        return [tick for tick in ticks if self.low <= tick <= self.high]


def draw(title: str, description: str, panels: Sequence[Panel]) -> str:
    """Return the SVG of panels that share an axis, one below the other."""
    bars = [bar for panel in panels for bar in panel.bars]
    left = _MARGIN + max(len(bar.label) for bar in bars) * _CHARACTER + 12
    right = left + max(_PLOT, _WIDTH - left - _COLUMNS)
    axis = _axis(bars, left, right)
    top, bottom = 10, 10 + len(panels) * _HEADING + len(bars) * _ROW
    width, height = round(right + _COLUMNS), bottom + _AXIS + _LEGEND

    svg = ET.Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "width": f"{width}",
            "height": f"{height}",
            "viewBox": f"0 0 {width} {height}",
            "role": "img",
            "aria-labelledby": "title description",
        },
    )
    _add(svg, "title", title, id="title")
    _add(svg, "desc", description, id="description")
    _add(svg, "style", _STYLE)
    _add(svg, "rect", None, "card", x=0.5, y=0.5, width=width - 1, height=height - 1, rx=6)
    for tick in axis.ticks():
        _add(svg, "text", f"{tick:g}", "tick", x=axis.x(tick), y=bottom + 16)
    for text, end in (("value", _VALUE), ("goal", _GOAL)):
        _add(svg, "text", text, "number faint", x=right + end, y=top + 20)
    y = top
    for panel in panels:
        _add(svg, "text", panel.heading, "heading", x=_MARGIN, y=y + 20)
        y += _HEADING
        for tick in axis.ticks():
            _line(svg, "one" if tick == 1 else "grid", axis.x(tick), y, y + len(panel.bars) * _ROW)
        for bar in panel.bars:
            _draw_bar(svg, bar, axis, y + _ROW / 2)
            y += _ROW
    _draw_legend(svg, bottom + _AXIS + 8)
    ET.indent(svg, "")
    return ET.tostring(svg, encoding="unicode") + "\n"


def _axis(bars: Iterable[Bar], left: float, right: float) -> Axis:
    """Return an axis with all ratios of bars on it, and a bit of room at its ends."""
    ratios = [ratio for bar in bars for ratio in (bar.value, bar.goal, *bar.runs)]
    shown = [0.5, 2, *(ratio for ratio in ratios if _EXTREMES[0] <= ratio <= _EXTREMES[1])]
    room = (max(shown) / min(shown)) ** 0.03
    return Axis(min(shown) / room, max(shown) * room, left, right)


def _draw_bar(svg: ET.Element, bar: Bar, axis: Axis, y: float) -> None:
    start, end = sorted((axis.x(1), axis.x(bar.value)))
    met = "met" if bar.met else "missed"
    _add(svg, "text", bar.label, "name", x=_MARGIN, y=y + 4)
    _add(svg, "rect", None, f"bar-{met}", x=start, y=y - 6, width=end - start, height=12)
    if len(bar.runs) > 1:
        for x in sorted({round(axis.x(run), 1) for run in bar.runs}):
            _add(svg, "circle", None, "run", cx=x, cy=y, r=2.5)
    _draw_goal(svg, axis.x(bar.goal), y, bar.better)
    for text, end in zip(bar.texts, (_VALUE, _GOAL), strict=True):
        _add(svg, "text", text, "number", x=axis.right + end, y=y + 4)
    _add(svg, "text", met, "faint" if bar.met else "missed", x=axis.right + _WORD, y=y + 4)


def _draw_goal(svg: ET.Element, x: float, y: float, better: str) -> None:
    """Draw a goal, with a flag that points to where values are better."""
    side = -5 if better == "lower" else 5
    _add(svg, "path", None, "goal", d=f"M{x:.1f} {y + 9:.1f}v-18l{side} 3l{-side} 3")


def _draw_legend(svg: ET.Element, y: float) -> None:
    x = float(_MARGIN)
    for mark, text in (
        ("bar-met", "goal met"),
        ("bar-missed", "goal missed"),
        ("run", "a repetition"),
        ("goal", "goal, flagged on its good side"),
        ("one", "1: what it is compared with"),
    ):
        if mark == "run":
            _add(svg, "circle", None, mark, cx=x + 8, cy=y - 4, r=2.5)
        elif mark == "goal":
            _draw_goal(svg, x + 10, y - 4, "lower")
        elif mark == "one":
            _line(svg, mark, x + 8, y - 12, y + 4)
        else:
            _add(svg, "rect", None, mark, x=x, y=y - 10, width=16, height=12)
        _add(svg, "text", text, "faint", x=x + 22, y=y)
        x += 38 + len(text) * 6.6


def _line(svg: ET.Element, style: str, x: float, top: float, bottom: float) -> None:
    _add(svg, "line", None, style, x1=x, y1=top, x2=x, y2=bottom)


def _add(svg: ET.Element, tag: str, text: str | None = None, style: str = "", **numbers: float | str) -> None:
    """Add an element; numbers have one digit, which makes them the same on every machine."""
    element = ET.SubElement(svg, tag, {"class": style} if style else {})
    element.text = text
    for name, value in numbers.items():
        element.set(name, value if isinstance(value, str) else f"{value:.1f}".removesuffix(".0"))
