"""What AWS bills for a call: arithmetic, and the assumptions where nothing was measured.

docs/cost.md says the same in words.
"""

import math
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

PRICES = Path(__file__).with_name("prices.toml")

CORE_MB = 1769
"""Megabytes that come with one core's time.

AWS Lambda Developer Guide, "Configure Lambda function memory".
"""
FURTHER_CORE = 0.5
"""What a core after the first adds, in cores: an assumption."""
IDLE_MINUTES = 5
"""How long Lambda keeps an environment that has nothing to do: an assumption, AWS promises nothing.

It was seen at 5 to 7 minutes (https://mikhail.io/serverless/coldstarts/aws/intervals/).
"""

FREE_TMP_MB = 512
GB = 2**30
MONTH = 730
"""Hours."""

LOG_BYTES = 1100
"""Of a warm call: ``platform.start``, ``answered``, the metrics and ``platform.report``, as JSON."""
METRICS = 4
"""That every call has: Items, Tokens, Predict, Store."""
COLD_METRICS = 3
"""That only a cold one has: ColdStart, ModelLoad, LayerUnpack."""


@dataclass(frozen=True)
class Prices:
    """A region's prices.

    Attributes:
        usd: dollars, by the names in prices.toml.
        seen: the day on which the oldest of them was last seen.

    """

    region: str
    usd: Mapping[str, float]
    seen: date


def prices(region: str) -> Prices:
    """Return the prices of a region.

    Raises:
        ValueError: prices.toml does not have them all.

    """
    every = tomllib.loads(PRICES.read_text())
    regions = set.intersection(*(set(one) for one in every.values())) - {"unit", "source"}
    if region not in regions:
        raise ValueError(
            f"there are no prices of {region}, only of {', '.join(sorted(regions))}; "
            f"add them to lambda_setup/{PRICES.name}"
        )
    found = {name: one[region] for name, one in every.items()}
    return Prices(
        region,
        {name: float(one["usd"]) for name, one in found.items()},
        min(one["date"] for one in found.values()),
    )


@dataclass(frozen=True, kw_only=True)
class Calls:
    """What a call takes, on average.

    Attributes:
        name: of what answers: the engine and its precision.
        items: that it answers.
        seconds: of a warm call, on one core.
        cold_seconds: that a call takes longer if it starts an environment, on one core.
        cold_share: how many calls do, between 0 and 1.
        peak_mb: the most memory that was used.
        writes: PUTs to S3.
        reads: GETs from S3, conditional or not.
        metric_hours: the hours in which a custom metric has a value, of all metrics, divided by the calls.
        log_bytes: what it logs.
        tmp_mb: the size of /tmp.

    """

    name: str
    items: float
    seconds: float
    cold_seconds: float
    cold_share: float
    peak_mb: float
    writes: float
    reads: float
    metric_hours: float
    log_bytes: float = LOG_BYTES
    tmp_mb: int = FREE_TMP_MB

    @property
    def label(self) -> str:
        """How a table names them."""
        return f"{self.name}, {self.items:,.4g} a call"


@dataclass(frozen=True)
class Cost:
    """Dollars for a million items, by what they are billed for."""

    compute: float
    init: float
    requests: float
    s3: float
    logs: float
    metrics: float
    tmp: float

    @property
    def total(self) -> float:
        """All together."""
        return float(sum(asdict(self).values()))

    @property
    def time(self) -> float:
        """What is billed by the second, and depends on the memory."""
        return self.compute + self.init + self.tmp


def cost(calls: Calls, architecture: str, memory_mb: int, of: Prices) -> Cost:
    """Return what a million items cost.

    Every call is billed by the millisecond begun, initialisation included
    (https://aws.amazon.com/blogs/compute/aws-lambda-standardizes-billing-for-init-phase/).
    """
    faster = speed(memory_mb)
    warm = _billed(calls.seconds / faster)
    init = (_billed((calls.seconds + calls.cold_seconds) / faster) - warm) * calls.cold_share
    second = memory_mb / 1024 * of.usd[f"lambda_{architecture}"]
    tmp = max(calls.tmp_mb - FREE_TMP_MB, 0) / 1024 * of.usd["lambda_tmp"]
    million = 1e6 / calls.items
    return Cost(
        compute=million * warm * second,
        init=million * init * second,
        requests=million * of.usd["lambda_request"],
        s3=million * (calls.writes * of.usd["s3_put"] + calls.reads * of.usd["s3_get"]),
        logs=million * calls.log_bytes / GB * of.usd["logs_gb"],
        metrics=million * calls.metric_hours / MONTH * of.usd["metric_month"],
        tmp=million * (warm + init) * tmp,
    )


@dataclass(frozen=True, kw_only=True)
class RunCost:
    """Dollars for a batch run, or for what is done of it, by what they are billed for."""

    compute: float
    requests: float
    transitions: float
    s3: float
    logs: float

    @property
    def total(self) -> float:
        """All together."""
        return float(sum(asdict(self).values()))


def run_cost(
    *,
    gb_seconds: float,
    requests: float,
    transitions: float,
    writes: float,
    reads: float,
    architecture: str,
    of: Prices,
) -> RunCost:
    """Return what ranges of a batch cost.

    Args:
        gb_seconds: billed time by memory of the function, initialisation included; a GB is 2^30 bytes.
        requests: invocations that were not throttled; each logs ``LOG_BYTES``.
        transitions: of Step Functions, two a child and one a retry.
        writes: PUTs to S3.
        reads: GETs and HEADs.
        architecture: the function's, arm64 or x86_64.
        of: the region's prices.

    """
    return RunCost(
        compute=gb_seconds * of.usd[f"lambda_{architecture}"],
        requests=requests * of.usd["lambda_request"],
        transitions=transitions * of.usd["states_transition"],
        s3=writes * of.usd["s3_put"] + reads * of.usd["s3_get"],
        logs=requests * LOG_BYTES / GB * of.usd["logs_gb"],
    )


def _billed(seconds: float) -> float:
    return math.ceil(round(seconds * 1000, 6)) / 1000


def speed(memory_mb: float) -> float:
    """Return how fast a function with so much memory is, one core's being 1.

    As many threads compute as the memory pays for, rounded, as ``translator.threads`` has it.
    """
    cores = memory_mb / CORE_MB
    used = min(cores, max(1, round(cores)))
    return used if used <= 1 else 1 + FURTHER_CORE * (used - 1)


def cold_share(calls_per_day: float) -> float:
    """Return how many calls find no environment, if they come one by one and at any time.

    The pause before one is then longer than t with the probability exp(-rate · t).
    """
    return math.exp(-calls_per_day / (24 * 60) * IDLE_MINUTES)


def reads(calls_per_day: float, share: float, refresh_seconds: float, parts: int) -> float:
    """Return the GETs of a call: pointer, manifest and parts when cold, and now and then the pointer.

    A warm function looks at the first call ``refresh_seconds`` after the last look: that is, once
    in 1 + rate · refresh_seconds calls.
    """
    looks = 1 / (1 + calls_per_day / (24 * 60 * 60) * refresh_seconds)
    return share * (2 + parts) + (1 - share) * looks


def metric_hours(calls_per_day: float, share: float) -> float:
    """Return the hours that a call's metrics are billed: an hour counts once for each that has a value."""

    def hours(times_per_day: float) -> float:
        return 24 * (1 - math.exp(-times_per_day / 24))

    together = METRICS * hours(calls_per_day) + COLD_METRICS * hours(calls_per_day * share)
    return together / calls_per_day
