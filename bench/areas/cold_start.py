"""A cold start: from before the process to the first answer, with the model in S3 and nothing in memory.

Run: ``make bench ROW=cold_start``. The clock starts before the interpreter is started, and stops when its
first answer, one sentence's, is read. Ours is what Lambda gets: the function's code and the layers as
``sam build`` makes them, the model by its channel. The baseline is the usual function
with the same wheels, beside what torch declares, without which OpenNMT-py does not run as it is. Both have
what Lambda's runtime has of its own, its client and boto3, and nothing else of this machine's packages; for
both the folder for temporary files is new, and is their home, too. Neither writes bytecode: ours has nowhere
to in Lambda, and the usual function takes no longer without. Both compute with one thread, as many as the
memory pays for: torch would take one a core, which takes a fifth longer where something else runs on the
cores. The examples' functions are compared in the same way (bench/areas/examples.py).

Before each start what was written is put on the disk, and the kernel drops its page cache. Where only root
may ask for that, every file that a side reads is dropped by posix_fadvise(2). mincore(2) then tells whether
it is gone. All lies on a disk, for files in memory cannot be dropped; a disk may have a cache of its own.
What a start has written is emptied after it and removed after the last: see bench/areas/unpack.py.

The S3 server is a SeaweedFS on this machine. Its program is read into memory again, because S3 starts with no
function. Sides take turns, and the first turn does not count.
"""

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from msgspec.structs import replace

from bench.areas.layers import EVENT, install
from bench.areas.store import find_child
from bench.areas.unpack import wait_for_quiet
from bench.baselines import nested_zip
from bench.row import AS_FAST, MODEL, ROOT, Row, measures, ratio
from lambda_setup import functions
from lambda_setup.deployment.cold_start.folders import (
    copy,
    count_resident_pages,
    drop,
    list_files,
    merge_layers,
)
from lambda_setup.deployment.local.emulator import link_runtime
from lambda_setup.deployment.local.layers import build_layers
from lambda_setup.deployment.local.s3 import S3Server
from lambda_setup.models.convert import convert
from lambda_setup.models.describe import describe
from lambda_setup.models.upload import upload
from layer.builder.build import WORK
from layer.builder.verify.compare import TOLERANCE, differences

BUCKET = "models"

REPETITIONS = 7
ENGINES = ("opennmt", "ctranslate2")
USUAL = "usual"
MEMORY = Path("/dev/shm")  # noqa: S108
PATIENCE = 5
"""Times that the kernel is asked to forget."""

DECLARED = ("filelock", "fsspec", "jinja2", "markupsafe", "mpmath", "networkx", "sympy")
"""Requirements that torch declares, and their own. OpenNMT-py builds its layers by way of meta tensors, which
import sympy; our layers need none of it."""

# With: the handler's module, and an event. Logs come before the answer. Then processor time with that of
# processes it has started, peak, and the seconds of the package that functions share, of the handler's module
# and what it initialises, of the answer.
PROGRAM = """
import time
ends = [time.perf_counter()]
import json, sys
from importlib import import_module
class Context:
    aws_request_id = "cold-start"
    def get_remaining_time_in_millis(self):
        return 900_000
try:
    import lambda_inference
except ImportError:
    pass
ends.append(time.perf_counter())
handler = import_module(sys.argv[1]).lambda_handler
ends.append(time.perf_counter())
print("answer", json.dumps(handler(json.loads(sys.argv[2]), Context())), flush=True)
ends.append(time.perf_counter())
from resource import RUSAGE_CHILDREN, getrusage
children = getrusage(RUSAGE_CHILDREN)
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
used = time.process_time() + children.ru_utime + children.ru_stime
print(used, peak.split()[1], *(end - start for start, end in zip(ends, ends[1:])), flush=True)
"""


