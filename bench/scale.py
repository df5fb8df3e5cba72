"""A corpus through the state machine, simulated: how long it takes, what it costs, and what limits it.

Run: ``python -m bench.scale --sentences 100e6 --rate 40 --concurrency 1000`` for a table of your numbers,
and ``make bench ROW=scale`` to hold a simulation against a real run of functions under the emulator.
"""

import argparse
import functools
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import mean, median
from typing import Any

from bench.row import Row, measures
from bench.show import put
from bench.simulation import TRANSITIONS, Outcome, Quotas, Retry, Run, simulate
from bench.worker import BEAM, sentences
from lambda_setup.costs.pricing import GB, RunCost, prices, run_cost
from lambda_setup.deployment.local import Application, Emulator

ROOT = Path(__file__).resolve().parent.parent
MACHINE = ROOT / "statemachines" / "translate_corpus.asl.json"
ENGINES = Path(__file__).with_name("engines.json")
MEASURED = Path(__file__).with_name("scale.json")
DOCUMENT = ROOT / "docs" / "batch_at_scale.md"
CHART = ROOT / "docs" / "images" / "batch_scale.svg"

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


def retry(machine: Path = MACHINE) -> Retry:
    """Return how the state machine retries what Lambda throttles."""

    def found(node: Any) -> Iterator[dict[str, Any]]:
        if isinstance(node, dict):
            yield from (one for one in node.get("Retry", []) if "TooManyRequests" in json.dumps(one))
        for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
            yield from found(child)

    one = next(found(json.loads(machine.read_text(encoding="utf-8"))))
    return Retry(
        interval=one.get("IntervalSeconds", 1),
        rate=one.get("BackoffRate", 2),
        most=one.get("MaxDelaySeconds", math.inf),
        attempts=one.get("MaxAttempts", 3),
    )


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A corpus, a function, and how many of it work at once.

    Attributes:
        sentences: of the corpus, one a line.
        rate: sentences a second of one environment.
        cold: seconds that an environment takes before its first sentence.
        concurrency: the map's, ``BatchConcurrency``.
        environments: Lambda's quota; what is asked for, but not less than what every account has.
        timeout: the function's, in seconds.
        lines: of a range; without, as many as take a quarter of the timeout.

    """

    sentences: int = SENTENCES
    rate: float
    cold: float
    concurrency: int = CONCURRENCIES[0]
    environments: int | None = None
    timeout: int = TIMEOUT
    lines: int | None = None

    @property
    def size(self) -> int:
        """Lines of a range."""
        return self.lines or max(1, min(MOST_LINES, int(self.rate * self.timeout * SHARE)))

    @property
    def ranges(self) -> int:
        """How many there are."""
        return math.ceil(self.sentences / self.size)

    @property
    def range_seconds(self) -> float:
        """What a range takes in a warm environment, S3 included."""
        return self.size / self.rate + RANGE_REQUESTS * REQUEST_SECONDS

    @property
    def manifest_seconds(self) -> float:
        """What the last state takes to look at every result."""
        return math.ceil(self.ranges / HEADS_AT_ONCE) * REQUEST_SECONDS

    @property
    def quotas(self) -> Quotas:
        """What AWS allows, once Lambda's concurrency is raised."""
        usual = Quotas()
        return replace(usual, environments=self.environments or max(usual.environments, self.concurrency))

    @functools.cached_property
    def outcome(self) -> Outcome:
        """What it comes to."""
        return simulated(
            Run(
                ranges=self.ranges,
                seconds=self.range_seconds,
                spread=tuple(measured()["spread"]),
                cold=self.cold,
                delay=DELAY,
                concurrency=self.concurrency,
                failures=FAILURES,
                model_reads=MODEL_READS,
                retry=retry(),
                quotas=self.quotas,
            )
        )

    @property
    def seconds(self) -> float:
        """All together: the map, and the manifest."""
        return self.outcome.seconds + self.manifest_seconds

    def cost(self, region: str = "us-east-1", architecture: str = "arm64") -> RunCost:
        """Return what AWS bills for it, without keeping anything."""
        found = self.outcome
        return run_cost(
            gb_seconds=(found.billed + self.manifest_seconds) * MEMORY_MB / 1024,
            requests=found.invocations + 1,
            transitions=TRANSITIONS * self.ranges + found.retries + 2 * found.lost + MACHINE_TRANSITIONS,
            writes=self.ranges,
            reads=2 * found.invocations + MODEL_READS * found.cold + self.ranges,
            architecture=architecture,
            of=prices(region),
        )

    def stored(self, region: str = "us-east-1") -> float:
        """Return the dollars for keeping corpus and results a month."""
        kept: float = self.sentences * (LINE_BYTES + measured()["result_bytes"])
        return kept / GB * prices(region).usd["s3_gb_month"]

    def express(self) -> float:
        """Return the dollars for the same children as EXPRESS workflows, in us-east-1."""
        seconds = math.ceil(self.range_seconds * 10) / 10
        return self.ranges * (EXPRESS_REQUEST + seconds * EXPRESS_MB / 1024 * EXPRESS_GB_SECOND)


