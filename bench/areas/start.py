"""A start beside the same start of earlier commits, and what its imports take of the processor's time.

Run: ``make bench ROW=start``. Functions are deployed and timed as in bench/areas/cold_start.py. Those of
earlier commits are their code with the layers of their own builders, kept below ``.layers`` between runs, and
find the same models in the same S3. Where the history is missing, as in a download without it, nothing is
measured.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from bench.areas.cold_start import BUCKET, REPETITIONS, Deploy, Place, Side, deploy, ours, translator
from bench.areas.examples import classes, prediction
from bench.row import AS_FAST, OF_TIME, ROOT, Row, measures, ratio
from bench.usual import MODELS
from bench.worker import sentences
from lambda_setup import functions
from lambda_setup.deployment.cold_start.folders import copy, merge_layers
from layer.builder.build import WORK

RELEASE = "d9c8673"
"""The release before split libraries and late imports: torch is unpacked at a start."""
EAGER = "95c18ff^"
"""The commit before torch's imports were made late; its layers are split already."""
OF_CPU = "× of the baseline's processor time"  # noqa: RUF001
PARTS = ("the interpreter", "this package", "imports with the model's way and load", "the answer")
"""Of a start, in their order."""
IMPORTS = 15
"""Times that a process imports something, on each side."""
ANSWERS = 20
"""Pairs of processes that answer the same request twice."""
SENTENCES = 200

IMPORT = """
import sys, time
start = time.process_time()
__import__(sys.argv[1])
print(time.process_time() - start)
"""
# With: an event of all sentences. The second answer's processor time: the first imports and loads.
ANSWER = """
import json, sys, time
from app import lambda_handler
class Context:
    aws_request_id = "bench"
    def get_remaining_time_in_millis(self):
        return 900_000
event = json.loads(sys.argv[1])
lambda_handler({**event, "data": event["data"][:1]}, Context())
start = time.process_time()
answer = lambda_handler(event, Context())
assert answer["statusCode"] == 200, answer
print("seconds", time.process_time() - start, flush=True)
"""


def checkout(commit: str) -> Path | None:
    """Return a folder with a commit's files, None where the history does not have it."""
    named = subprocess.run(
        ["git", "rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}"],  # noqa: S607
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if named.returncode:
        return None
    folder = WORK / f"earlier-{named.stdout[:12]}"
    if not (folder / "template.yaml").exists():
        folder.mkdir(parents=True, exist_ok=True)
        archive = subprocess.Popen(
            ["git", "archive", named.stdout.strip()],  # noqa: S607
            cwd=ROOT,
            stdout=subprocess.PIPE,
        )
        subprocess.run(["tar", "-x", "-C", folder], stdin=archive.stdout, check=True)  # noqa: S607
        if archive.wait():
            raise RuntimeError(f"git archive ended with {archive.returncode}")
    return folder


def build_layer(folder: Path, recipe: str, *options: str) -> Path:
    """Return the ``python`` folder of a recipe's layer for this machine, as that commit builds it."""
    out = folder / ".layers" / "-".join([recipe, "host", *(one.strip("-") for one in options)])
    layer = out / "layer" / "python"
    if not layer.exists():
        subprocess.run(
            [sys.executable, "-m", "layer", "build", recipe, *options, "--out", out],
            cwd=folder,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join([str(folder), str(folder / "layer" / "python")]),
            },
            check=True,
            stdout=sys.stderr,
        )
    return layer


def find_package(folder: Path) -> Path:
    """Return the folder that holds the package lambda_inference and nothing else."""
    (found,) = folder.glob("layer/**/lambda_inference/__init__.py")
    return found.parent


def share(make: Deploy) -> Deploy:
    """Return what deploys a function once, for all that ask."""
    made: list[Side] = []

    def prepare(place: Place) -> Side:
        if not made:
            made.append(make(place))
        return made[0]

    return prepare


def make_earlier(commit: str, current: Deploy, engine: str, *options: str) -> Deploy:
    """Return how a function of a commit is deployed, with the variables and the event of the current one."""

    def prepare(place: Place) -> Side:
        side, folder = current(place), checkout(commit)
        assert folder is not None  # noqa: S101 - the caller has asked
        scratch = place.scratch / f"{engine}-{folder.name}"
        copy(folder / functions.for_engine(engine).code.relative_to(ROOT), scratch / "task")
        layers = [build_layer(folder, engine, *options), build_layer(folder, "inference")]
        copy(find_package(folder), scratch / "python" / "lambda_inference")
        merge_layers(layers, scratch / "python")
        return Side(
            side.module,
            (scratch / "task", scratch / "python", place.runtime),
            side.environment,
            side.event,
            side.read,
        )

    return prepare


def compare(
    name: str, current: Deploy, commit: str, engine: str, *options: str, goal: float
) -> Iterator[Row]:
    """Yield the row of a function's start beside the same function's at a commit."""
    folder = checkout(commit)
    if folder is None:
        print(f"{name}: the history does not have {commit}", flush=True)
        return
    once = share(current)
    with deploy({"now": once, "before": make_earlier(commit, once, engine, *options)}) as bench:
        times = bench.take_turns(REPETITIONS)
        usage = bench.usage
    cpu = median(used[0] for used in usage["now"]) / median(used[0] for used in usage["before"])
    where = f"before {commit.removesuffix('^')}" if commit.endswith("^") else f"at {commit}"
    before, now = (divide(times[side], usage[side], median(times["before"])) for side in ("before", "now"))
    parts = ", ".join(
        f"{part} {one:.0%} then and {other:.0%} now"
        for part, one, other in zip(PARTS, before, now, strict=True)
    )
    yield Row(
        name=name,
        **ratio(times["now"], times["before"]),
        unit=OF_TIME,
        baseline=f"the same function {where}; {cpu:.2f} × its processor time; of its whole: {parts}",  # noqa: RUF001
        goal=goal,
        cause="only this package, torch's imports, what was unpacked and what is read ahead have changed: "
        f"processor time is {cpu:.2f} × what it was, the rest is waiting for files",  # noqa: RUF001
    )


