"""Split libraries against the nested layer, which unpacks whole ones to the disk at a cold start.

Run: ``make bench ROW=split``. Both are the translator as it is deployed. Cold starts are measured as in
bench/areas/cold_start.py, with caches dropped before each; then warm functions answer requests of one
sentence and of 200 in turns, by their processor time. Sides take turns.

A function may run on a processor whose instructions were not traced: its kernels are cold then. Torch is told
to use SSE, and the layer as it is, traced with AVX2 and this machine's own, is compared with one that was
traced with SSE too.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from bench.areas.cold_start import REPETITIONS, Deploy, Place, Side, deploy, ours, translation
from bench.areas.layers import EVENT
from bench.areas.unpack import build_nested_layer
from bench.row import AS_FAST, MODEL, OF_TIME, ROOT, Row, measures, ratio
from bench.worker import sentences
from lambda_inference._unpack import unpack
from lambda_setup.deployment.local import SHIPPED_MODEL, LocalDeployment, S3Server
from lambda_setup.deployment.local.layers import build_layers
from lambda_setup.models.describe import describe
from lambda_setup.models.upload import publish
from layer.builder import build
from layer.builder.pack.layer import ARCHIVE, MARKER
from layer.builder.recipe import load
from layer.builder.slim.split import write
from layer.builder.slim.split.layout import parse
from layer.builder.slim.split.pages import parse_runs
from layer.builder.slim.split.record import path_of
from layer.builder.target import HOST, get_target

BASELINE = "the nested layer, which unpacks the whole libraries to the disk (bench/areas/split.py)"
CAUSE = (
    "the imports wait for their files, one after another, on a disk whose cache is empty; those of the "
    "nested layer are in memory when they are imported, because unpacking wrote them a moment before"
)
SSE = {"ATEN_CPU_CAPABILITY": "default", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2", "ONEDNN_MAX_CPU_ISA": "SSE41"}
SMALL = 16
"""Pages of a block that is smaller."""
PAIRS = 20
SIZES = {"latency": 1, "throughput": 200}
"""Sentences of a request, by row."""


def translator(
    folder: str,
    layer: Path | None = None,
    variables: Mapping[str, str] | None = None,
    *,
    in_memory: bool = False,
) -> Deploy:
    """Return how the function is deployed with the shipped model, in a folder, with its layer or another."""

    def prepare(place: Place) -> Side:
        own = Place(place.scratch / folder, place.runtime, place.server)
        own.scratch.mkdir()
        side = ours(own, MODEL, EVENT, translation, layer=layer)
        return replace(side, environment={**side.environment, **(variables or {})}, in_memory=in_memory)

    return prepare


@measures("split.cold_start", "split.cold_start_memory", "split.cpu_time", "split.memory")
def measure() -> Iterator[Row]:
    """Compare cold starts: time, processor time, and the most memory of the process."""
    layer = build_nested_layer()
    sides = {
        "split": translator("split"),
        "nested": translator("nested", layer),
        "memory": translator("memory", layer, in_memory=True),
    }
    with deploy(sides) as bench:
        times = bench.take_turns(REPETITIONS)
    split, nested, _ = (list(zip(*bench.usage[name], strict=True)) for name in sides)
    for name, values, goal, unit in (
        ("cold_start", (times["split"], times["nested"]), 0.7, OF_TIME),
        ("cold_start_memory", (times["split"], times["memory"]), 1.0, OF_TIME),
        ("cpu_time", (split[0], nested[0]), 0.75, "× of the baseline's processor time"),  # noqa: RUF001
        ("memory", (split[1], nested[1]), 1.0, "× of the baseline's peak memory"),  # noqa: RUF001
    ):
        baseline = BASELINE.replace("the disk", "memory") if name == "cold_start_memory" else BASELINE
        found = ratio(*values)
        yield Row(name=f"split.{name}", **found, unit=unit, baseline=baseline, goal=goal, cause=CAUSE)


@measures("split.wrong_hot")
def measure_wrong() -> Iterator[Row]:
    """Compare cold starts on instructions that were not traced with those where they were."""
    recipe, target = load("opennmt"), get_target(HOST)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=build.WORK) as name:
        folder = Path(name, "recipe")
        shutil.copytree(recipe.folder, folder)
        wanted = [replace(one, environments={target.architecture: [SSE]}) for one in recipe.split]
        traced = replace(recipe, folder=folder, split=tuple(wanted))
        build.build(build.Job(traced, target, Path(name, "out"), retrace=True), print)
        layer = Path(name, "out", "layer", "python")
        with deploy(
            {"wrong": translator("wrong", None, SSE), "right": translator("right", layer, SSE)}
        ) as bench:
            times = bench.take_turns(REPETITIONS)
    baseline = "the layer traced with these instructions, too (bench/areas/split.py)"
    yield Row(
        name="split.wrong_hot",
        **ratio(*times.values()),
        unit=OF_TIME,
        baseline=baseline,
        goal=1.03,
        cause="49 blocks are read and unpacked when they are called, which takes 26 ms",
    )


@measures("split.block")
def measure_block() -> Iterator[Row]:
    """Compare cold starts with blocks of 256 KiB with those of 64 KiB, and print the layers' sizes."""
    recipe, target = load("opennmt"), get_target(HOST)
    own, *_ = build_layers("opennmt")
    nested = build_nested_layer()
    with tempfile.TemporaryDirectory(prefix="bench-", dir=build.WORK) as name:
        archive, index = nested / ARCHIVE, json.loads((nested / MARKER).read_text())["archive"]["index"]
        whole = unpack(archive, index, temporary=Path(name)).folder
        small = Path(name, "small")
        shutil.copytree(own, small)
        recorded = json.loads(path_of(recipe, target).read_text())
        for path, one in recorded.items():
            library = parse((whole / path).read_bytes())
            (small / path).write_bytes(write.split(library, parse_runs(one["pages"]), block=SMALL))
        for folder in (own, small):
            print(f"{sum((folder / path).stat().st_size for path in recorded):,} bytes in {folder.name}")
        with deploy({"large": translator("large"), "small": translator("small", small)}) as bench:
            times = bench.take_turns(REPETITIONS)
    baseline = "blocks of 64 KiB (bench/areas/split.py)"
    yield Row(name="split.block", **ratio(*times.values()), unit=OF_TIME, baseline=baseline, goal=1.03)


