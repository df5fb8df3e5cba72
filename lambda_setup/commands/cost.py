"""``cost``: what a million items cost on Lambda, by engine, processor and memory."""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from lambda_setup.commands.options import add_command, add_json
from lambda_setup.costs.pricing import (
    Calls,
    Cost,
    Prices,
    cold_share,
    cost,
    metric_hours,
    prices,
    reads,
    speed,
)
from lambda_setup.deployment.aws import open_session
from lambda_setup.deployment.local import SHIPPED_MODEL
from lambda_setup.functions import ROOT
from lambda_setup.models.describe import describe
from lambda_setup.output import print_result, table

ENGINES = ROOT / "bench" / "engines.json"
MEASURE = "make bench ROW=throughput"
DOCUMENT = ROOT / "docs" / "cost.md"
MARKERS = ("<!-- cost table -->\n", "<!-- end cost table -->")

ARCHITECTURES = ("arm64", "x86_64")
SIZES = (512, 1024, 1769, 3008, 5307, 10240)
"""Megabytes to choose from; the four smallest that fit are shown."""
MARGIN = 1.25
"""How many times the most memory that was used a size has to be."""
ABOUT_THE_SAME = 1.05
"""Up to how many times the lowest price the faster size is the better one."""
NEEDED = ("sentences_per_second", "cold_start_seconds", "peak_memory_mb", "items_per_call")
"""What has to be measured of an engine; until then it is null."""
CALLS_PER_DAY = 1000
REFRESH_SECONDS = 60
"""The template's ModelRefreshSeconds."""

COLUMNS = {"on": "left", "MB": "right", "s/call": "right", "total": "right", "compute": "right",
           "init": "right", "calls": "right", "S3": "right", "logs": "right", "metrics": "right",
           "tmp": "right"}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """What one size costs, and whether it is the deployed one or the best of its engine."""

    name: str
    architecture: str
    memory_mb: int
    seconds: float
    cost: Cost
    deployed: bool
    best: bool = False

    def cells(self) -> list[str]:
        """Return it as a table shows it, by COLUMNS."""
        numbers = (self.seconds, self.cost.total, *asdict(self.cost).values())
        return [self.architecture, f"{self.memory_mb:,}", *(f"{number:,.2f}" for number in numbers)]


def rows(calls: Calls, of: Prices, deployed: tuple[str, int] | None = None) -> list[Row]:
    """Return a row for each processor and size that fits, and for the deployed one.

    The best is the fastest of those that fit and whose time costs about as little as the cheapest one's;
    what else there is to pay is the same for all.
    """
    sizes = [size for size in SIZES if size >= calls.peak_mb * MARGIN][:4] or SIZES[-1:]
    fit = {(architecture, size) for architecture in ARCHITECTURES for size in sizes}
    every = [
        Row(calls.label, architecture, size, calls.seconds / speed(size),
            cost(calls, architecture, size, of), (architecture, size) == deployed)
        for architecture, size in sorted(fit | ({deployed} if deployed else set()))
    ]  # fmt: skip
    fitting = [row for row in every if (row.architecture, row.memory_mb) in fit]
    limit = ABOUT_THE_SAME * min(row.cost.time for row in fitting)
    best = min(
        (row for row in fitting if row.cost.time <= limit), key=lambda row: (row.seconds, row.cost.time)
    )
    return [replace(row, best=row is best) for row in every]


def measured_here(
    measured: Mapping[str, Any],
    calls_per_day: float = CALLS_PER_DAY,
    items: float | None = None,
    writes: float = 1,
) -> list[Calls]:
    """Return what a call takes with each engine that the benchmark has measured whole."""
    share = cold_share(calls_per_day)
    parts = sum(len(file.parts) for file in describe(SHIPPED_MODEL).files)
    return [
        Calls(
            name=f"{engine['engine']} {engine['precision']}",
            items=items or engine["items_per_call"],
            seconds=(items or engine["items_per_call"]) / engine["sentences_per_second"],
            cold_seconds=engine["cold_start_seconds"],
            cold_share=share,
            peak_mb=engine["peak_memory_mb"],
            writes=writes,
            reads=reads(calls_per_day, share, REFRESH_SECONDS, parts),
            metric_hours=metric_hours(calls_per_day, share),
        )
        for engine in measured.get("engines", [])
        if all(engine[name] is not None for name in NEEDED)
    ]


def markdown(measured: Mapping[str, Any]) -> str:
    """Return the table of docs/cost.md: these engines, at what the command takes by default."""
    found = measured_here(measured)
    if not found:
        return f"Nothing is measured yet: `{MEASURE}`.\n"
    of = prices("us-east-1")
    lines = [["engine", *COLUMNS], ["---", "---", *["--:"] * (len(COLUMNS) - 1)]]
    lines += [
        [f"**{row.name}**" if row.best else row.name, *row.cells()]
        for calls in found
        for row in rows(calls, of)
    ]
    drawn = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    return f"{_here(measured)}: {_load(found, CALLS_PER_DAY)}; prices of {of.region}.\n\n{drawn}"


