"""Charts of ratios as SVG: bars from 1 to the value, the runs as dots, and the goal as a mark with a flag.

With matplotlib's hash salt the picture is the same on every machine that has the same matplotlib.
"""

import io
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MET, MISSED, INK, FAINT, GRID = "#0072b2", "#d55e00", "#1f2328", "#57606a", "#e4e7eb"
"""The first two are of Okabe and Ito's palette (Color Universal Design, 2008)."""
EXTREMES = (1e-6, 1e6)
"""Ratios beyond these, and those that are not positive, end at the edge of the plot."""
ROW_INCHES = 0.27
SETTINGS = {
    "svg.hashsalt": "chart", "svg.fonttype": "none", "font.size": 9, "axes.axisbelow": True,
    "font.sans-serif": ["DejaVu Sans", "sans-serif"], "font.monospace": ["DejaVu Sans Mono", "monospace"],
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A row of a chart.

    Attributes:
        label: stands before it.
        value: a positive ratio, as all numbers here.
        runs: the ratio of each repetition.
        goal: the highest or the lowest value that is good enough, as ``better`` is lower or higher.
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


def draw(title: str, description: str, panels: Mapping[str, Sequence[Bar]]) -> str:
    """Return the SVG of panels that share an axis, one below the other, each under its heading."""
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch
    from matplotlib.ticker import LogLocator

    ratios = [
        ratio for bar in itertools.chain(*panels.values()) for ratio in (bar.value, bar.goal, *bar.runs)
    ]
    within = [0.5, 2.0, *(ratio for ratio in ratios if EXTREMES[0] <= ratio <= EXTREMES[1])]
    height = sum(1 + len(bars) for bars in panels.values())
    with mpl.rc_context(SETTINGS):
        figure = Figure(figsize=(9, ROW_INCHES * height + 0.9), layout="constrained")
        axes = figure.add_subplot(xscale="log", xlim=(min(within), max(within)), ylim=(height, 0))
        axes.set_yticks([])
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if max(within) < 300 * min(within) else (1,)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.minorticks_off()
        axes.grid(axis="x", color=GRID)
        axes.spines[:].set_visible(False)
        axes.axvline(1, color=FAINT)
        places = itertools.count(0.5)
        for heading, bars in panels.items():
            _write(axes, heading, 0, next(places), "left", weight="bold")
            for bar in bars:
                _draw_bar(axes, bar, next(places))
        legend = [
            Patch(color=MET, label="goal met"),
            Patch(color=MISSED, label="goal missed"),
            Line2D([], [], color=INK, marker="o", markerfacecolor="white", ls="", ms=4, label="a repetition"),
            Line2D([], [], color="black", marker="<", ms=5, label="goal, flagged on its good side"),
            Line2D([], [], color=FAINT, label="1: the baseline"),
        ]
        figure.legend(handles=legend, loc="outside lower left", ncols=len(legend), frameon=False)
        chart = io.StringIO()
        figure.savefig(chart, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    # One digit makes numbers the same on every machine, and the file small.
    svg = re.sub(r"\d+\.\d{2,}", lambda number: f"{float(number[0]):.1f}", chart.getvalue())
    attributes, _, drawing = svg.partition("<svg ")[2].partition(">")
    words = f'<title id="title">{escape(title)}</title>\n<desc id="description">{escape(description)}</desc>'
    return f'<svg role="img" aria-labelledby="title description" {attributes}>\n{words}{drawing}'


def _draw_bar(axes: "Axes", bar: Bar, y: float) -> None:
    low, high = axes.get_xlim()
    value, goal, *runs = (min(max(ratio, low), high) for ratio in (bar.value, bar.goal, *bar.runs))
    axes.barh(y, value - 1, 0.45, left=1, color=MET if bar.met else MISSED, gid=f"bar-{bar.label}")
    if len(runs) > 1:
        axes.plot(runs, [y] * len(runs), "o", color=INK, markerfacecolor="white", markersize=4, clip_on=False)
    flag = "<" if bar.better == "lower" else ">"
    axes.plot([goal, goal], [y - 0.35, y + 0.35], color="black")
    axes.plot(goal, y - 0.3, flag, color="black", markersize=5, clip_on=False)
    _write(axes, bar.label, -8, y, "right", family="monospace")
    for text, end in zip(bar.texts, (60, 130), strict=True):
        _write(axes, text, end, y, "right", side=1)
    _write(
        axes, "met" if bar.met else "missed", 140, y, "left", side=1, color=FAINT if bar.met else "#a33f00"
    )


def _write(
    axes: "Axes", text: str, offset: float, y: float, align: str, *, side: int = 0, **style: str
) -> None:
    """Write beside the plot, so many points from its left (0) or its right (1) side."""
    axes.annotate(
        text, (side, y), (offset, 0), axes.get_yaxis_transform(), "offset points",
        ha=align, va="center", annotation_clip=False, **{"color": INK, **style},
    )  # fmt: skip