@measures("split.latency", "split.throughput")
def measure_warm() -> Iterator[Row]:
    """Compare warm functions by their processor time."""
    with S3Server() as server, ExitStack() as stack:
        client, manifest = server.client(), describe(SHIPPED_MODEL)
        for bucket in ("models", "results"):
            client.create_bucket(Bucket=bucket)
        publish(SHIPPED_MODEL, client, "models")
        own, *beside = build_layers("opennmt")
        variables = LocalDeployment(server, manifest.name, "opennmt", log=subprocess.DEVNULL).environment()
        sides = [
            stack.enter_context(run_function([layer, *beside], variables))
            for layer in (own, build_nested_layer())
        ]
        for row, count in SIZES.items():
            data = json.dumps(sentences(count)) + "\n"
            times: list[list[float]] = [[], []]
            for pair in range(PAIRS + 1):
                for side in (0, 1) if pair % 2 else (1, 0):
                    seconds = ask(sides[side], data)
                    if pair:
                        times[side].append(seconds)
            found = ratio(times[1], times[0])
            name = f"split.{row}"
            yield Row(name=name, **found, unit=AS_FAST, better="higher", baseline=BASELINE, goal=0.97)


@contextmanager
def run_function(layers: list[Path], variables: Mapping[str, str]) -> "Iterator[subprocess.Popen[str]]":
    """Run the handler with layers, in a process that reads lists of sentences."""
    places = [ROOT / "translation_function", *layers]
    with tempfile.TemporaryDirectory(prefix="bench-", dir=build.WORK) as temporary:
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(map(str, places)),
            **variables,
            "OMP_NUM_THREADS": "1",
            "TMPDIR": temporary,
        }
        worker = ROOT / "bench" / "worker.py"
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-s", "-S", "-P", worker, "serve_requests"],
            env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            yield process
        finally:
            process.communicate()


def ask(process: "subprocess.Popen[str]", line: str) -> float:
    """Return the seconds of processor time that a function takes for a request."""
    assert process.stdin and process.stdout  # noqa: S101, PT018
    process.stdin.write(line)
    process.stdin.flush()
    return float(process.stdout.readline())
