"""AWS's bill for calls and batch runs: prices, arithmetic and assumptions, as docs/cost.md explains them."""

import math
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

from lambda_setup.errors import CommandError

PRICES = Path(__file__).with_name("prices.toml")

CORE_MB = 1769
"""Megabytes of memory for which Lambda gives one core's time.

AWS Lambda Developer Guide, "Configure Lambda function memory".
"""
FURTHER_CORE = 0.5
"""Speed-up by each core after the first, in cores: an assumption."""
IDLE_MINUTES = 5
"""Minutes until Lambda ends an idle environment: an assumption, AWS documents none.

Measurements say 5 to 7 (https://mikhail.io/serverless/coldstarts/aws/intervals/).
"""

SNAPSHOT_PRICES = ("snapstart_cache", "snapstart_restore")
"""Prices that prices.toml may have without a region: it then has no costs of snapshots."""
FREE_TMP_MB = 512
GB = 2**30
MONTH = 730
"""Hours in a month."""

LOG_BYTES = 1100
"""Bytes logged by a warm call: ``platform.start``, ``answered``, metrics and ``platform.report``, as JSON."""
METRICS = 4
"""Metrics of every call: Items, Tokens, Predict, Store."""
COLD_METRICS = 3
"""Metrics of cold calls only: ColdStart, ModelLoad, LayerUnpack."""


@dataclass(frozen=True)
class Prices:
    """A region's prices."""

    region: str
    usd: Mapping[str, float]  # US dollars, by the names in prices.toml
    oldest: date  # the day on which the oldest of them was last checked


def load_prices(region: str) -> Prices:
    """Return the prices of a region; CommandError if prices.toml lacks one of them."""
    table = tomllib.loads(PRICES.read_text())
    needed = (price for name, price in table.items() if name not in SNAPSHOT_PRICES)
    regions = set.intersection(*(set(price) for price in needed)) - {"unit", "source"}
    if region not in regions:
        raise CommandError(
            f"there are no prices of {region}, only of {', '.join(sorted(regions))}; "
            f"add them to lambda_setup/costs/{PRICES.name}"
        )
    prices = {name: price[region] for name, price in table.items() if region in price}
    return Prices(
        region,
        {name: float(price["usd"]) for name, price in prices.items()},
        min(price["date"] for price in prices.values()),
    )


@dataclass(frozen=True, kw_only=True)
class Calls:
    """The average resource use of a call."""

    name: str  # engine and precision
    items: float  # items in a call
    seconds: float  # duration of a warm call on one core
    cold_seconds: float  # additional seconds of a cold call on one core
    cold_share: float  # fraction of cold calls, 0 to 1
    peak_mb: float  # peak memory
    writes: float  # S3 PUTs
    reads: float  # S3 GETs, conditional or not
    metric_hours: float  # hours in which a custom metric has a value, summed over the metrics, per call
    log_bytes: float = LOG_BYTES  # bytes logged
    tmp_mb: int = FREE_TMP_MB  # size of /tmp

    @property
    def label(self) -> str:
        """The name in a table."""
        return f"{self.name}, {self.items:,.4g} a call"


@dataclass(frozen=True)
class Cost:
    """US dollars for a million items, by item of the bill."""

    compute: float
    init: float
    requests: float
    s3: float
    logs: float
    metrics: float
    tmp: float

    @property
    def total(self) -> float:
        """The sum of all items."""
        return float(sum(asdict(self).values()))

    @property
    def time(self) -> float:
        """The items billed by the second, which depend on the memory size."""
        return self.compute + self.init + self.tmp


def calculate_cost(calls: Calls, architecture: str, memory_mb: int, prices: Prices) -> Cost:
    """Return the cost of a million items.

    Lambda rounds each call up to a millisecond, initialization included
    (https://aws.amazon.com/blogs/compute/aws-lambda-standardizes-billing-for-init-phase/).
    """
    speed = estimate_speed(memory_mb)
    warm = _round_up(calls.seconds / speed)
    init = (_round_up((calls.seconds + calls.cold_seconds) / speed) - warm) * calls.cold_share
    second = memory_mb / 1024 * prices.usd[f"lambda_{architecture}"]
    tmp = max(calls.tmp_mb - FREE_TMP_MB, 0) / 1024 * prices.usd["lambda_tmp"]
    million = 1e6 / calls.items
    return Cost(
        compute=million * warm * second,
        init=million * init * second,
        requests=million * prices.usd["lambda_request"],
        s3=million * (calls.writes * prices.usd["s3_put"] + calls.reads * prices.usd["s3_get"]),
        logs=million * calls.log_bytes / GB * prices.usd["logs_gb"],
        metrics=million * calls.metric_hours / MONTH * prices.usd["metric_month"],
        tmp=million * (warm + init) * tmp,
    )