simulated = functools.cache(simulate)


@functools.cache
def measured() -> dict[str, Any]:
    """Return what ``make bench ROW=scale`` measured beside its rows.

    ``spread``: what ranges took, as multiples of their average; ``result_bytes``: of a sentence, stored.
    """
    found: dict[str, Any] = json.loads(MEASURED.read_text())
    return found


def engines() -> dict[str, tuple[float, float]]:
    """Return sentences a second and seconds of a cold start of the engines that the page is about."""
    found = json.loads(ENGINES.read_text())["engines"]
    return {
        f"{one['engine']} {one['precision']}": (one["sentences_per_second"], one["cold_start_seconds"])
        for one in found
        if (one["engine"], one["precision"]) in {("opennmt", "float32"), ("ctranslate2", "int8")}
    }


def plans(**changes: Any) -> dict[str, Plan]:
    """Return the plans of the page, by what their rates are: assumed ones first, then those measured."""
    slow = max(cold for _, cold in engines().values())
    assumed = {f"{rate:g}": Plan(rate=rate, cold=slow, **changes) for rate in RATES}
    return assumed | {
        f"{rate:g}, {name} here": Plan(rate=rate, cold=cold, **changes)
        for name, (rate, cold) in engines().items()
    }


NAMES = {
    "environments": "Lambda's concurrency",
    "starts": "starts of children",
    "concurrency": "`BatchConcurrency`",
}


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown, numbers to the right."""
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def duration(seconds: float) -> str:
    """Return seconds in a unit that leaves two digits."""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}" if seconds < 10 * size else f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def megabytes(size: float) -> str:
    """Return bytes in millions."""
    return f"{size / 1e6:,.1f} MB"


def times(found: Mapping[str, Plan], concurrencies: Sequence[int] = CONCURRENCIES) -> str:
    """Return the table of what rates come to, at several concurrencies."""
    head = ["sentences a second", "lines of a range", "children", "index",
            *(f"at {one:,}" for one in concurrencies), "manifest"]  # fmt: skip
    rows = [
        [
            name,
            f"{plan.size:,}",
            f"{plan.ranges:,}",
            megabytes(plan.ranges * INDEX_BYTES),
            *(ending(replace(plan, concurrency=one)) for one in concurrencies),
            duration(plan.manifest_seconds),
        ]
        for name, plan in found.items()
    ]
    return table(head, rows)


def ending(plan: Plan) -> str:
    """Return when a plan's map ends, and what limits it."""
    return f"{duration(plan.outcome.seconds)} ({NAMES[plan.outcome.limit]})"


def costs(found: Mapping[str, Plan]) -> str:
    """Return the table of what rates cost, in dollars."""
    parts = {"compute": "Lambda's time", "requests": "its requests", "transitions": "transitions",
             "s3": "S3's requests", "logs": "logs"}  # fmt: skip
    rows = [
        [
            name,
            f"{plan.cost().total:,.2f}",
            *(f"{asdict(plan.cost())[part]:,.2f}" for part in parts),
            f"{plan.stored():,.2f}",
            f"{plan.express():,.2f}",
        ]
        for name, plan in found.items()
    ]
    head = ["sentences a second", "total", *parts.values(), "kept a month", "transitions as EXPRESS"]
    return table(head, rows)


