"""A corpus through the state machine on this machine: two functions beside one, and what fetching takes.

Run: ``make bench ROW=batch``. Each side of each repetition has a store of its own, so that every line is
answered; its time is that of the state machine, from its start to its end, cold starts included.
"""

import contextlib
import gzip
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from bench.row import AS_FAST, MODEL, ROOT, Row, measures, ratio
from lambda_setup.batch import run, store
from lambda_setup.deployment.local import LocalDeployment

REPETITIONS = 3
LINES = 3_000
FEW, MANY = 2_000, 20_000
REQUEST = {"beam": 1}

_FETCH = """
import resource, sys
from pathlib import Path
from lambda_setup.__main__ import main
from lambda_setup.batch import store
store.STORE = Path(sys.argv[1])
assert main(["batch", "fetch", sys.argv[2], "--local", "--out", sys.argv[3]]) == 0
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def corpus(folder: Path, lines: int, longest: int = 10_000) -> Path:
    """Write a corpus of sentences of the test split, none longer than so many characters."""
    with gzip.open(MODEL / "test.en.gz", "rt", encoding="utf-8") as file:
        sentences = [line for line in file if len(line) <= longest]
    path = folder / f"{lines}.txt"
    path.write_text("".join(sentences[number % len(sentences)] for number in range(lines)), encoding="utf-8")
    return path


def run_batch(deployment: LocalDeployment, path: Path, name: str, lines: int) -> float:
    """Run a batch and return the seconds that its state machine took."""
    times: list[float] = []
    start, watch = run._start, run._watch  # noqa: SLF001

    def timed_start(*arguments: Any) -> str:
        times.append(time.perf_counter())
        return start(*arguments)

    def timed_watch(*arguments: Any) -> str | None:
        reason = watch(*arguments)
        times.append(time.perf_counter())
        return reason

    job = run.Run(name=name, source=str(path), request=REQUEST, most_lines=lines)
    with (
        mock.patch.object(run, "_start", timed_start),
        mock.patch.object(run, "_watch", timed_watch),
        mock.patch.object(run, "_POLL_SECONDS", 0.1),
    ):
        if run.run(deployment, job)["failed_ranges"]:
            raise RuntimeError("a shard of the batch failed")
    return times[1] - times[0]


@contextlib.contextmanager
def run_place(workers: int, folder: Path) -> Iterator[LocalDeployment]:
    """Run so many functions with a store in a folder."""
    with mock.patch.object(store, "STORE", folder), store.open_local_deployment(MODEL, workers) as deployment:
        yield deployment


@measures("batch.two_workers")
def measure_workers() -> Iterator[Row]:
    """Compare two functions with one, on the same corpus."""
    seconds: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(REPETITIONS):
        for workers, times in seconds.items():
            with tempfile.TemporaryDirectory(prefix="bench-") as name:
                folder = Path(name)
                with run_place(workers, folder / "store") as here:
                    times.append(run_batch(here, corpus(folder, LINES), "measured", LINES // 12))
    yield Row(
        name="batch.two_workers",
        unit=AS_FAST,
        better="higher",
        baseline=f"the same {LINES:,} lines with one function",
        goal=1.6,
        **ratio(seconds[1], seconds[2]),
    )


@measures("batch.fetch_memory")
def measure_fetching() -> Iterator[Row]:
    """Compare the peak memory of fetching many lines with that of few, in processes of their own."""
    peaks: dict[int, list[int]] = {FEW: [], MANY: []}
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        with run_place(2, folder / "store") as here:
            for lines in peaks:
                run_batch(here, corpus(folder, lines, longest=60), f"of-{lines}", 500)
        for _ in range(REPETITIONS):
            for lines, found in peaks.items():
                arguments = [folder / "store", f"of-{lines}", folder / "out.jsonl"]
                done = subprocess.run(
                    [sys.executable, "-c", _FETCH, *arguments],
                    cwd=ROOT, capture_output=True, text=True, check=True,
                )  # fmt: skip
                found.append(int(done.stdout))
    yield Row(
        name="batch.fetch_memory",
        unit="× of the baseline's peak memory",  # noqa: RUF001 - the sign, not the letter
        baseline=f"fetching {FEW:,} lines, against {MANY:,}",
        goal=1.05,
        **ratio(peaks[MANY], peaks[FEW]),
    )