@dataclass(frozen=True, kw_only=True)
class RunCost:
    """US dollars for a batch run, or a part of it, by item of the bill."""

    compute: float
    requests: float
    transitions: float
    s3: float
    logs: float

    @property
    def total(self) -> float:
        """The sum of all items."""
        return float(sum(asdict(self).values()))


def calculate_run_cost(
    *,
    gb_seconds: float,
    requests: float,
    transitions: float,
    writes: float,
    reads: float,
    architecture: str,
    prices: Prices,
) -> RunCost:
    """Return the cost of a batch run's shards.

    Seconds are billed ones, initialization included; GB are 2^30 bytes. Requests are invocations without
    throttled ones, each logging ``LOG_BYTES``; reads are S3 GETs and HEADs.
    """
    return RunCost(
        compute=gb_seconds * prices.usd[f"lambda_{architecture}"],
        requests=requests * prices.usd["lambda_request"],
        transitions=transitions * prices.usd["states_transition"],
        s3=writes * prices.usd["s3_put"] + reads * prices.usd["s3_get"],
        logs=requests * LOG_BYTES / GB * prices.usd["logs_gb"],
    )


@dataclass(frozen=True)
class SnapshotCost:
    """US dollars for snapshots of SnapStart."""

    month: float  # of keeping one version's for a month
    restore: float  # of starting one environment from it


def calculate_snapshot_cost(memory_mb: int, prices: Prices) -> SnapshotCost | None:
    """Return the cost of a function's snapshots, None where the region's prices are not known.

    A version's snapshot is billed while the version exists, and each restore, both by the function's memory
    (https://aws.amazon.com/lambda/pricing/).
    """
    if not prices.usd.keys() >= set(SNAPSHOT_PRICES):
        return None
    cache, restore = (prices.usd[name] * memory_mb / 1024 for name in SNAPSHOT_PRICES)
    return SnapshotCost(month=cache * MONTH * 3600, restore=restore)


def _round_up(seconds: float) -> float:
    return math.ceil(round(seconds * 1000, 6)) / 1000


def estimate_speed(memory_mb: float) -> float:
    """Return the speed of a function by its memory size, relative to one core.

    ``lambda_inference.threads`` starts as many threads as the memory pays for, rounded.
    """
    cores = memory_mb / CORE_MB
    used = min(cores, max(1, round(cores)))
    return used if used <= 1 else 1 + FURTHER_CORE * (used - 1)


def estimate_cold_share(calls_per_day: float) -> float:
    """Return the fraction of cold calls if calls arrive one by one, as a Poisson process.

    The pause before a call is then longer than t with the probability exp(-rate · t).
    """
    return math.exp(-calls_per_day / (24 * 60) * IDLE_MINUTES)


def estimate_reads(calls_per_day: float, cold_share: float, refresh_seconds: float, parts: int) -> float:
    """Return the S3 GETs of a call: pointer, manifest and parts when cold, sometimes the pointer when warm.

    A warm function checks the pointer at the first call ``refresh_seconds`` after the last check, so once in
    1 + rate · refresh_seconds calls.
    """
    checks = 1 / (1 + calls_per_day / (24 * 60 * 60) * refresh_seconds)
    return cold_share * (2 + parts) + (1 - cold_share) * checks


def estimate_metric_hours(calls_per_day: float, cold_share: float) -> float:
    """Return the billed metric-hours per call: a metric with any value in an hour is billed for the hour."""

    def hours(times_per_day: float) -> float:
        return 24 * (1 - math.exp(-times_per_day / 24))

    total = METRICS * hours(calls_per_day) + COLD_METRICS * hours(calls_per_day * cold_share)
    return total / calls_per_day
