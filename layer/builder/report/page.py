"""The report for a browser: one file that needs no script, no font and no picture from elsewhere."""

import html
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from layer.builder.report.facts import File, Report
from layer.builder.report.summary import Step, by_package, by_step, plain
from layer.builder.report.treemap import Leaf, Node, draw, format_bytes, make_folder
from layer.builder.tree import write_atomic

PAGE = "report.html"

_LISTED = 60
_MAPS = (("wide", 1120, 620), ("narrow", 480, 640))
"""Width and height of the larger of the two maps, for wide and for narrow windows."""

_KINDS = {"lib": "compiled libraries", "code": "Python", "rest": "everything else"}


def write_page(report: Report, out: Path) -> None:
    """Write ``report.html``, which is replaced as a whole."""
    write_atomic(out / PAGE, draw_page(report))


def draw_page(report: Report) -> str:
    """Return the report as one HTML page that needs nothing else."""
    style = Path(__file__).with_name("style.css").read_text(encoding="utf-8")
    name = f"{_escape(report.recipe)} for {_escape(report.target)}"
    parts = (_draw_header, _draw_budget, _draw_facts, _draw_contents, _draw_removals, _draw_tables)
    body = "\n".join(part(report) for part in parts)
    page = (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{name}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>\n{style}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )
    return page.encode(errors="backslashreplace").decode()


def _escape(value: object) -> str:
    return html.escape(plain(str(value)))


def _draw_header(report: Report) -> str:
    fit = ("good", "Fits") if report.fits else ("bad", "Does not fit")
    left = format_bytes(abs(report.budget.limit - report.budget.total))
    rest = f"{left} left" if report.fits else f"{left} too many"
    proof = ("good", "Proven") if report.proven else ("warn", report.proof.label)
    return (
        f"<h1>{_escape(report.recipe)} <small>for {_escape(report.target)}</small></h1>"
        f'<p class="soft">A layer for the engine {_escape(report.engine)}, {_escape(report.runtime)} on '
        f"{_escape(report.architecture)}.</p>"
        f'<ul class="verdicts"><li class="{fit[0]}">{fit[1]} <span>· {rest}</span></li>'
        f'<li class="{proof[0]}"><b>{proof[1]}</b> <span>· {_escape(report.proof.how)}</span></li></ul>'
    )


def _draw_budget(report: Report) -> str:
    budget, packed = report.budget, report.archive.bytes if report.archive else 0
    end = max(budget.limit, budget.total, 1)
    parts = [
        ("function", "the function", budget.function),
        ("archive", "the layer's archive", packed),
        ("layer", "the layer's other files" if packed else "the layer", budget.layer - packed),
    ]
    parts = [part for part in parts if part[2] > 0]
    left = max(budget.limit - budget.total, 0)
    at, drawn = 0, [_draw_piece("free", 0, 1, f"left: {left:,} bytes")]
    for style, name, count in parts:
        drawn.append(_draw_piece(style, at / end, count / end, f"{name}: {count:,} bytes"))
        at += count
    if over := max(budget.total - budget.limit, 0):
        drawn.append(_draw_piece("over", budget.limit / end, over / end, f"too many: {over:,} bytes"))
        parts.append(("over", "over the limit", over))
    else:
        parts.append(("free", "left", left))
    limit = f"{100 * budget.limit / end:.3f}%"
    what = f"{budget.total:,} of {budget.limit:,} bytes"
    return (
        f"<h2>Lambda's limit</h2><p>{what} that Lambda takes unzipped, for a function and all its layers "
        f'together.</p><svg class="bar" role="img" aria-label="{what}"><defs><pattern id="over" width="9" '
        'height="9" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect class="hatch-page" '
        'width="9" height="9"/><line class="hatch" x1="0" y1="0" x2="0" y2="9"/></pattern></defs>'
        f'{"".join(drawn)}<line x1="{limit}" x2="{limit}" y1="2" y2="44"><title>the limit: {budget.limit:,} '
        f"bytes</title></line></svg>{_draw_legend(parts)}"
    )


def _draw_piece(style: str, start: float, width: float, title: str) -> str:
    return (
        f'<rect class="{style}" x="{100 * start:.3f}%" y="10" width="{100 * width:.3f}%" height="32">'
        f"<title>{title}</title></rect>"
    )


