"""The report for a browser: one file that needs no script, no font and no picture from elsewhere."""

import html
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from layer.builder.report.facts import File, Report, Step, by_package, by_step, plain
from layer.builder.report.treemap import Leaf, Node, draw, folder, human

_STYLE = """
:root { color-scheme: light dark;
  --page: #fbfaf7; --card: #fff; --ink: #1d1f24; --soft: #5d6370; --line: #e2dfd8; --free: #efece5;
  --lib: #a9c9ee; --code: #f3d48b; --rest: #bfdcc0; --out: #d9cbe8; --strip: #f0c4cb; --others: #d8d5ce;
  --function: #e0a83c; --layer: #4f8fd6; --archive: #2f5f9e; --good: #1e7b46; --bad: #c02a2a;
  --warn: #8f4a00; --warn-page: #fff0d6; --edge: #fff; --on: #20242c; }
@media (prefers-color-scheme: dark) { :root {
  --page: #14161a; --card: #1c1f25; --ink: #e9e7e2; --soft: #a3a8b4; --line: #31353e; --free: #262a31;
  --lib: #2c5686; --code: #735b1c; --rest: #35603f; --out: #534573; --strip: #733e48; --others: #44474e;
  --function: #d39c34; --layer: #4c8ad0; --archive: #89b8ee; --good: #62c68c; --bad: #ff7b72;
  --warn: #ffc266; --warn-page: #3a2a10; --edge: #1c1f25; --on: #f1efea; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); line-height: 1.5;
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 1184px; margin: 0 auto; padding: 40px 32px 64px; }
h1 { font-size: 30px; line-height: 1.2; margin: 0; letter-spacing: -.01em; overflow-wrap: anywhere; }
h2 { font-size: 20px; margin: 52px 0 4px; }
h1 small { font-weight: 400; color: var(--soft); }
p { margin: 4px 0 12px; max-width: 88ch; } .soft { color: var(--soft); }
.verdicts { display: flex; flex-wrap: wrap; gap: 10px; margin: 20px 0 4px; padding: 0; list-style: none; }
.verdicts li { padding: 9px 15px; border-radius: 9px; border: 1.5px solid; background: var(--card);
  font-weight: 650; }
.verdicts span { font-weight: 400; color: var(--ink); }
.good { color: var(--good); } .bad { color: var(--bad); }
.verdicts .warn { flex-basis: 100%; color: var(--warn); background: var(--warn-page); border-width: 3px;
  padding: 14px 18px; }
.warn b { font-size: 22px; letter-spacing: .04em; margin-right: 6px; }
svg { display: block; font: 11px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
.bar { width: 100%; height: 44px; margin-top: 14px; overflow: visible; }
.bar .free { fill: var(--free); } .bar .function { fill: var(--function); }
.bar .layer { fill: var(--layer); } .bar .archive { fill: var(--archive); }
.bar .over { fill: url(#over); } .bar line { stroke: var(--ink); stroke-width: 2; }
.bar .hatch { stroke: var(--bad); stroke-width: 7; } .hatch-page { fill: var(--card); }
.legend { display: flex; flex-wrap: wrap; gap: 4px 22px; margin: 8px 0 10px; padding: 0; list-style: none; }
.legend i { display: inline-block; width: 12px; height: 12px; margin-right: 7px; border-radius: 3px; }
i.lib { background: var(--lib); } i.code { background: var(--code); } i.rest { background: var(--rest); }
i.out { background: var(--out); } i.strip { background: var(--strip); }
i.function { background: var(--function); } i.layer { background: var(--layer); }
i.archive { background: var(--archive); } i.free { background: var(--free); outline: 1px solid var(--line); }
i.over { background: repeating-linear-gradient(45deg, var(--bad) 0 3px, var(--card) 3px 6px); }
.map { width: 100%; height: auto; margin: 6px 0 14px; }
.map rect { stroke: var(--edge); stroke-width: 1; } .map text { fill: var(--on); pointer-events: none; }
.map .group > rect { fill: var(--card); stroke: var(--edge); } .map .group.d0 > rect { fill: var(--free); }
.map .size { opacity: .7; }
.map .group > text { fill: var(--ink); } .map .group.d0 > text { font-weight: 650; }
.cell.lib > rect { fill: var(--lib); } .cell.code > rect { fill: var(--code); }
.cell.rest > rect { fill: var(--rest); } .cell.out > rect { fill: var(--out); }
.cell.strip > rect { fill: var(--strip); } .cell.others > rect { fill: var(--others); }
.cell:hover > rect { stroke: var(--ink); stroke-width: 1.5; }
.narrow { display: none; }
.scroll { overflow-x: auto; margin: 8px 0 12px; border: 1px solid var(--line); border-radius: 9px;
  background: var(--card); }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th, td { text-align: left; vertical-align: top; padding: 7px 14px; border-top: 1px solid var(--line); }
thead th { border-top: 0; color: var(--soft); font-weight: 500; white-space: nowrap; }
tbody th { font-weight: 600; min-width: 15ch; } th, td { overflow-wrap: anywhere; min-width: 9ch; }
.short { max-width: 640px; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; min-width: 0; }
tfoot th, tfoot td { border-top: 2px solid var(--line); font-weight: 650; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 7px 22px; margin: 26px 0 0; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
code { font: 12.5px ui-monospace, SFMono-Regular, Menlo, "DejaVu Sans Mono", monospace; }
summary { cursor: pointer; color: var(--soft); padding: 4px 0; }
@media (max-width: 820px) {
  main { padding: 24px 16px 40px; } h1 { font-size: 24px; } h2 { margin-top: 40px; }
  .wide { display: none; } .narrow { display: block; max-width: 620px; }
  dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: 10px; } th, td { padding: 6px 10px; }
  .stack thead { display: none; } .stack tr { display: block; padding: 8px 12px; }
  .stack tr + tr, .stack tfoot tr { border-top: 1px solid var(--line); }
  .stack th, .stack td, .stack tfoot th, .stack tfoot td { display: block; border: 0; padding: 1px 0; }
  .stack .number { display: inline; margin-right: 16px; }
  .stack .number::before { content: attr(data-name) " "; color: var(--soft); font-weight: 400; }
  .stack td:empty { display: none; } }
"""

