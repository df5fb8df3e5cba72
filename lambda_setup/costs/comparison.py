"""Memory sizes and architectures compared by what a million items cost, and the best of them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from lambda_setup.costs.pricing import (
    Calls,
    Cost,
    Prices,
    calculate_cost,
    estimate_cold_share,
    estimate_metric_hours,
    estimate_reads,
    estimate_speed,
    load_prices,
)
from lambda_setup.functions import ROOT
from lambda_setup.models.describe import describe

MEASURE = "make bench ROW=throughput"
ARCHITECTURES = ("arm64", "x86_64")
SIZES = (512, 1024, 1769, 3008, 5307, 10240)
"""Memory sizes in MB; the four smallest that fit are compared."""
HEADROOM = 1.25
"""Smallest size as a multiple of the peak memory."""
PRICE_TOLERANCE = 1.05
"""The best is the fastest size within this multiple of the lowest price."""
RATE = "sentences_per_second"
"""Field of bench/engines.json with the items per second on one core."""
MEASUREMENTS = (RATE, "cold_start_seconds", "peak_memory_mb", "items_per_call")
"""Fields of an engine that are null until measured."""
CALLS_PER_DAY = 1000
REFRESH_SECONDS = 60
"""The default of the template's ModelRefreshSeconds."""
MODEL = ROOT / "models" / "en-es"
"""The model that the benchmark measures; the size of its files decides the reads of a cold start."""

COLUMNS = {"on": "left", "MB": "right", "s/call": "right", "total": "right", "compute": "right",
           "init": "right", "calls": "right", "S3": "right", "logs": "right", "metrics": "right",
           "tmp": "right"}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """The cost of one size; ``deployed`` marks the current one, ``best`` the recommended one."""

    name: str
    architecture: str
    memory_mb: int
    seconds: float
    cost: Cost
    deployed: bool
    best: bool = False

    def cells(self) -> list[str]:
        """Return the row's cells, by COLUMNS."""
        numbers = (self.seconds, self.cost.total, *asdict(self.cost).values())
        return [self.architecture, f"{self.memory_mb:,}", *(f"{number:,.2f}" for number in numbers)]


def compare_sizes(calls: Calls, prices: Prices, deployed: tuple[str, int] | None = None) -> list[Row]:
    """Return a row for each architecture and size that fits, and for the deployed one.

    The best is the fastest that fits and whose time costs about as little as the cheapest one's; all other
    costs are the same for every size.
    """
    sizes = [size for size in SIZES if size >= calls.peak_mb * HEADROOM][:4] or SIZES[-1:]
    fitting = {(architecture, size) for architecture in ARCHITECTURES for size in sizes}
    rows = [
        Row(
            calls.label,
            architecture,
            size,
            calls.seconds / estimate_speed(size),
            calculate_cost(calls, architecture, size, prices),
            deployed=(architecture, size) == deployed,
        )
        for architecture, size in sorted(fitting | ({deployed} if deployed else set()))
    ]
    candidates = [row for row in rows if (row.architecture, row.memory_mb) in fitting]
    limit = PRICE_TOLERANCE * min(row.cost.time for row in candidates)
    best = min(
        (row for row in candidates if row.cost.time <= limit), key=lambda row: (row.seconds, row.cost.time)
    )
    return [replace(row, best=row is best) for row in rows]


def read_benchmark(
    benchmark: Mapping[str, Any],
    calls_per_day: float = CALLS_PER_DAY,
    items: float | None = None,
    writes: float = 1,
) -> list[Calls]:
    """Return the calls of each engine that bench/engines.json has all measurements of."""
    cold_share = estimate_cold_share(calls_per_day)
    parts = sum(len(file.parts) for file in describe(MODEL).files)
    return [
        Calls(
            name=f"{engine['engine']} {engine['precision']}",
            items=items or engine["items_per_call"],
            seconds=(items or engine["items_per_call"]) / engine[RATE],
            cold_seconds=engine["cold_start_seconds"],
            cold_share=cold_share,
            peak_mb=engine["peak_memory_mb"],
            writes=writes,
            reads=estimate_reads(calls_per_day, cold_share, REFRESH_SECONDS, parts),
            metric_hours=estimate_metric_hours(calls_per_day, cold_share),
        )
        for engine in benchmark.get("engines", [])
        if all(engine[name] is not None for name in MEASUREMENTS)
    ]


def draw_markdown(benchmark: Mapping[str, Any]) -> str:
    """Return the table of docs/cost.md: the benchmark's engines with the command's defaults."""
    engines = read_benchmark(benchmark)
    if not engines:
        return f"Nothing is measured yet: `{MEASURE}`.\n"
    prices = load_prices("us-east-1")
    lines = [["engine", *COLUMNS], ["---", "---", *["--:"] * (len(COLUMNS) - 1)]]
    lines += [
        [f"**{row.name}**" if row.best else row.name, *row.cells()]
        for calls in engines
        for row in compare_sizes(calls, prices)
    ]
    table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    load = describe_load(engines, CALLS_PER_DAY)
    return f"{describe_machine(benchmark)}: {load}; prices of {prices.region}.\n\n{table}"


def describe_machine(benchmark: Mapping[str, Any]) -> str:
    """Return where the benchmark ran, as the beginning of a sentence."""
    return f"Measured on one thread of {benchmark['machine']['cpu']}, not on Lambda"


def describe_load(calls: Sequence[Calls], calls_per_day: float) -> str:
    """Return the load, as a part of a sentence."""
    return f"{calls_per_day:,.0f} calls a day, {calls[0].cold_share:.1%} of them cold"