def _draw_legend(parts: Iterable[tuple[str, str, int]]) -> str:
    items = [f'<li><i class="{style}"></i>{name} {format_bytes(count)}</li>' for style, name, count in parts]
    return f'<ul class="legend">{"".join(items)}</ul>'


def _draw_facts(report: Report) -> str:
    rows = [("Strategy", f"{report.strategy}: {report.reason}")]
    if packed := report.archive:
        became = f"packed into {format_bytes(packed.bytes)} and unpacked when the function starts"
        rows.append(("Archive", f"{packed.files:,} files of {format_bytes(packed.tree_bytes)}, {became}"))
    for one in report.split:
        cold = f"{format_bytes(one.cold)} of code is packed until it is called"
        size = f"{format_bytes(one.before)} in {format_bytes(one.after)}"
        rows.append(("Split", f"{one.path}: {size}; {format_bytes(one.hot)} of code is ready, {cold}"))
    rows += [("Traced", report.trace.source), ("Bytecode", report.compiled)]
    items = [f"<dt>{name}</dt><dd>{_escape(text)}</dd>" for name, text in rows]
    items += [f"<dt>{name}</dt><dd><code>{_escape(text)}</code></dd>" for name, text in
              (("Digest", report.digest), ("Layer SHA-256", report.layer_sha256))]  # fmt: skip
    return f"<dl>{''.join(items)}</dl>"


def _draw_contents(report: Report) -> str:
    total = sum(file.bytes for file in report.files)
    kinds: Counter[str] = Counter()
    for file in report.files:
        kinds[_classify(file.path)] += file.bytes
    nodes = _make_nodes(report.files)
    if report.archive:
        places = {"in the archive, drawn unpacked": "archive", "in the layer as is": "layer"}
        parts = {name: [one for one in report.files if one.place == place] for name, place in places.items()}
        nodes = tuple(
            _make_node(name, sum(one.bytes for one in files), "others", _make_nodes(files))
            for name, files in parts.items()
        )
    packages = by_package(report.files)
    largest = sorted(report.files, key=lambda file: (-file.bytes, file.path))[:_LISTED]
    return (
        f"<h2>What is in</h2><p>{format_bytes(total)} in {len(report.files):,} files of {len(packages):,} "
        "packages. Areas are bytes, on the scale of the map below; what is too small to see is among the "
        "others.</p>"
        f"{_draw_legend((kind, name, kinds[kind]) for kind, name in _KINDS.items())}"
        + _draw_maps(
            nodes, total, report.removed_bytes, "What is in, by package and folder; the tables have the same"
        )
        + _draw_table(("Package", "Files", "Bytes"), packages, total=True)
        + f"<details><summary>The {len(largest)} largest files</summary>"
        + _draw_table(("File", "Package", "Bytes"), [(one.path, one.package, one.bytes) for one in largest])
        + "</details>"
    )


def _classify(path: str) -> str:
    if re.search(r"\.(so|dylib|pyd)(\.[\d.]+)?$", path):
        return "lib"
    return "code" if path.endswith((".py", ".pyc", ".pyi")) else "rest"


def _make_node(name: str, weight: int, style: str, children: tuple[Node, ...] = (), title: str = "") -> Node:
    """Return a node whose label and tooltip tell its bytes."""
    return Node(
        f"{name} · {format_bytes(weight)}", f"{title or name}: {weight:,} bytes", weight, style, children
    )


def _make_nodes(files: Iterable[File]) -> tuple[Node, ...]:
    grouped: dict[str, list[Leaf]] = {}
    for file in files:
        grouped.setdefault(file.package, []).append(Leaf(plain(file.path), file.bytes, _classify(file.path)))
    nodes = []
    for package, leaves in grouped.items():
        node, name = make_folder(leaves), plain(package)
        title = f"{name}: {node.weight:,} bytes, {len(leaves):,} files"
        nodes.append(replace(node, name=f"{name} · {format_bytes(node.weight)}", title=title))
    return tuple(nodes)


def _draw_maps(nodes: Sequence[Node], total: int, other: int, label: str) -> str:
    """Return the map for wide and for narrow windows, on the same scale as that of ``other`` bytes."""
    if not total:
        return ""
    drawn = []
    for style, width, height in _MAPS:
        area = width * height * total / max(total, other)
        tall = max(area / width, min(height / 3, area**0.5))
        drawn.append(f'<div class="{style}" style="width:{100 * area / tall / width:.2f}%">'
                     f"{draw(nodes, area / tall, tall, label)}</div>")  # fmt: skip
    return "".join(drawn)