_LISTED = 60
_MAPS = (("wide", 1120, 620), ("narrow", 480, 640))
"""Width and height of the larger of the two maps, for wide and for narrow windows."""

_KINDS = {"lib": "compiled libraries", "code": "Python", "rest": "everything else"}


def page(report: Report) -> str:
    """Return the report as one HTML page that needs nothing else."""
    name = f"{_text(report.recipe)} for {_text(report.target)}"
    body = "\n".join([_header(report), _budget(report), _facts(report), _inside(report), _outside(report),
                      _tables(report)])  # fmt: skip
    return (
        (
            f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{name}</title>\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
        )
        .encode(errors="backslashreplace")
        .decode()
    )


def _text(value: object) -> str:
    return html.escape(plain(str(value)))


def _header(report: Report) -> str:
    fit = ("good", "Fits") if report.fits else ("bad", "Does not fit")
    left = human(abs(report.budget.limit - report.budget.total))
    rest = f"{left} left" if report.fits else f"{left} too many"
    proof = ("good", "Proven") if report.proven else ("warn", "UNPROVEN")
    return (
        f"<h1>{_text(report.recipe)} <small>for {_text(report.target)}</small></h1>"
        f'<p class="soft">A layer for the engine {_text(report.engine)}, {_text(report.runtime)} on '
        f"{_text(report.architecture)}.</p>"
        f'<ul class="verdicts"><li class="{fit[0]}">{fit[1]} <span>· {rest}</span></li>'
        f'<li class="{proof[0]}"><b>{proof[1]}</b> <span>· {_text(report.proof.how)}</span></li></ul>'
    )


