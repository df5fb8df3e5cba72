"""Pictures that explain: a request's way, queues, a cold start's timeline, a library's hot and cold code.

The timeline is of measured starts, and the map of code of recorded pages. All stand on white ground, so that
they can be read on a dark page too.
"""

import html
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from lambda_setup.deployment.cold_start.measure import Comparison
from lambda_setup.deployment.cold_start.timeline import describe
from lambda_setup.deployment.cold_start.timeline import draw as draw_timeline
from layer.builder.slim.split.pages import parse_runs

REQUEST = "docs/images/request.svg"
QUEUES = "docs/images/queues.svg"
COLD_START = "docs/images/cold_start.svg"
CODE = "docs/images/hot_code.svg"
ROOT = Path(__file__).resolve().parents[2]
STARTS = ROOT / "bench" / "cold_start.json"
"""What ``python -m lambda_setup cold-start NAME --json`` printed while the machine did nothing else."""
HOT = ROOT / "layer/recipes/opennmt/host/python3.11-linux-x86_64/hot.json"
LIBRARY = "torch/lib/libtorch_cpu.so"
PAGE = 4096
"""Bytes of a page of memory."""

INK, FAINT, LINE, BLUE, ORANGE = "#1f2328", "#57606a", "#d0d7de", "#0072b2", "#d55e00"
_HEAD = 'font-family="DejaVu Sans, sans-serif" font-size="12"'


@dataclass(frozen=True)
class Step:
    """A step of a request's way: from one lane to another, or within one.

    ``module`` is of lambda_inference, ``text`` what happens, and ``aside`` how the way may end there.
    """

    start: str
    end: str
    module: str
    text: str
    aside: str = ""


LANES = {"caller": 70, "function": 330, "S3": 690}
STEPS = (
    Step("caller", "function", "_events", "an event: direct, HTTP or SQS"),
    Step(
        "function",
        "function",
        "_requests",
        "validates every field",
        "400: the field's name, and what is expected",
    ),
    Step("function", "S3", "_results", "looks for the answer of this id", "there: answered without a model"),
    Step(
        "function",
        "S3",
        "_serving",
        "looks at the model's channel, once a minute",
        "moved: the new version is loaded",
    ),
    Step(
        "function",
        "function",
        "_predictor",
        "predicts, until the deadline",
        "504: the timeout would cut it off",
    ),
    Step("function", "S3", "_results", "stores arrays, then the record: the commit"),
    Step("function", "caller", "_events", "keys, or the answer if it fits"),
)


PLACES = {
    "sender": (66, 66),
    "RequestQueue": (276, 66),
    "FailureQueue": (276, 146),
    "caller": (66, 226),
    "Lambda's own queue": (276, 226),
    "function, alias live": (560, 146),
    "S3": (730, 146),
}
"""The middle of each box."""
WAYS = (
    ("sender", "RequestQueue", "message"),
    ("RequestQueue", "function, alias live", "up to QueueBatchSize messages"),
    ("RequestQueue", "FailureQueue", "received five times"),
    ("caller", "Lambda's own queue", "event"),
    ("Lambda's own queue", "function, alias live", "event"),
    ("Lambda's own queue", "FailureQueue", "failed three times"),
    ("function, alias live", "S3", "results"),
)
HALF = 76, 16
"""Half of a box's width and height."""


def draw_queues() -> str:
    """Return the SVG of the ways by which a queue's messages and asynchronous events reach the function."""
    lines = [*_begin(800, 262, "Messages and asynchronous events, with Queue=on")]
    for start, end, text in WAYS:
        lines += _draw_way(PLACES[start], PLACES[end], text, failed=end == "FailureQueue")
    for name, (x, y) in PLACES.items():
        half = 30 if name in {"sender", "caller", "S3"} else HALF[0]
        box = f'x="{x - half}" y="{y - HALF[1]}" width="{2 * half}" height="{2 * HALF[1]}" rx="4"'
        words = f'<text x="{x}" y="{y + 4}" text-anchor="middle" fill="#ffffff">{html.escape(name)}</text>'
        lines += [f'<rect {box} fill="{INK}"/>', words]
    return "\n".join([*lines, "</svg>", ""])


def _draw_way(start: tuple[int, int], end: tuple[int, int], text: str, *, failed: bool) -> Iterator[str]:
    """Yield an arrow from one box to another, and its words: down or up, or to the right."""
    color = ORANGE if failed else BLUE
    (x1, y1), (x2, y2) = start, end
    if x1 == x2:
        tip = y2 + (HALF[1] if y1 > y2 else -HALF[1])
        side = 8 if y1 > y2 else -8
        yield f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{tip + side}" stroke="{color}" stroke-width="2"/>'
        yield f'<path d="M{x2} {tip}l-4 {side}h8z" fill="{color}"/>'
        yield f'<text x="{x1 + 10}" y="{(y1 + y2) // 2 + 4}">{text}</text>'
        return
    tip = x2 - (30 if x2 > 700 else HALF[0])  # noqa: PLR2004 - the last box is a narrow one
    bend = x2 - HALF[0] - 24 if y1 != y2 else x1
    yield (
        f'<path d="M{x1} {y1}H{bend}V{y2}H{tip - 7}" fill="none" stroke="{color}" stroke-width="2"/>'
        f'<path d="M{tip} {y2}l-7 -4v8z" fill="{color}"/>'
    )
    left = x1 + (30 if x1 < HALF[0] else HALF[0])
    yield f'<text x="{left + 8}" y="{y1 - 7}">{text}</text>'