def part() -> str:
    """Return what the page has between its markers."""
    usual, long = plans(), plans(timeout=900)
    name, plan = next((name, plan) for name, plan in usual.items() if name.endswith("here"))
    crowded = replace(plan, concurrency=3_000, environments=1_000)
    found = crowded.outcome
    lost = (
        f"At {name}, with `BatchConcurrency` {crowded.concurrency:,} where Lambda gives "
        f"{crowded.environments:,}, it takes {duration(found.seconds)}: {found.throttled:,} calls are "
        f"throttled, their retries make the transitions {crowded.cost().transitions:,.2f} dollars, and "
        f"{found.lost:,} of {crowded.ranges:,} ranges are lost, with {retry().attempts} retries each.\n"
    )
    return "\n".join(
        [
            f"Of the function's timeout, {TIMEOUT} s, a range takes a quarter:\n",
            times(usual),
            "With `Timeout` at 900 s:\n",
            times(long),
            "In dollars, with 1,000 at once on arm64 in us-east-1:\n",
            costs(usual),
            lost,
        ]
    )


def document() -> None:
    """Write the page's part, and its picture."""
    text = DOCUMENT.read_text(encoding="utf-8")
    DOCUMENT.write_text(put(DOCUMENT.name, text, part()), encoding="utf-8")
    draw()