def _budget(report: Report) -> str:
    budget, packed = report.budget, report.archive.bytes if report.archive else 0
    end = max(budget.limit, budget.total, 1)
    parts = [
        ("function", "the function", budget.function),
        ("archive", "the layer's archive", packed),
        ("layer", "the layer's other files" if packed else "the layer", budget.layer - packed),
    ]
    parts = [part for part in parts if part[2] > 0]
    left = max(budget.limit - budget.total, 0)
    at, drawn = 0, [_piece("free", 0, 1, f"left: {left:,} bytes")]
    for style, name, count in parts:
        drawn.append(_piece(style, at / end, count / end, f"{name}: {count:,} bytes"))
        at += count
    if over := max(budget.total - budget.limit, 0):
        drawn.append(_piece("over", budget.limit / end, over / end, f"too many: {over:,} bytes"))
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
        f"bytes</title></line></svg>{_legend(parts)}"
    )


def _piece(style: str, start: float, width: float, title: str) -> str:
    return (
        f'<rect class="{style}" x="{100 * start:.3f}%" y="10" width="{100 * width:.3f}%" height="32">'
        f"<title>{title}</title></rect>"
    )


def _legend(parts: Iterable[tuple[str, str, int]]) -> str:
    items = [f'<li><i class="{style}"></i>{name} {human(count)}</li>' for style, name, count in parts]
    return f'<ul class="legend">{"".join(items)}</ul>'


def _facts(report: Report) -> str:
    rows = [("Strategy", f"{report.strategy}: {report.reason}")]
    if packed := report.archive:
        became = f"packed into {human(packed.bytes)} and unpacked when the function starts"
        rows.append(("Archive", f"{packed.files:,} files of {human(packed.tree_bytes)}, {became}"))
    rows += [("Traced", report.trace.source), ("Bytecode", report.compiled)]
    items = [f"<dt>{name}</dt><dd>{_text(text)}</dd>" for name, text in rows]
    items += [f"<dt>{name}</dt><dd><code>{_text(text)}</code></dd>" for name, text in
              (("Digest", report.digest), ("Layer SHA-256", report.layer_sha256))]  # fmt: skip
    return f"<dl>{''.join(items)}</dl>"


def _inside(report: Report) -> str:
    total = sum(file.bytes for file in report.files)
    kinds: Counter[str] = Counter()
    for file in report.files:
        kinds[_kind(file.path)] += file.bytes
    nodes = _nodes(report.files)
    if report.archive:
        nodes = tuple(
            _place_node(name, [file for file in report.files if file.place == place])
            for place, name in (
                ("archive", "in the archive, drawn unpacked"),
                ("layer", "in the layer as is"),
            )
        )
    packages = sorted(by_package(report.files).items(), key=lambda item: (-item[1][1], item[0]))
    largest = sorted(report.files, key=lambda file: (-file.bytes, file.path))[:_LISTED]
    return (
        f"<h2>What is in</h2><p>{human(total)} in {len(report.files):,} files of {len(packages):,} packages. "
        "Areas are bytes, on the scale of the map below; what is too small to see is among the others.</p>"
        f"{_legend((kind, name, kinds[kind]) for kind, name in _KINDS.items())}"
        + _maps(nodes, total, _taken(report), "What is in, by package and folder; the tables have the same")
        + _table(("Package", "Files", "Bytes"), [(name, *counts) for name, counts in packages], total=True)
        + f"<details><summary>The {len(largest)} largest files</summary>"
        + _table(("File", "Package", "Bytes"), [(one.path, one.package, one.bytes) for one in largest])
        + "</details>"
    )


def _kind(path: str) -> str:
    if re.search(r"\.(so|dylib|pyd)(\.[\d.]+)?$", path):
        return "lib"
    return "code" if path.endswith((".py", ".pyc", ".pyi")) else "rest"


