"""A corpus, a function and how many of it work at once: what such a run takes and costs."""

import functools
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lambda_setup.costs.pricing import GB, RunCost, calculate_run_cost, load_prices
from studies.batch_scale.simulation import TRANSITIONS, Outcome, Quotas, Retry, Run, simulate

ROOT = Path(__file__).resolve().parents[2]
MACHINE = ROOT / "statemachines" / "translate_corpus.asl.json"
ENGINES = ROOT / "bench" / "engines.json"
MEASURED = Path(__file__).with_name("measured.json")

SENTENCES = 100_000_000
RATES = (20.0, 50.0)
"""Sentences a second of one environment, beside those that were measured."""
CONCURRENCIES = (1_000, 3_000, 10_000)
MEMORY_MB = 1769
TIMEOUT = 120
SHARE = 0.25
"""Of the function's timeout that a range may take."""
MOST_LINES = 10_000
INDEX_BYTES = 300
"""Of an item of the index."""
LINE_BYTES = 62
"""Of a line of the shipped model's test split, on average: 61.9 in UTF-8, with its end."""
REQUEST_SECONDS = 0.15
"""Of S3: the middle of AWS's 100 to 200 ms for small objects (optimizing-performance.html)."""
RANGE_REQUESTS = 3
"""GET of the lines, HEAD of the commit, PUT of the result."""
MODEL_READS = 6
"""GETs of a cold start: pointer, manifest, and the four parts of the shipped model's two files."""
FAILURES = 0.001
"""Of the attempts, that end in a 503 somewhere on their way: an assumption."""
DELAY = 0.1
"""Seconds of Step Functions between a child and its call, each way: an assumption."""
MACHINE_TRANSITIONS = 6
"""Of the state machine itself: its start, and its five states."""
HEADS_AT_ONCE = 256
"""Of the last state, which looks at every range's result."""

EXPRESS_REQUEST, EXPRESS_GB_SECOND, EXPRESS_MB = 1e-6, 0.00001667, 64
"""Dollars of an EXPRESS child in us-east-1, and the least that is billed.

https://aws.amazon.com/step-functions/pricing/
"""


def read_retry(machine: Path = MACHINE) -> Retry:
    """Return how the state machine retries throttled calls."""

    def find(node: Any) -> Iterator[dict[str, Any]]:
        if isinstance(node, dict):
            yield from (each for each in node.get("Retry", []) if "TooManyRequests" in json.dumps(each))
        for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
            yield from find(child)

    retrier = next(find(json.loads(machine.read_text(encoding="utf-8"))))
    return Retry(
        interval=retrier.get("IntervalSeconds", 1),
        rate=retrier.get("BackoffRate", 2),
        most=retrier.get("MaxDelaySeconds", math.inf),
        attempts=retrier.get("MaxAttempts", 3),
    )


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A corpus, a function, and how many of it work at once."""

    sentences: int = SENTENCES  # of the corpus, one a line
    rate: float  # sentences a second of one environment
    cold: float  # seconds that an environment takes before its first sentence
    concurrency: int = CONCURRENCIES[0]  # the map's, ``BatchConcurrency``
    environments: int | None = None  # Lambda's quota; without, the concurrency or what every account has
    timeout: int = TIMEOUT  # the function's, in seconds
    lines: int | None = None  # of a range; without, as many as take a quarter of the timeout

    @property
    def size(self) -> int:
        """Lines of a range."""
        return self.lines or max(1, min(MOST_LINES, int(self.rate * self.timeout * SHARE)))

    @property
    def ranges(self) -> int:
        """Number of ranges."""
        return math.ceil(self.sentences / self.size)

    @property
    def range_seconds(self) -> float:
        """Seconds of a range in a warm environment, S3 included."""
        return self.size / self.rate + RANGE_REQUESTS * REQUEST_SECONDS

    @property
    def manifest_seconds(self) -> float:
        """Seconds that the last state takes to look at every result."""
        return math.ceil(self.ranges / HEADS_AT_ONCE) * REQUEST_SECONDS

    @property
    def quotas(self) -> Quotas:
        """AWS's quotas, once Lambda's concurrency is raised."""
        usual = Quotas()
        return replace(usual, environments=self.environments or max(usual.environments, self.concurrency))

    @functools.cached_property
    def outcome(self) -> Outcome:
        """The simulation's result."""
        return cached_simulate(
            Run(
                ranges=self.ranges,
                seconds=self.range_seconds,
                spread=tuple(read_measurements()["spread"]),
                cold=self.cold,
                delay=DELAY,
                concurrency=self.concurrency,
                failures=FAILURES,
                model_reads=MODEL_READS,
                retry=read_retry(),
                quotas=self.quotas,
            )
        )

    @property
    def seconds(self) -> float:
        """Seconds of the whole run: the map, and the manifest."""
        return self.outcome.seconds + self.manifest_seconds

    def cost(self, region: str = "us-east-1", architecture: str = "arm64") -> RunCost:
        """Return AWS's bill for the run, without storage."""
        outcome = self.outcome
        return calculate_run_cost(
            gb_seconds=(outcome.billed + self.manifest_seconds) * MEMORY_MB / 1024,
            requests=outcome.invocations + 1,
            transitions=TRANSITIONS * self.ranges + outcome.retries + 2 * outcome.lost + MACHINE_TRANSITIONS,
            writes=self.ranges,
            reads=2 * outcome.invocations + MODEL_READS * outcome.cold + self.ranges,
            architecture=architecture,
            prices=load_prices(region),
        )

    def monthly_storage(self, region: str = "us-east-1") -> float:
        """Return the dollars for keeping corpus and results a month."""
        kept: float = self.sentences * (LINE_BYTES + read_measurements()["result_bytes"])
        return kept / GB * load_prices(region).usd["s3_gb_month"]

    def express(self) -> float:
        """Return the dollars for the same children as EXPRESS workflows, in us-east-1."""
        seconds = math.ceil(self.range_seconds * 10) / 10
        return self.ranges * (EXPRESS_REQUEST + seconds * EXPRESS_MB / 1024 * EXPRESS_GB_SECOND)


cached_simulate = functools.cache(simulate)


@functools.cache
def read_measurements() -> dict[str, Any]:
    """Return what ``make bench ROW=scale`` measures: relative times of ranges, and bytes of a result."""
    measurements: dict[str, Any] = json.loads(MEASURED.read_text())
    return measurements


def write_measurements(spread: list[float], result_bytes: float) -> None:
    """Write them, the spread in order."""
    content = {"spread": [round(each, 3) for each in sorted(spread)], "result_bytes": round(result_bytes, 1)}
    MEASURED.write_text(json.dumps(content) + "\n", encoding="utf-8")
    read_measurements.cache_clear()


def read_engines() -> dict[str, tuple[float, float]]:
    """Return sentences a second and seconds of a cold start of the engines on the page."""
    return {
        f"{each['engine']} {each['precision']}": (each["sentences_per_second"], each["cold_start_seconds"])
        for each in json.loads(ENGINES.read_text())["engines"]
        if (each["engine"], each["precision"]) in {("opennmt", "float32"), ("ctranslate2", "int8")}
    }


def make_plans(**changes: Any) -> dict[str, Plan]:
    """Return the plans on the page by the names of their rates: assumed rates first, then measured ones."""
    slow = max(cold for _, cold in read_engines().values())
    assumed = {f"{rate:g}": Plan(rate=rate, cold=slow, **changes) for rate in RATES}
    return assumed | {
        f"{rate:g}, {name} here": Plan(rate=rate, cold=cold, **changes)
        for name, (rate, cold) in read_engines().items()
    }