def draw() -> None:
    """Draw environments at work and sentences done against time, a line a concurrency."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    colours = ("#0072b2", "#d55e00", "#009e73")  # Okabe and Ito, Color Universal Design, 2008
    rate, cold = engines()["opennmt float32"]
    with mpl.rc_context({"svg.hashsalt": "scale", "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure = Figure(figsize=(8, 5), layout="constrained")
        upper, lower = figure.subplots(2, sharex=True)
        for concurrency, colour in zip(CONCURRENCIES, colours, strict=True):
            plan = Plan(rate=rate, cold=cold, concurrency=concurrency)
            seconds, active, done = zip(*plan.outcome.curve, strict=True)
            minutes = [one / 60 for one in seconds]
            upper.plot(minutes, active, color=colour, label=f"BatchConcurrency {concurrency:,}")
            lower.plot(minutes, [one * plan.size / 1e6 for one in done], color=colour)
        upper.set_ylabel("environments at work")
        lower.set_ylabel("million sentences done")
        lower.set_xlabel(f"minutes, {rate:g} sentences a second of one environment")
        upper.legend(frameon=False)
        for axes in (upper, lower):
            axes.grid(color="#e4e7eb")
            axes.set_ylim(bottom=0)
        figure.savefig(CHART, metadata={"Date": None})


REPETITIONS, RANGES = 3, 24
LINES = {"opennmt": 40, "ctranslate2": 120}
"""Of a range that takes about a second."""
WORKERS = 2


@dataclass(frozen=True)
class Work:
    """What functions under the emulator took, in seconds: each range, cold starts, all; and bytes stored."""

    each: Sequence[float]
    cold: Sequence[float]
    whole: float
    stored: int


def work(application: Application, ranges: Sequence[list[str]]) -> Work:
    """Have new functions load the model, and then answer ranges, each the next when it has time."""
    left, each, cold, keys = iter(ranges), list[float](), list[float](), list[str]()

    def ask(function: Emulator, event: dict[str, Any]) -> tuple[float, Any]:
        start = time.perf_counter()
        answer = function.invoke(event)
        if answer["statusCode"] != 200:  # noqa: PLR2004
            raise RuntimeError(f"the function answered {answer}")
        return time.perf_counter() - start, answer["body"]

    def serve(function: Emulator) -> None:
        cold.append(ask(function, {"warmup": True})[0])
        for lines in left:
            seconds, body = ask(function, {"data": lines, "beam": BEAM})
            each.append(seconds)
            keys.append(body["s3_key"])

    with ExitStack() as stack:
        functions = [
            stack.enter_context(application.function(env={"OMP_NUM_THREADS": "1"})) for _ in range(WORKERS)
        ]
        pool = stack.enter_context(ThreadPoolExecutor(WORKERS))
        start = time.perf_counter()
        list(pool.map(serve, functions))
        whole = time.perf_counter() - start
    heads = [application.client.head_object(Bucket="results", Key=key) for key in keys]
    return Work(each, cold, whole, sum(head["ContentLength"] for head in heads))


@measures("scale.opennmt", "scale.ctranslate2_int8")
def predicting() -> Iterator[Row]:
    """Compare what a run takes with what every other range of it lets the simulation say."""
    from bench import translate

    spread, stored, texts = list[float](), 0.0, sentences()
    with translate.served() as serving:
        for kind in (translate.OPENNMT, translate.INT8):
            lines, runs, told = LINES[kind.engine], list[float](), list[str]()
            corpus = [f"{texts[number % len(texts)]} ({number})" for number in range(RANGES * lines)]
            ranges = [corpus[first : first + lines] for first in range(0, len(corpus), lines)]
            with serving.application(kind) as application:
                work(application, ranges[:WORKERS])  # unpacks its layers, if they have to be
                for _ in range(REPETITIONS):
                    real = work(application, ranges)
                    half = real.each[::2]
                    run = Run(
                        ranges=RANGES,
                        seconds=mean(half),
                        spread=[one / mean(half) for one in half],
                        cold=mean(real.cold),
                        concurrency=WORKERS,
                    )
                    found = median(simulate(replace(run, seed=seed)).seconds for seed in range(21))
                    runs.append(round(abs(found / real.whole - 1), 3))
                    told.append(f"{found:.1f} s for {real.whole:.1f}")
                    spread += run.spread
                    stored = real.stored / len(corpus)
            yield Row(
                name=f"scale.{kind.name}",
                value=median(runs),
                unit="of a real run's time off",
                baseline=f"a run of {RANGES} ranges of {lines} lines on {WORKERS} new functions under the "
                "emulator; every other range's time goes into the simulation (bench/scale.py)",
                goal=0.1,
                runs=runs,
                cause=f"it said {', '.join(told)}",
            )
    content = {"spread": [round(one, 3) for one in sorted(spread)], "result_bytes": round(stored, 1)}
    MEASURED.write_text(json.dumps(content) + "\n", encoding="utf-8")
    measured.cache_clear()
    document()


def main() -> None:
    """Print what your numbers come to."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.scale",
        description="What a corpus takes and costs through the state machine, by a simulation of "
        "docs/batch_at_scale.md. Take --rate from your function: Items divided by Predict in its log.",
    )
    parser.add_argument("--sentences", type=float, default=SENTENCES, help="of the corpus (100e6)")
    parser.add_argument("--rate", type=float, nargs="+", metavar="N",
                        help="sentences a second of one environment; several give a line each")  # fmt: skip
    parser.add_argument("--concurrency", type=int, nargs="+", default=CONCURRENCIES, metavar="N",
                        help="the template's BatchConcurrency (1000 3000 10000)")  # fmt: skip
    parser.add_argument("--environments", type=int, metavar="N",
                        help="your quota of Lambda's concurrency; without, enough")  # fmt: skip
    parser.add_argument("--timeout", type=int, default=TIMEOUT, help="the function's, in seconds (120)")
    parser.add_argument("--range", type=int, dest="lines", metavar="LINES",
                        help="lines of a range; without, what takes a quarter of the timeout")  # fmt: skip
    parser.add_argument("--cold", type=float, default=1.5, metavar="SECONDS", help="of a cold start (1.5)")
    parser.add_argument("--document", action="store_true",
                        help="write the page's tables and picture anew, and nothing else")  # fmt: skip
    options = parser.parse_args()
    if options.document:
        document()
        return
    if not options.rate:
        parser.error("--rate is needed: what one environment of your function translates in a second")
    for name, least in (("sentences", 1), ("timeout", 10), ("lines", 1), ("environments", 1)):
        if (given := getattr(options, name)) is not None and given < least:
            parser.error(f"--{'range' if name == 'lines' else name} takes {least} or more, not {given:g}")
    if min(options.rate) <= 0 or min(options.concurrency) < 1:
        parser.error("--rate takes numbers above 0, --concurrency whole ones from 1 on")
    found = {
        f"{rate:g}": Plan(
            sentences=int(options.sentences),
            rate=rate,
            cold=options.cold,
            concurrency=options.concurrency[0],
            environments=options.environments,
            timeout=options.timeout,
            lines=options.lines,
        )
        for rate in options.rate
    }
    print(times(found, options.concurrency))
    print(f"US dollars, {options.concurrency[0]:,} at once, arm64, us-east-1:\n\n{costs(found)}", end="")
    for plan in (replace(one, concurrency=each) for one in found.values() for each in options.concurrency):
        if plan.outcome.lost:
            print(
                f"\nAt {plan.rate:g} and {plan.concurrency:,}, {plan.outcome.lost:,} of {plan.ranges:,} "
                f"ranges are lost: {plan.outcome.throttled:,} calls are throttled. Lower --concurrency."
            )


if __name__ == "__main__":
    main()
