"""``cost``: cost of a million items on Lambda, by engine, architecture and memory size."""

import argparse
import json
from dataclasses import asdict
from typing import Any

from lambda_setup.commands.options import add_command, add_json, add_renamed, add_target
from lambda_setup.costs import usage
from lambda_setup.costs.comparison import (
    CALLS_PER_DAY,
    COLUMNS,
    MEASURE,
    Row,
    compare_sizes,
    describe_load,
    describe_machine,
    read_benchmark,
)
from lambda_setup.costs.pricing import (
    MONTH,
    Calls,
    Prices,
    SnapshotCost,
    calculate_snapshot_cost,
    load_prices,
)
from lambda_setup.deployment.aws import AwsDeployment, open_session
from lambda_setup.errors import CommandError
from lambda_setup.functions import ROOT
from lambda_setup.output import print_result, table

ENGINES = ROOT / "bench" / "engines.json"


def run(options: argparse.Namespace) -> int:
    """Print the cost of a million items, by the benchmark or by a deployed function's log."""
    for name in ("calls_per_day", "items_per_call", "hours"):
        if (number := getattr(options, name)) is not None and number <= 0:
            raise CommandError(f"--{name.replace('_', '-')} takes a number above 0, not {number:g}")
    deployed: tuple[str, int] | None = None
    usual: usage.FunctionUsage | None = None
    measured: list[Calls]
    if options.stack or options.function:
        if options.calls_per_day or options.items_per_call:
            raise CommandError("calls and items are counted in the stack's log; leave --calls-per-day and "
                               "--items-per-call out")  # fmt: skip
        session = open_session(options.region, options.profile)
        function = options.function or AwsDeployment(session, options.stack).function
        usual = usage.measure_function(session, function, options.hours or 24, options.writes)
        measured, region = [usual.calls], usual.region
        deployed = (usual.architecture, usual.memory_mb)
        load = describe_load(measured, usual.calls_per_day)
        place = f"{usual.memory_mb:,} MB on {usual.architecture}"
        heading = f"Measured by {options.stack or function} with {place}: {load}"
    else:
        if options.hours:
            raise CommandError("--hours applies to a deployed function's log; give --stack, too")
        benchmark = json.loads(ENGINES.read_text()) if ENGINES.exists() else {}
        calls_per_day = options.calls_per_day or CALLS_PER_DAY
        measured = read_benchmark(benchmark, calls_per_day, options.items_per_call, options.writes)
        if not measured:
            raise CommandError(f"bench/engines.json has no throughput yet; measure it: {MEASURE}")
        region = options.region or "us-east-1"
        heading = f"{describe_machine(benchmark)}: {describe_load(measured, calls_per_day)}"
    prices = load_prices(region)
    tables = [compare_sizes(calls, prices, deployed) for calls in measured]
    best = max(row.memory_mb for rows in tables for row in rows if row.best)
    snapshots = describe_snapshots(prices, usual, best)
    result = {
        "measured": heading,
        "region": region,
        "prices_seen": prices.oldest.isoformat(),
        "calls": [asdict(calls) for calls in measured],
        "rows": [asdict(row) | {"total": row.cost.total} for rows in tables for row in rows],
        "snapshots": snapshots,
    }
    return print_result(options.json, result, lambda: _print(result, tables))


def describe_snapshots(
    prices: Prices, function: usage.FunctionUsage | None, memory_mb: int
) -> dict[str, Any]:
    """Return what snapshots of SnapStart cost: a function's own, else one of some memory."""
    memory = function.memory_mb if function else memory_mb
    cost = calculate_snapshot_cost(memory, prices)
    facts: dict[str, Any] = {"memory_mb": memory, "cost": asdict(cost) if cost else None}
    if function:
        facts |= {"versions": function.snapshots, "restores_per_day": function.restores_per_day}
        if cost:
            days = MONTH / 24
            facts["month"] = (
                cost.month * len(function.snapshots) + cost.restore * function.restores_per_day * days
            )
    return facts


def _describe_snapshots(facts: dict[str, Any], region: str) -> str:
    """Return the same as a sentence; of a deployed function without snapshots nothing."""
    versions = facts.get("versions")
    if versions == []:
        return ""
    if facts["cost"] is None:
        return f"SnapStart: its prices in {region} are not known; see https://aws.amazon.com/lambda/pricing/"
    cost = SnapshotCost(**facts["cost"])
    each = f"${cost.month:,.2f} a month for each published version, and ${cost.restore:.6f} for each restore"
    if versions is None:
        return f"With SnapStart=on and {facts['memory_mb']:,} MB, also {each}."
    return (
        f"SnapStart: {each}. Snapshots are kept of version {', '.join(versions)}; with "
        f"{facts['restores_per_day']:,.0f} restores a day, ${facts['month']:,.2f} a month in all. "
        "Delete versions that the alias has left."
    )


def _print(result: dict[str, Any], tables: list[list[Row]]) -> None:
    print(f"{result['measured']}.")
    print(f"US dollars for a million items in {result['region']}, "
          f"at prices last checked on {result['prices_seen']} or later.\n")  # fmt: skip
    for rows in tables:
        best = next(row for row in rows if row.best)
        print(f"{best.name}, best with {best.memory_mb:,} MB on {best.architecture}:")
        table(COLUMNS, [row.cells() for row in rows])
        print()
    if line := _describe_snapshots(result["snapshots"], result["region"]):
        print(f"{line}\n")
    print("docs/cost.md lists what is counted and what is assumed.")


def configure_parser(commands: Any) -> None:
    """Declare the command."""
    parser = add_command(
        commands,
        "cost",
        run,
        help="estimate the cost of a million items, and the best memory size",
        description="Print the cost of a million items by engine, architecture and memory size: with the "
        f"throughput that `{MEASURE}` measured on this machine, or with --stack from a deployed function's "
        "log. The best is the fastest of the sizes that cost about the same. Prices are those of --region "
        "(default: us-east-1, with --stack the stack's). docs/cost.md lists what is counted and what is "
        "assumed.",
        example="python -m lambda_setup cost --calls-per-day 50000 --items-per-call 1 --writes 0",
    )
    target = add_target(parser, local="", stack="deployed stack whose log to read")
    parser.set_defaults(function=None)
    add_renamed(target, "--function", "--stack", dest="function")
    parser.add_argument("--hours", type=float, metavar="N",
                        help="hours of log to read with --stack (default: the last 24)")  # fmt: skip
    parser.add_argument("--calls-per-day", type=float, metavar="N",
                        help=f"load; few calls mean more cold starts (default: {CALLS_PER_DAY})")  # fmt: skip
    parser.add_argument("--items-per-call", type=float, metavar="N",
                        help="items of a call (default: the benchmark's)")  # fmt: skip
    parser.add_argument("--writes", type=int, choices=(0, 1, 2), default=1,
                        help="S3 PUTs per stored answer: 2 with attention, 0 for inline answers "
                             "(default: %(default)s)")  # fmt: skip
    add_json(parser)
