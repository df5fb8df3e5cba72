"""The page of libraries: sizes, import times and proofs, made of the records in bench/packages alone."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.packages import catalogue, summary
from bench.packages.records import Record
from bench.table import escape, format_number
from layer.builder.target import HOST

DOCUMENT = "docs/reference/packages.md"

_TEXT = (Path(__file__).parent / "texts" / "packages.md").read_text(encoding="utf-8").rstrip("\n")
_HEADINGS = {HOST: "x86_64, Python 3.11", "python3.13-x86_64": "x86_64", "python3.13-arm64": "arm64"}

Found = Mapping[str, Mapping[str, Record]]
"""Records by target and library."""


def make_page() -> str:
    """Return the page's text."""
    found = {
        target: {record.package: record for record in summary.read_records(target)}
        for target in catalogue.TARGETS
    }
    names = list(catalogue.read())
    single = [name for name in names if any(_is_single(records, name) for records in found.values())]
    several = [name for name in names if name not in single]
    parts = [
        _TEXT.format(libraries=len(names), summary=_summarise(found)),
        "\n## Packages\n",
        draw(found, several),
        "\n## Packages that are one library\n",
        f"A single shared library is more than {summary.ONE_LIBRARY:.0%} of the usual tree.\n",
        draw(found, single),
        "\n## Not proven\n",
        list_unproven(found),
    ]
    return "\n".join(parts) + "\n"


def _is_single(records: Mapping[str, Record], name: str) -> bool:
    return name in records and summary.is_one_library(records[name])


def _summarise(found: Found) -> str:
    lines = ["| target | recorded | proven | size, median | largest | import, to usual | to pip |"]
    lines.append("|---|---|---|---|---|---|---|")
    for target, by_name in found.items():
        records = list(by_name.values())
        sizes = summary.list_sizes(records, one_library=False)
        every = [*sizes, *summary.list_sizes(records, one_library=True)]
        times = [summary.list_import_times(records, kind) for kind in ("usual", "pip")]
        cells = [
            target, str(len(records)), str(summary.count_proven(records)), _median(sizes),
            format_number(max(every)) if every else "", *map(_median, times),
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _median(ratios: Sequence[float]) -> str:
    return format_number(statistics.median(ratios)) if ratios else ""


def draw(found: Found, names: Sequence[str]) -> str:
    """Return the table of some libraries, those without a record left out."""
    headings = [f"{_HEADINGS[target]}: pip, usual, ours" for target in found]
    columns = ["library", *headings, "import, to usual", "to pip", "proven"]
    lines = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    for name in names:
        records = {target: by_name[name] for target, by_name in found.items() if name in by_name}
        if not records:
            continue
        sizes = [_describe_size(records.get(target)) for target in found]
        imports = records[HOST].imports if HOST in records else {}
        times = [_median(imports.get(kind, [])) for kind in ("usual", "pip")]
        proven = [_HEADINGS[target] for target, record in records.items() if record.is_proven]
        version = next(iter(records.values())).versions.get(name.lower(), "")
        lines.append(
            f"| {' | '.join([f'{name} {version}'.strip(), *sizes, *times, '; '.join(proven) or '**no**'])} |"
        )
    return "\n".join(lines)


def _describe_size(record: Record | None) -> str:
    if record is None:
        return ""
    megabytes = [
        f"{record.bytes[kind] / 1e6:,.1f}" for kind in ("pip", "usual", "ours") if kind in record.bytes
    ]
    ratio = summary.compare_size(record)
    return ", ".join(megabytes) + (f" ({ratio:.2f})" if ratio is not None else ", not built")


def list_unproven(found: Found) -> str:
    """Return a list of the libraries that are not proven, each with the reason."""
    lines = [
        f"- {record.package}, {target}: {escape(_explain(record))}"
        for target, by_name in found.items()
        for record in by_name.values()
        if not record.is_proven
    ]
    return "\n".join(lines) or "None."


def _explain(record: Record) -> str:
    reason = record.reason if record.verdict != "proven" else f"the second script: {record.other}"
    return " ".join(reason.split())[:400]
