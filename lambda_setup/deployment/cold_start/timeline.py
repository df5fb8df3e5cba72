"""Cold starts as people see them: a table of the phases, and a picture of what goes on beside what."""

import html
from collections.abc import Iterator

from lambda_setup.deployment.cold_start.measure import PHASES, Comparison, Measured, Start

LABELS = {
    "interpreter": "Python starts",
    "package": "import lambda_inference",
    "imports": "import the function and its libraries",
    "model": "wait for the model from S3",
    "load": "load the model",
    "answer": "first answer",
}
OWN_SCRIPT = "what the script does at its top"
"""In place of the label of ``load``, which in somebody's own script holds imports and the model, too."""
BESIDE = {"model": "the model comes from S3", "unpack": "the layer is unpacked"}
COLORS = {
    "interpreter": "#999999", "package": "#e69f00", "imports": "#0072b2", "model": "#d55e00",
    "load": "#009e73", "answer": "#cc79a7",
}  # fmt: skip
"""Of Okabe and Ito's palette (Color Universal Design, 2008)."""
_LEFT, _WIDTH, _BAR, _THIN, _ROW = 150, 700, 26, 8, 62
_MOST_TICKS = 10
_FONT = 'font-family="DejaVu Sans, sans-serif" font-size="12" fill="#1f2328"'
_WIDE = 44
"""Pixels from which a segment has room for its milliseconds."""


def make_rows(found: Comparison) -> list[list[str]]:
    """Return the rows of the table: a phase, and its median milliseconds on either side."""
    sides = (found.function, found.script)
    own = found.script.median("model") is None
    rows = []
    for phase in PHASES:
        label = f"{LABELS[phase]}; {OWN_SCRIPT}" if own and phase == "load" else LABELS[phase]
        rows.append([label, *(_format(side.median(phase)) for side in sides)])
    return [*rows, ["all", *(_format(side.seconds) for side in sides)]]


def describe(found: Comparison) -> Iterator[str]:
    """Yield what the numbers say, a sentence each."""
    ours, other = found.function, found.script
    yield (
        f"{ours.name} answers after {_format(ours.seconds)} ms, {other.name} after {_format(other.seconds)}: "
        f"{ours.seconds / other.seconds:.2f} of its time"
    )
    for name, (begin, end) in ours.typical.beside.items():
        size = f", {found.model_bytes / 1e6:.1f} MB" if name == "model" else ""
        yield f"beside its imports {BESIDE[name]}{size}: {_format(end - begin)} ms"
    if found.warm_bytes >= 1e6:  # noqa: PLR2004
        yield (
            f"{found.warm_bytes / 1e6:.0f} MB of what was read stayed in memory, so that a cold start takes "
            "longer than this: the folder is not on a disk, or something else reads it"
        )


def draw(found: Comparison) -> str:
    """Return the SVG of the start of each side that is nearest to its median."""
    sides = (found.function, found.script)
    longest = max(side.typical.seconds for side in sides)
    scale = _WIDTH / longest
    top = 44
    height = top + len(sides) * _ROW + 30 + 18 * len(LABELS)
    title = f"Cold starts: {found.function.name} and {found.script.name}"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_LEFT + _WIDTH + 90} {height}" {_FONT}>',
        f"<title>{html.escape(title)}</title>",
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        f'<text x="12" y="22" font-size="14" font-weight="bold">{html.escape(title)}</text>',
        *_draw_axis(longest, scale, top, top + len(sides) * _ROW),
    ]
    for number, side in enumerate(sides):
        lines += _draw_side(side, side.typical, scale, top + 8 + number * _ROW)
    y = top + len(sides) * _ROW + 34
    for phase, label in LABELS.items():
        lines.append(f'<rect x="{_LEFT}" y="{y - 10}" width="12" height="12" fill="{COLORS[phase]}"/>')
        lines.append(f'<text x="{_LEFT + 20}" y="{y}">{html.escape(label)}</text>')
        y += 18
    return "\n".join([*lines, "</svg>", ""])


def _draw_axis(longest: float, scale: float, top: int, bottom: int) -> Iterator[str]:
    """Yield the lines at round times, and their labels below."""
    step = next(
        size * 10.0**power
        for power in range(-3, 6)
        for size in (1, 2, 5)
        if longest / (size * 10.0**power) <= _MOST_TICKS
    )
    for number in range(int(longest / step) + 1):
        x = _LEFT + number * step * scale
        yield f'<line x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{bottom}" stroke="#e4e7eb"/>'
        yield (
            f'<text x="{x:.1f}" y="{bottom + 14}" text-anchor="middle" fill="#57606a">'
            f"{number * step:g} s</text>"
        )


def _draw_side(side: Measured, start: Start, scale: float, y: int) -> Iterator[str]:
    """Yield a side's bar, what went on beside it, its name and its seconds."""
    yield f'<text x="{_LEFT - 10}" y="{y + 17}" text-anchor="end">{html.escape(side.name)}</text>'
    x = float(_LEFT)
    for phase, seconds in start.phases.items():
        width, text = seconds * scale, _format(seconds)
        yield (
            f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{_BAR}" fill="{COLORS[phase]}">'
            f"<title>{html.escape(LABELS[phase])}: {text} ms</title></rect>"
        )
        if width >= _WIDE:
            yield (
                f'<text x="{x + width / 2:.1f}" y="{y + 17}" text-anchor="middle" fill="#ffffff" '
                f'font-size="11">{text}</text>'
            )
        x += width
    yield f'<text x="{x + 6:.1f}" y="{y + 17}">{start.seconds:.2f} s</text>'
    for name, (begin, end) in start.beside.items():
        y += _THIN + 1
        yield (
            f'<rect x="{_LEFT + begin * scale:.1f}" y="{y + _BAR - _THIN + 2}" '
            f'width="{(end - begin) * scale:.1f}" height="{_THIN}" fill="{COLORS["model"]}" opacity="0.6">'
            f"<title>{BESIDE[name]}, beside: {_format(end - begin)} ms</title></rect>"
        )


def _format(seconds: float | None) -> str:
    """Return seconds as milliseconds."""
    return "" if seconds is None else f"{seconds * 1000:,.0f}"