def divide(seconds: Sequence[float], usage: Sequence[Sequence[float]], whole: float) -> list[float]:
    """Return the medians of a start's parts, in their order, as shares of a whole."""
    inside = [used[2:] for used in usage]
    outside = [one - sum(parts) for one, parts in zip(seconds, inside, strict=True)]
    return [median(part) / whole for part in (outside, *zip(*inside, strict=True))]


@measures("start.opennmt", "start.opennmt_released", "start.ctranslate2")
def measure_translator() -> Iterator[Row]:
    """Compare the translator's start with that before torch's late imports, and with the release before."""
    opennmt, release = translator("opennmt"), RELEASE
    yield from compare("start.opennmt", opennmt, EAGER, "opennmt", goal=0.76)
    nested = ("--strategy", "nested")
    yield from compare("start.opennmt_released", opennmt, release, "opennmt", *nested, goal=0.45)
    yield from compare("start.ctranslate2", translator("ctranslate2"), release, "ctranslate2", goal=0.8)


@measures("start.spacy", "start.fastai", "start.onnxruntime", "start.keras")
def measure_examples() -> Iterator[Row]:
    """Compare the examples' starts with those of the release before."""
    shipped = json.loads((ROOT / "examples" / "keras_function" / "events" / "event.json").read_text())
    digits = json.loads((ROOT / "examples" / "fastai_function" / "events" / "event.json").read_text())
    probabilities = partial(prediction, fields=("label", "probabilities"))
    asked: Mapping[str, tuple[str, Any, Callable[[dict[str, Any]], Any], float]] = {
        "spacy": ("en-web-sm", ["Anna bought two tickets in Paris."],
                  partial(prediction, fields=("entities", "tokens")), 0.95),
        "fastai": ("digits", digits["data"][:1], classes, 0.75),
        "onnxruntime": ("tumours", shipped["data"][:1], probabilities, 0.95),
        "keras": ("tumours-keras", shipped["data"][:1], probabilities, 0.75),
    }  # fmt: skip
    for engine, (model, data, read, goal) in asked.items():
        event = {"data": data, "result": "inline"}
        current = partial(ours, model=MODELS / model, event=event, read=read)
        yield from compare(f"start.{engine}", current, RELEASE, engine, goal=goal)


def take_turns(sides: Mapping[str, Callable[[], float]], repetitions: int) -> dict[str, list[float]]:
    """Return what each side took, in turns; the first turn does not count."""
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for repetition in range(repetitions + 1):
        for name, run in sides.items():
            found = run()
            if repetition:
                taken[name].append(found)
    return taken


def run_program(side: Side, program: str, argument: str) -> float:
    """Return the number that a program ends with, in a process with a side's folders and variables."""
    done = subprocess.run(
        [sys.executable, "-s", "-S", "-P", "-B", "-c", program, argument],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(map(str, side.folders)),
            "LD_LIBRARY_PATH": str(side.folders[1].parent / "lib"),
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1769",
            "MODEL_BUCKET": BUCKET,
            **side.environment,
        },
        cwd=side.folders[0],
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout.split()[-1])


@measures("start.import_lambda_inference", "start.import_torch", "start.second_answer")
def measure_imports() -> Iterator[Row]:
    """Compare the processor time of imports, and of answers after them, on trees from before."""
    released, eager = checkout(RELEASE), checkout(EAGER)
    if released is None or eager is None:
        print("start.import_*: the history does not have the commits", flush=True)
        return
    # In a split layer a thread reads libraries ahead meanwhile, whose time would count.
    package, engine = share(translator("ctranslate2")), share(translator("opennmt"))
    functions_of = {
        "package": package,
        "released": make_earlier(RELEASE, package, "ctranslate2"),
        "now": engine,
        "eager": make_earlier(EAGER, engine, "opennmt"),
    }
    with deploy(functions_of) as bench:
        sides = bench.sides

        def imports(name: str, module: str) -> Callable[[], float]:
            return lambda: run_program(sides[name], IMPORT, module)

        packages = take_turns(
            {side: imports(side, "lambda_inference") for side in ("package", "released")}, IMPORTS
        )
        torch = take_turns({side: imports(side, "torch") for side in ("now", "eager")}, IMPORTS)
        data = sentences(SENTENCES)
        event = json.dumps({"data": data, "result": "inline"})
        answers = take_turns(
            {side: partial(run_program, sides[side], ANSWER, event) for side in ("now", "eager")}, ANSWERS
        )
    yield Row(
        name="start.import_lambda_inference",
        **ratio(packages["package"], packages["released"]),
        unit=OF_CPU,
        baseline=f"the package and its layer at {RELEASE}",
        goal=0.5,
        cause="msgspec's own imports, and Python's typing, enum and json",
    )
    yield Row(
        name="start.import_torch",
        **ratio(torch["now"], torch["eager"]),
        unit=OF_CPU,
        baseline="the tree of the commit before torch's imports were made late",
        goal=0.72,
        cause="two thirds of what is left is native: loading libraries and registering operators",
    )
    yield Row(
        name="start.second_answer",
        **ratio(answers["eager"], answers["now"]),
        better="higher",
        unit=AS_FAST,
        baseline=f"{SENTENCES} sentences on the tree of the commit before torch's imports were made late, by "
        "processor time",
        goal=0.97,
        cause="what a second answer imports at its first use",
    )