def _draw_removals(report: Report) -> str:
    steps, total = by_step(report), report.removed_bytes
    nodes = [node for one in steps if (node := _make_step_node(one)).weight]
    legend = [("out", "whole files", total - report.stripped.savings)]
    rows = [(one.step, one.reason, _format_shares(one.packages), one.files, one.bytes) for one in steps]
    if saved := report.stripped.savings:
        text = f"symbols, from {report.stripped.files:,} files that are in"
        nodes.append(_make_node("symbols", saved, "strip", title=text))
        legend.append(("strip", text, saved))
        rows.append(("symbols", text, "", report.stripped.files, saved))
    return (
        f"<h2>What was taken out</h2><p>{format_bytes(total)}, by step or rule and package, on the scale of "
        f"the map above.</p>{_draw_legend(legend)}"
        + _draw_maps(
            nodes,
            sum(node.weight for node in nodes),
            sum(file.bytes for file in report.files),
            "What was taken out, by step or rule",
        )
        + _draw_table(("Step or rule", "Reason", "Of", "Files", "Bytes"), rows, total=True)
    )


def _make_step_node(step: Step) -> Node:
    """Return a node of what a step took out; a patch that made a package larger has no place in a map."""
    name = plain(step.step)
    packages = tuple(
        Node(plain(package), f"{plain(package)}: {count:,} bytes, by {name}", count, "out")
        for package, count in step.packages
        if count > 0
    )
    return _make_node(name, sum(node.weight for node in packages), "out", packages)


def _format_shares(packages: Sequence[tuple[str, int]]) -> str:
    named = [f"{name} {format_bytes(count)}" for name, count in packages[:3]]
    more = [f"{len(packages) - 3:,} more"] if len(packages) > 3 else []  # noqa: PLR2004
    return ", ".join(named + more)


def _draw_tables(report: Report) -> str:
    stripped = report.stripped
    became = f"{format_bytes(stripped.before)} became {format_bytes(stripped.after)}"
    lost = f"{stripped.files:,} files lost their symbols: {became}." if stripped.files else "No file was."
    wheels = [(one.name, one.version, one.file, one.bytes) for one in report.wheels]
    parts = [
        "<h2>Checks</h2>",
        _draw_table(("Check", "Result"), [(one.name, one.result) for one in report.checks]),
        "<h2>Wheels</h2><p>What the layer was made from.</p>",
        _draw_table(("Name", "Version", "File", "Bytes"), wheels, total=True),
        f"<h2>Stripped</h2><p>{lost}</p>",
    ]
    if stripped.restored:
        parts.append(_draw_table(("Put back as it came",), [(path,) for path in stripped.restored]))
    return "".join(parts)


def _draw_table(head: Sequence[str], rows: Sequence[tuple[object, ...]], *, total: bool = False) -> str:
    """Return a table in which whole numbers are summed up when asked to, and stand to the right."""
    if not rows:
        return '<p class="soft">None.</p>'
    numbers = {i for row in rows for i, value in enumerate(row) if isinstance(value, int)}

    def line(cells: Iterable[object], tag: str = "td") -> str:
        drawn = []
        for i, value in enumerate(cells):
            text = f"{value:,}" if isinstance(value, int) else _escape(value)
            kind, style = "th" if i == 0 else tag, ""
            if i in numbers:
                style = f' class="number" data-name="{head[i].lower()}"'
            scope = ' scope="row"' if kind == "th" and tag == "td" else ""
            drawn.append(f"<{kind}{style}{scope}>{text}</{kind}>")
        return f"<tr>{''.join(drawn)}</tr>"

    style = "scroll short" if len(head) - len(numbers) == 1 else "scroll stack" if numbers else "scroll"
    foot = ""
    if total and len(rows) > 1:
        sums = [sum(int(str(row[i])) for row in rows) if i in numbers else "" for i in range(len(head))]
        foot = f"<tfoot>{line(['together', *sums[1:]])}</tfoot>"
    return (
        f'<div class="{style}"><table><thead>{line(head, "th")}</thead><tbody>'
        f"{''.join(line(row) for row in rows)}</tbody>{foot}</table></div>"
    )