@dataclass(frozen=True)
class Side:
    """A function as it is deployed, and what it is asked."""

    module: str  # its handler's
    folders: tuple[Path, ...]  # what it imports from, in their order: the code, the layer, the runtime's own
    environment: Mapping[str, str]  # its variables
    event: Mapping[str, Any]  # its first
    read: Callable[[dict[str, Any]], Any]  # returns what of its answer has to equal the others', or fails
    in_memory: bool = False  # whether its temporary folder is

    def start(self, temporary: Path) -> tuple[float, Any, tuple[float, ...]]:
        """Return how many seconds a fresh process takes to its first answer, and what that says.

        Then its processor time in seconds, the most KiB of memory that it had, and the seconds of importing
        the package that our functions share, of initialising, and of the answer.
        """
        command = [sys.executable, "-s", "-S", "-P", "-B", "-c", PROGRAM, self.module, json.dumps(self.event)]
        environment = {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "PYTHONPATH": os.pathsep.join(map(str, self.folders)),
            "TMPDIR": str(temporary),
            "HOME": str(temporary),
            "LAMBDA_TASK_ROOT": str(self.folders[0]),
            "AWS_LAMBDA_RUNTIME_API": "127.0.0.1",  # that there is one has ours load at once
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1769",
            "MODEL_BUCKET": BUCKET,
            **self.environment,
        }
        with (temporary / "stderr").open("w+") as errors:
            start = time.perf_counter()
            with subprocess.Popen(
                command,
                env=environment,
                cwd=self.folders[0],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            ) as process:
                lines = iter(process.stdout or ())
                answer = next((line for line in lines if line.startswith("answer ")), "")
                seconds = time.perf_counter() - start
                rest = list(lines)
            errors.seek(0)
            if not answer:
                raise RuntimeError(f"{self.module} did not answer:\n{errors.read()}")
        used = tuple(map(float, rest[-1].split()))
        return seconds, self.read(json.loads(answer.removeprefix("answer "))), used


def translation(answer: dict[str, Any]) -> str:
    """Return the text that a function's answer holds, ours or the usual one's."""
    match answer:
        case {"statusCode": 200, "body": {"predictions": [{"hypotheses": [{"text": str(text)}]}]}}:
            return text
        case {"translations": [str(text)]}:
            return text
    raise RuntimeError(f"this is not a translation: {answer}")


class Bench:
    """Functions side by side, and an S3 server with their models."""

    def __init__(self, sides: Mapping[str, Side], scratch: Path, server: Path) -> None:
        self.sides = sides
        self._scratch = scratch
        self._data, self._program = (server / "cwd").resolve(), (server / "exe").resolve()
        self.usage: dict[str, list[tuple[float, ...]]] = {name: [] for name in sides}

    def take_turns(self, repetitions: int) -> dict[str, list[float]]:
        """Return the seconds of every start of each side; RuntimeError if one answers otherwise."""
        times: dict[str, list[float]] = {name: [] for name in self.sides}
        answers = []
        for repetition in range(repetitions + 1):
            for name, side in self.sides.items():
                scratch = MEMORY / self._scratch.name if side.in_memory else self._scratch
                temporary = scratch / f"{name}-{repetition}"
                temporary.mkdir(parents=True)
                self._forget()
                seconds, answer, used = side.start(temporary)
                answers.append(answer)
                if differences(answers[0], answer, TOLERANCE):
                    raise RuntimeError(f"the same is answered differently: {answers[0]} and {answer}")
                if repetition:
                    times[name].append(seconds)
                    self.usage[name].append(used)
                for path in list_files([temporary]):
                    os.truncate(path, 0)
                if side.in_memory:
                    shutil.rmtree(scratch)
        return times

    def _forget(self) -> None:
        """Have the kernel forget what the sides read; RuntimeError if it has not."""
        folders = {folder for side in self.sides.values() for folder in side.folders}
        # What is linked is read by others, too.
        copied = [self._data, *(folder for side in self.sides.values() for folder in side.folders[:-1])]
        for _ in range(PATIENCE):  # the server may write a file of its own in the meantime
            os.sync()
            try:
                Path("/proc/sys/vm/drop_caches").write_text("3")
            except OSError:
                for path in list_files([*folders, self._data, Path(sysconfig.get_path("stdlib"))]):
                    drop(path)
            left = sum(map(count_resident_pages, list_files(copied)))
            if not left:
                self._program.read_bytes()
                return
        raise RuntimeError(f"{left} pages are still in memory; is {self._scratch} on a disk?")


@dataclass(frozen=True)
class Place:
    """Where functions are deployed."""

    scratch: Path  # a folder for them
    runtime: Path  # the folder with what Lambda's runtime has of its own
    server: S3Server  # has the bucket for their models


Deploy = Callable[[Place], Side]


@contextmanager
def deploy(functions: Mapping[str, Deploy]) -> Iterator[Bench]:
    """Have functions as they are deployed, with their models in an S3 server."""
    with tempfile.TemporaryDirectory(prefix="bench-", dir=WORK) as folder, S3Server() as server:
        place = Place(Path(folder), Path(folder, "runtime"), server)
        server.client().create_bucket(Bucket=BUCKET)
        place.runtime.mkdir()
        link_runtime(place.runtime)
        sides = {name: make(place) for name, make in functions.items()}
        wait_for_quiet(place.scratch)
        yield Bench(sides, place.scratch, Path(f"/proc/{find_child('weed')}"))