def document(measured: Mapping[str, Any]) -> None:
    """Put the table of these engines into docs/cost.md."""
    before, _, rest = DOCUMENT.read_text().partition(MARKERS[0])
    _, _, after = rest.partition(MARKERS[1])
    DOCUMENT.write_text(f"{before}{MARKERS[0]}{markdown(measured)}{MARKERS[1]}{after}")


def _here(measured: Mapping[str, Any]) -> str:
    return f"Measured on one thread of {measured['machine']['cpu']}, not on Lambda"


def _load(measured: Sequence[Calls], calls_per_day: float) -> str:
    return f"{calls_per_day:,.0f} calls a day, {measured[0].cold_share:.1%} of them cold"


def run(options: argparse.Namespace) -> int:
    """Show what a million items cost, as measured here or by a deployed function."""
    for name in ("calls_per_day", "items_per_call", "hours"):
        if (given := getattr(options, name)) is not None and given <= 0:
            raise ValueError(f"--{name.replace('_', '-')} takes a number above 0, not {given:g}")
    deployed = None
    if options.function:
        from lambda_setup.costs import usage

        if options.calls_per_day or options.items_per_call:
            raise ValueError("how many calls and items there were the log of --function says; leave them out")
        used = usage.of_function(
            open_session(options.region), options.function, options.hours or 24, options.writes
        )
        measured, deployed, region = [used.calls], (used.architecture, used.memory_mb), used.region
        size = f"{used.memory_mb:,} MB on {used.architecture}"
        heading = f"Measured by {options.function} with {size}: {_load(measured, used.calls_per_day)}"
    else:
        if options.hours:
            raise ValueError("--hours is how much to read of the log of a --function; name one")
        engines = json.loads(ENGINES.read_text()) if ENGINES.exists() else {}
        if options.document:
            document(engines)
            return 0
        calls_per_day = options.calls_per_day or CALLS_PER_DAY
        measured = measured_here(engines, calls_per_day, options.items_per_call, options.writes)
        if not measured:
            raise RuntimeError(f"bench/engines.json has no throughput yet; measure it: {MEASURE}")
        region = options.region or "us-east-1"
        heading = f"{_here(engines)}: {_load(measured, calls_per_day)}"
    of = prices(region)
    found = [rows(calls, of, deployed) for calls in measured]
    what = {
        "measured": heading,
        "region": region,
        "prices_seen": of.seen.isoformat(),
        "calls": [asdict(calls) for calls in measured],
        "rows": [asdict(row) | {"total": row.cost.total} for of_engine in found for row in of_engine],
    }

    def text() -> None:
        print(f"{heading}.")
        print(f"Dollars for a million items in {region}, by prices last seen on {of.seen} or later.\n")
        for of_engine in found:
            best = next(row for row in of_engine if row.best)
            print(f"{best.name}, best with {best.memory_mb:,} MB on {best.architecture}:")
            table(COLUMNS, [row.cells() for row in of_engine])
            print()
        print("docs/cost.md has what is counted, and what is assumed.")

    return print_result(options.json, what, text)


def configure_parser(commands: Any) -> None:
    """Declare the command."""
    parser = add_command(
        commands,
        "cost",
        run,
        help="what a million items cost on Lambda, and which memory size is best",
        description="Show what a million items cost, by engine, processor and memory size, and for what: by "
        f"the throughput that `{MEASURE}` measured on this machine, or with --function by what a "
        "deployed function logged. Of sizes that cost about the same the fastest is the best. docs/cost.md "
        "has what is counted, and what is assumed.",
        example="python -m lambda_setup cost --calls-per-day 50000 --items-per-call 1 --writes 0",
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--function", metavar="NAME",
                        help="a deployed function; its name is the stack's output FunctionName")  # fmt: skip
    source.add_argument("--document", action="store_true", help="only write the table of docs/cost.md anew")
    parser.add_argument("--hours", type=float, metavar="N",
                        help="with --function: of its log to read, up to now (default: 24)")  # fmt: skip
    parser.add_argument("--calls-per-day", type=float, metavar="N",
                        help=f"(default: {CALLS_PER_DAY}); the fewer, the more are cold")  # fmt: skip
    parser.add_argument("--items-per-call", type=float, metavar="N",
                        help="(default: as many as were measured)")  # fmt: skip
    parser.add_argument("--writes", type=int, choices=(0, 1, 2), default=1,
                        help="objects that a stored answer is: 2 with attention; "
                             "0 for inline answers (default: %(default)s)")  # fmt: skip
    parser.add_argument("--region", metavar="REGION",
                        help="whose prices, and where the --function is "
                             "(default: us-east-1; with --function the configured one)")  # fmt: skip
    add_json(parser)