def draw_request() -> str:
    """Return the SVG of a request's way between caller, function and S3, from top to bottom."""
    top, row = 58, 52
    height = top + row * len(STEPS) + 6
    lines = [*_begin(760, height, "A request's way"), *_draw_lanes(height)]
    for number, step in enumerate(STEPS):
        lines += _draw_step(step, number + 1, top + row * number + 12)
    return "\n".join([*lines, "</svg>", ""])


def show_cold_start(path: Path = STARTS) -> tuple[str, str]:
    """Return a page's part about recorded cold starts, and their picture; both empty without a record."""
    if not path.exists():
        return "", ""
    found = msgspec.json.decode(path.read_bytes(), type=Comparison)
    sentences = "".join(f"- {sentence}\n" for sentence in describe(found))
    alt = f"Cold starts of {found.function.name} and {found.script.name}, phase by phase, to scale"
    picture = Path(COLD_START).relative_to("docs").as_posix()
    words = (
        f"Measured on the machine of [Performance](performance.md), medians of {len(found.function.starts)} "
        "starts. The thin bars are what goes on beside the imports:"
    )
    return f"{words}\n\n![{alt}]({picture})\n\n{sentences}", draw_timeline(found)


def draw_code(path: Path = HOT, library: str = LIBRARY, columns: int = 150, block: int = 16) -> str:
    """Return the SVG of a library's code: a cell is a block of so many pages, dark where they are hot."""
    runs = parse_runs(json.loads(path.read_text(encoding="utf-8"))[library]["pages"])
    pages = sum(runs[-1])
    hot = sum(count for _, count in runs)
    cells = [0] * (-(-pages // block))
    for first, count in runs:
        for page in range(first, first + count):
            cells[page // block] += 1
    size, top = 5, 44
    rows = -(-len(cells) // columns)
    title = (
        f"{Path(library).name}: {hot * PAGE / 1e6:.0f} of {pages * PAGE / 1e6:.0f} MB of code are hot, "
        "for an import, a load and a translation"
    )
    height = top + rows * size + 34
    lines = [*_begin(columns * size + 24, height, title)]
    lines.append(f'<path fill="#e4e7eb" d="{_draw_cells(range(len(cells)), columns, size, top)}"/>')
    for shade, (low, high) in {"#7fb8d9": (1, block // 2), BLUE: (block // 2 + 1, block)}.items():
        chosen = [number for number, count in enumerate(cells) if low <= count <= high]
        lines.append(f'<path fill="{shade}" d="{_draw_cells(chosen, columns, size, top)}"/>')
    y = top + rows * size + 20
    legend = (
        ("#e4e7eb", "cold: packed, and unpacked when it is called"),
        ("#7fb8d9", "up to half hot"),
        (BLUE, "more than half hot: lies in the file as it is"),
    )
    x = 12
    for color, text in legend:
        lines.append(f'<rect x="{x}" y="{y - 9}" width="10" height="10" fill="{color}"/>')
        lines.append(f'<text x="{x + 16}" y="{y}">{text}</text>')
        x += 40 + 7 * len(text)
    return "\n".join([*lines, "</svg>", ""])


def _begin(width: int, height: int, title: str) -> Iterator[str]:
    yield f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" {_HEAD} fill="{INK}">'
    yield f"<title>{html.escape(title)}</title>"
    yield '<rect width="100%" height="100%" fill="#ffffff"/>'
    yield f'<text x="12" y="22" font-size="14" font-weight="bold">{html.escape(title)}</text>'


def _draw_lanes(height: int) -> Iterator[str]:
    for name, x in LANES.items():
        yield f'<line x1="{x}" y1="52" x2="{x}" y2="{height}" stroke="{LINE}" stroke-width="2"/>'
        yield f'<rect x="{x - 44}" y="32" width="88" height="22" rx="4" fill="{INK}"/>'
        yield f'<text x="{x}" y="47" text-anchor="middle" fill="#ffffff">{name}</text>'


def _draw_step(step: Step, number: int, y: int) -> Iterator[str]:
    """Yield a step's arrow or box, its words and what may end the way."""
    start, end = LANES[step.start], LANES[step.end]
    left, right = min(start, end), max(start, end)
    line = y + 26
    words = f"{number}. {step.text}"
    mono = f'font-family="DejaVu Sans Mono, monospace" font-size="11" fill="{FAINT}"'
    code = f"<tspan {mono}>{step.module}</tspan>"
    if start == end:
        yield f'<rect x="{start - 6}" y="{y + 6}" width="12" height="34" rx="3" fill="{BLUE}"/>'
        yield f'<text x="{start + 16}" y="{y + 18}">{html.escape(words)} {code}</text>'
        left = start
    else:
        tip = -7 if end > start else 7
        yield f'<line x1="{start}" y1="{line}" x2="{end}" y2="{line}" stroke="{BLUE}" stroke-width="2"/>'
        yield f'<path d="M{end} {line}l{tip} -4v8z" fill="{BLUE}"/>'
        anchor = left + 16 if right - left > 300 else left + 10  # noqa: PLR2004
        yield f'<text x="{anchor}" y="{line - 7}">{html.escape(words)} {code}</text>'
    if step.aside:
        aside = html.escape(step.aside)
        yield f'<text x="{left + 16}" y="{line + 15}" font-size="11" fill="{ORANGE}">{aside}</text>'


def _draw_cells(numbers: Sequence[int], columns: int, size: int, top: int) -> str:
    """Return the path of squares, those in a row as one."""
    parts = []
    begin = 0
    for place, number in enumerate(numbers):
        last = place + 1 == len(numbers) or numbers[place + 1] != number + 1 or (number + 1) % columns == 0
        if last:
            row, column = divmod(numbers[begin], columns)
            width = size * (place - begin + 1)
            parts.append(f"M{12 + column * size} {top + row * size}h{width}v{size}h-{width}z")
            begin = place + 1
    return "".join(parts)