def ours(
    place: Place,
    model: Path,
    event: Mapping[str, Any],
    read: Callable[[dict[str, Any]], Any],
    name: str = "",
    layer: Path | None = None,
) -> Side:
    """Return our function for the model in a folder, its layers merged as Lambda merges them.

    ``layer`` is another layer's ``python`` folder, in place of the engine's.
    """
    manifest = describe(model)
    manifest = replace(manifest, name=name or manifest.name)
    upload(model, manifest, place.server.client(), BUCKET)
    folder = place.scratch / manifest.engine
    dependencies, *beside = build_layers(manifest.engine)
    copy(functions.for_engine(manifest.engine).code, folder / "task")
    merge_layers([layer or dependencies, *beside], folder / "python")
    environment = place.server.environment() | {"ENGINE": manifest.engine, "MODEL_NAME": manifest.name}
    return Side("app", (folder / "task", folder / "python", place.runtime), environment, event, read)


def translator(engine: str) -> Deploy:
    """Return how our function is deployed with the shipped translation model, converted if need be."""

    def prepare(place: Place) -> Side:
        manifest = describe(MODEL)
        if engine == manifest.engine:
            return ours(place, MODEL, EVENT, translation)
        converted = place.scratch / "converted"
        converted.mkdir()
        convert(MODEL, manifest, converted, engine, "float32")
        return ours(place, converted, EVENT, translation, f"{manifest.name}-{engine}")

    return prepare


def usual(place: Place) -> Side:
    """Return the usual function."""
    packages, task = install(place.scratch), place.scratch / USUAL
    copy_distributions(DECLARED, packages)
    nested_zip.slim(packages)
    copy(ROOT / "bench" / "baselines", task)
    nested_zip.pack(packages, task / "requirements.zip")
    client = place.server.client()
    client.upload_file(str(MODEL / "en-es.pt"), BUCKET, "en-es.pt")
    client.upload_file(str(MODEL / "enes.model"), BUCKET, "enes.model")
    environment = {
        **place.server.environment(),
        "MODEL_KEY": "en-es.pt",
        "TOKENIZER_KEY": "enes.model",
        "OMP_NUM_THREADS": "1",
    }
    return Side("usual_function", (task, place.runtime), environment, EVENT, translation)


def copy_distributions(names: Collection[str], folder: Path) -> None:
    """Copy distributions from where they are installed, without their bytecode."""
    for name in names:
        distribution = importlib.metadata.distribution(name)
        for file in distribution.files or ():
            if file.parts[0] != ".." and "__pycache__" not in file.parts:
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(str(distribution.locate_file(file)), folder / file)


def measure_engines() -> dict[str, list[float]]:
    """Return the seconds of a cold start of our function by engine, every repetition's."""
    with deploy({engine: translator(engine) for engine in ENGINES}) as bench:
        return bench.take_turns(REPETITIONS)


def compare(
    ours: Mapping[str, Deploy], usual: Deploy, goals: Mapping[str, float], baseline: str, cause: str = ""
) -> Iterator[Row]:
    """Yield a row for each of our functions: how many times as fast it starts as the usual one."""
    with deploy({**ours, USUAL: usual}) as bench:
        times = bench.take_turns(REPETITIONS)
    for name, taken in times.items():
        print(f"{name}: {median(taken):.2f} s ({min(taken):.2f} to {max(taken):.2f})", flush=True)
    for name in ours:
        yield Row(
            name=f"cold_start.{name}",
            **ratio(times[USUAL], times[name]),
            better="higher",
            unit=AS_FAST,
            baseline=baseline,
            goal=goals[name],
            cause=cause,
        )


@measures("cold_start.opennmt", "cold_start.ctranslate2")
def measure() -> Iterator[Row]:
    """Compare the cold starts of both engines with the usual function's."""
    yield from compare(
        {engine: translator(engine) for engine in ENGINES},
        usual,
        {"opennmt": 12, "ctranslate2": 20},
        baseline="the usual function: a nested zip, boto3 into a BytesIO, and OpenNMT-py's own engine "
        "(bench/baselines/usual_function.py)",
        cause="starting Python takes 8 % of it, importing what every function needs 22 %, the engine's "
        "imports and beside them the model's way from S3 45 %, loading it 10 %, and the first search "
        "15 %. A third of the whole is waiting for files that are not in memory",
    )
