"""The simulation of studies/batch_scale, held against real runs of functions under the emulator.

Run: ``make bench ROW=scale``. The times of ranges and the sizes of results that the study takes as given
are written beside it.
"""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from statistics import mean, median
from typing import Any

from bench.areas import translate
from bench.row import Row, measures
from bench.worker import BEAM, sentences
from lambda_setup.deployment.local import Emulator, LocalDeployment
from studies.batch_scale.plan import write_measurements
from studies.batch_scale.simulation import Run, simulate

REPETITIONS, RANGES = 3, 24
LINES = {"opennmt": 40, "ctranslate2": 120}
"""Of a range that takes about a second."""
WORKERS = 2


@dataclass(frozen=True)
class Work:
    """Seconds of functions under the emulator: each range, cold starts, the whole; and the bytes stored."""

    each: Sequence[float]
    cold: Sequence[float]
    whole: float
    stored: int


def run_ranges(application: LocalDeployment, ranges: Sequence[list[str]]) -> Work:
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
def measure_prediction() -> Iterator[Row]:
    """Compare a run's time with the one that the simulation predicts from every other range of it."""
    spread, stored, texts = list[float](), 0.0, sentences()
    with translate.serve() as serving:
        for kind in (translate.OPENNMT, translate.INT8):
            lines, runs, messages = LINES[kind.engine], list[float](), list[str]()
            corpus = [f"{texts[number % len(texts)]} ({number})" for number in range(RANGES * lines)]
            ranges = [corpus[first : first + lines] for first in range(0, len(corpus), lines)]
            with serving.application(kind) as application:
                run_ranges(application, ranges[:WORKERS])  # unpacks its layers, if they have to be
                for _ in range(REPETITIONS):
                    real = run_ranges(application, ranges)
                    half = real.each[::2]
                    run = Run(
                        ranges=RANGES,
                        seconds=mean(half),
                        spread=[each / mean(half) for each in half],
                        cold=mean(real.cold),
                        concurrency=WORKERS,
                    )
                    predicted = median(simulate(replace(run, seed=seed)).seconds for seed in range(21))
                    runs.append(round(abs(predicted / real.whole - 1), 3))
                    messages.append(f"{predicted:.1f} s for {real.whole:.1f}")
                    spread += run.spread
                    stored = real.stored / len(corpus)
            yield Row(
                name=f"scale.{kind.name}",
                value=median(runs),
                unit="of a real run's time off",
                baseline=f"a run of {RANGES} ranges of {lines} lines on {WORKERS} new functions under the "
                "emulator; every other range's time goes into the simulation (bench/areas/scale.py)",
                goal=0.1,
                runs=runs,
                cause=f"it said {', '.join(messages)}",
            )
    write_measurements(spread, stored)