def _place_node(name: str, files: Iterable[File]) -> Node:
    nodes = _nodes(files)
    weight = sum(node.weight for node in nodes)
    return Node(f"{name} · {human(weight)}", f"{name}: {weight:,} bytes", weight, "others", nodes)


def _nodes(files: Iterable[File]) -> tuple[Node, ...]:
    grouped: dict[str, list[Leaf]] = {}
    for file in files:
        grouped.setdefault(file.package, []).append(Leaf(plain(file.path), file.bytes, _kind(file.path)))
    nodes = []
    for package, leaves in grouped.items():
        node, name = folder(leaves), plain(package)
        title = f"{name}: {node.weight:,} bytes, {len(leaves):,} files"
        nodes.append(replace(node, name=f"{name} · {human(node.weight)}", title=title))
    return tuple(nodes)


def _taken(report: Report) -> int:
    return sum(one.bytes for one in report.removed) + report.stripped.saved


def _maps(nodes: Sequence[Node], total: int, other: int, label: str) -> str:
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


def _outside(report: Report) -> str:
    steps, total = by_step(report), _taken(report)
    nodes = [_step_node(one) for one in steps]
    legend = [("out", "whole files", total - report.stripped.saved)]
    rows = [(one.step, one.reason, _shares(one.packages), one.files, one.bytes) for one in steps]
    if saved := report.stripped.saved:
        text = f"symbols, from {report.stripped.files:,} files that are in"
        nodes.append(Node(f"symbols · {human(saved)}", f"{text}: {saved:,} bytes", saved, "strip"))
        legend.append(("strip", text, saved))
        rows.append(("symbols", text, "", report.stripped.files, saved))
    return (
        f"<h2>What was taken out</h2><p>{human(total)}, by step or rule and package, on the scale of the map "
        f"above.</p>{_legend(legend)}"
        + _maps(nodes, total, sum(file.bytes for file in report.files), "What was taken out, by step or rule")
        + _table(("Step or rule", "Reason", "Of", "Files", "Bytes"), rows, total=True)
    )


def _step_node(step: Step) -> Node:
    name = plain(step.step)
    packages = tuple(
        Node(plain(package), f"{plain(package)}: {count:,} bytes, by {name}", count, "out")
        for package, count in step.packages
    )
    return Node(f"{name} · {human(step.bytes)}", f"{name}: {step.bytes:,} bytes", step.bytes, "out", packages)


def _shares(packages: Sequence[tuple[str, int]]) -> str:
    named = [f"{name} {human(count)}" for name, count in packages[:3]]
    more = [f"{len(packages) - 3:,} more"] if len(packages) > 3 else []  # noqa: PLR2004
    return ", ".join(named + more)


def _tables(report: Report) -> str:
    stripped = report.stripped
    became = f"{human(stripped.before)} became {human(stripped.after)}"
    lost = f"{stripped.files:,} files lost their symbols: {became}." if stripped.files else "No file was."
    wheels = [(one.name, one.version, one.file, one.bytes) for one in report.wheels]
    parts = [
        "<h2>Checks</h2>",
        _table(("Check", "Result"), [(one.name, one.result) for one in report.checks]),
        "<h2>Wheels</h2><p>What the layer was made from.</p>",
        _table(("Name", "Version", "File", "Bytes"), wheels, total=True),
        f"<h2>Stripped</h2><p>{lost}</p>",
    ]
    if stripped.restored:
        parts.append(_table(("Put back as it came",), [(path,) for path in stripped.restored]))
    return "".join(parts)


def _table(head: Sequence[str], rows: Sequence[tuple[object, ...]], *, total: bool = False) -> str:
    """Return a table in which whole numbers are summed up when asked to, and stand to the right."""
    if not rows:
        return '<p class="soft">None.</p>'
    numbers = {i for row in rows for i, value in enumerate(row) if isinstance(value, int)}

    def line(cells: Iterable[object], tag: str = "td") -> str:
        drawn = []
        for i, value in enumerate(cells):
            text = f"{value:,}" if isinstance(value, int) else _text(value)
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
