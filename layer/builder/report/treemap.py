"""Treemaps: weights as rectangles whose areas are in the same proportion, and their picture as SVG.

The layout is the squarified one of Bruls, Huizing and van Wijk (*Squarified Treemaps*, 2000): rows
are filled along the shorter side of what is left, as long as that makes their rectangles squarer.
"""

import html
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

_SMALLEST = 40
"""Square pixels below which a rectangle joins the "others"."""
_HEADER = 17
_GROUP = (56, 42)
"""Width and height from which a rectangle has room for a header and what is in it."""
_TWO_LINES = 36
_CHARACTER = 6.2
"""Pixels that a label's character takes on average."""


class Rectangle(NamedTuple):
    """A rectangle, from its upper left corner."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Node:
    """The subject of a rectangle: its label, tooltip, area, CSS class, and parts of the same total weight."""

    name: str
    title: str
    weight: int
    style: str
    children: tuple["Node", ...] = ()


class Leaf(NamedTuple):
    """A file: its path, what its area is in proportion to, and its CSS class."""

    path: str
    weight: int
    style: str


def format_bytes(count: float) -> str:
    """Return a number of bytes as people read it."""
    for unit in ("B", "kB"):
        if count < 999.5:  # noqa: PLR2004
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.1f} MB"


def squarify(weights: Sequence[float], within: Rectangle) -> list[Rectangle]:
    """Return a rectangle for every weight, in the order of the weights, that together fill ``within``.

    A weight of 0 gets a rectangle without an area, a negative one is a ValueError.
    """
    if any(weight < 0 for weight in weights):
        raise ValueError("a treemap has no room for a negative weight")
    order = sorted((i for i in range(len(weights)) if weights[i]), key=lambda i: -weights[i])
    found = [Rectangle(within.x, within.y, 0, 0)] * len(weights)
    free = within
    while order:
        left = float(sum(weights[i] for i in order))
        scale = free.width * free.height / left
        areas = [weights[i] * scale for i in order]
        count = _count_row(areas, min(free.width, free.height))
        row, order = order[:count], order[count:]
        taken = sum(weights[i] for i in row)
        placed, free = _lay_row([weights[i] / taken for i in row], taken / left if order else 1, free)
        for i, place in zip(row, placed, strict=True):
            found[i] = place
    return found


def _count_row(areas: Sequence[float], side: float) -> int:
    """Return how many of the areas, the largest first, make the best row along a side."""
    total, best = 0.0, float("inf")
    for count, area in enumerate(areas):
        total += area
        worst = max(side**2 * areas[0] / total**2, total**2 / (side**2 * area)) if side else 0
        if worst > best:
            return count
        best = worst
    return len(areas)


def _lay_row(shares: Iterable[float], part: float, free: Rectangle) -> tuple[list[Rectangle], Rectangle]:
    """Lay a row that takes a part of what is free, and return it and the rest."""
    x, y, width, height = free
    row = []
    if width >= height:
        for share in shares:
            row.append(Rectangle(x, y, width * part, height * share))
            y += height * share
        return row, Rectangle(x + width * part, free.y, width * (1 - part), height)
    for share in shares:
        row.append(Rectangle(x, y, width * share, height * part))
        x += width * share
    return row, Rectangle(free.x, y + height * part, width, height * (1 - part))


def make_folder(leaves: Sequence[Leaf], depth: int = 0) -> Node:
    """Return the node of files that have the first ``depth`` parts of their paths in common.

    A folder with nothing but a folder in it is not shown; the style is that of most of its weight.
    """
    total = sum(leaf.weight for leaf in leaves)
    path, _, style = leaves[0]
    if len(leaves) == 1 or depth == len(path.split("/")):
        return Node(path.rpartition("/")[2], f"{path}: {total:,} bytes", total, style)
    grouped: dict[str, list[Leaf]] = {}
    styles: Counter[str] = Counter()
    for leaf in leaves:
        grouped.setdefault(leaf.path.split("/")[depth], []).append(leaf)
        styles[leaf.style] += leaf.weight
    if len(grouped) == 1:
        return make_folder(leaves, depth + 1)
    place = "/".join(path.split("/")[:depth])
    title = f"{place}/: {total:,} bytes, {len(leaves):,} files"
    children = tuple(make_folder(part, depth + 1) for part in grouped.values())
    return Node(f"{place.rpartition('/')[2]}/", title, total, styles.most_common(1)[0][0], children)


def draw(nodes: Sequence[Node], width: float, height: float, label: str) -> str:
    """Return an SVG of nodes; the areas of the outermost are exact, those inside make room for headers."""
    body = "".join(_draw_cells(nodes, Rectangle(0, 0, width, height), 0))
    return (
        f'<svg class="map" viewBox="0 0 {width:.0f} {height:.0f}" role="img" '
        f'aria-label="{html.escape(label)}">{body}</svg>'
    )


def _draw_cells(nodes: Sequence[Node], within: Rectangle, depth: int) -> Iterator[str]:
    nodes = _merge_small(nodes, within)
    for node, place in zip(nodes, squarify([node.weight for node in nodes], within), strict=True):
        x, y, width, height = place
        grouped = len(node.children) > 1 and width >= _GROUP[0] and height >= _GROUP[1]
        style = f"{'group' if grouped else 'cell'} d{min(depth, 2)} {node.style}"
        yield (
            f'<g class="{style}"><rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"/>'
            f"<title>{html.escape(node.title)}</title>{_draw_label(node, place, grouped)}"
        )
        if grouped:
            inner = Rectangle(x + 2, y + _HEADER, width - 4, height - _HEADER - 2)
            yield from _draw_cells(node.children, inner, depth + 1)
        yield "</g>"


def _merge_small(nodes: Sequence[Node], within: Rectangle) -> list[Node]:
    """Return the nodes that can be seen, the largest first, and one in place of all others."""
    nodes = sorted((node for node in nodes if node.weight), key=lambda node: (-node.weight, node.name))
    total = sum(node.weight for node in nodes)
    least = _SMALLEST * total / max(within.width * within.height, 1)
    seen = [node for node in nodes if node.weight >= least]
    small = nodes[len(seen) :]
    if len(small) > 1:
        weight = sum(node.weight for node in small)
        name = f"{len(small):,} others"
        return [*seen, Node(name, f"{name}, each too small to be seen: {weight:,} bytes", weight, "others")]
    return [*seen, *small]


def _draw_label(node: Node, place: Rectangle, grouped: bool) -> str:
    room = int((place.width - 8) / _CHARACTER)
    if place.height < _HEADER or room < min(len(node.name), 4):
        return ""
    text = node.name if len(node.name) <= room else node.name[: room - 1] + "…"
    x, y = place.x + 4, place.y + (12.5 if grouped else min(14, place.height / 2 + 4))
    label = f'<text x="{x:.1f}" y="{y:.1f}">{html.escape(text)}</text>'
    size = format_bytes(node.weight)
    if not grouped and not node.name.endswith(size) and place.height >= _TWO_LINES and len(size) <= room:
        label += f'<text class="size" x="{x:.1f}" y="{y + 14:.1f}">{size}</text>'
    return label
