"""Starts of a function and of a plain script in turns, each in a new process, and what they spend time on."""

import contextlib
import json
import mmap
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from lambda_setup.deployment.cold_start.folders import (
    copy,
    count_resident_pages,
    drop,
    list_files,
    merge_layers,
)
from lambda_setup.deployment.local.application import LocalDeployment
from lambda_setup.deployment.local.emulator import link_runtime
from lambda_setup.deployment.local.s3 import S3Server
from lambda_setup.deployment.responses import get_body, is_success
from lambda_setup.errors import CommandError
from lambda_setup.functions import Function
from lambda_setup.functions import for_engine as find_function
from layer.builder.build import WORK
from layer.builder.verify.compare import TOLERANCE, differences

PHASES = ("interpreter", "package", "imports", "model", "load", "answer")
"""In their order; each begins where the one before it ends, and a side may lack some."""
RECIPE = "plain script"
_PROGRAMS = Path(__file__).parent
_SAID = ("answer ", "times ")
"""Beginnings of the lines that a program says to its parent."""


@dataclass(frozen=True)
class Start:
    """One start, in seconds from before the process.

    Attributes:
        ends: when each phase ended.
        beside: when what went on beside them began and ended: ``model``, ``unpack``.

    """

    ends: Mapping[str, float]
    beside: Mapping[str, tuple[float, float]]

    @property
    def seconds(self) -> float:
        """Until the first answer."""
        return self.ends["answer"]

    @property
    def phases(self) -> dict[str, float]:
        """Seconds of each phase."""
        begin, found = 0.0, {}
        for phase in PHASES:
            if phase in self.ends:
                found[phase] = self.ends[phase] - begin
                begin = self.ends[phase]
        return found


@dataclass(frozen=True)
class Side:
    """A program as it is deployed, and what it is asked."""

    name: str
    program: Path
    folders: Sequence[Path]  # what it imports from, in their order
    environment: Mapping[str, str]
    asked: Mapping[str, Any]

    def start(self, temporary: Path) -> tuple[Start, Any]:
        """Start a process with an empty folder for temporary files, and return its times and its answer.

        Raises:
            CommandError: it ended without one; the message ends with what it wrote.

        """
        asked = temporary / "asked.json"
        asked.write_text(json.dumps(self.asked), encoding="utf-8")
        command = [sys.executable, "-s", "-S", "-P", "-B", str(self.program), str(asked)]
        environment = {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "PYTHONPATH": os.pathsep.join(map(str, self.folders)),
            "LD_LIBRARY_PATH": os.pathsep.join(str(folder.parent / "lib") for folder in self.folders[1:2]),
            "TMPDIR": str(temporary),
            "HOME": str(temporary),
            "LAMBDA_TASK_ROOT": str(self.folders[0]),
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1769",
            **self.environment,
        }
        begin = time.monotonic_ns()
        done = subprocess.run(
            command, env=environment, cwd=self.folders[0], capture_output=True, text=True, check=False
        )
        lines = dict(line.split(" ", 1) for line in done.stdout.splitlines() if line.startswith(_SAID))
        if done.returncode or len(lines) < len(_SAID):
            said = (done.stderr or done.stdout).strip().splitlines()[-10:]
            raise CommandError(
                "\n".join([f"{self.name} ended without an answer:", *(said or ["no message"])])
            )
        times = json.loads(lines["times"])
        ends = {phase: (end - begin) / 1e9 for phase, end in times["ends"].items()}
        beside = {
            name: ((start - begin) / 1e9, (end - begin) / 1e9)
            for name, (start, end) in times["beside"].items()
        }
        return Start(ends, beside), json.loads(lines["answer"])


@dataclass(frozen=True)
class Measured:
    """A side's starts, the first one left out."""

    name: str
    starts: Sequence[Start]

    @property
    def seconds(self) -> float:
        """The median until the first answer."""
        return median(start.seconds for start in self.starts)

    @property
    def typical(self) -> Start:
        """The start nearest to the median."""
        return min(self.starts, key=lambda start: abs(start.seconds - self.seconds))

    def median(self, phase: str) -> float | None:
        """Return the median seconds of a phase, None if the side has none."""
        found = [start.phases[phase] for start in self.starts if phase in start.phases]
        return median(found) if found else None


@dataclass(frozen=True)
class Comparison:
    """A function beside a script, and how many bytes of what they read could not be made cold."""

    function: Measured
    script: Measured
    model_bytes: int
    warm_bytes: int


def measure(function: Function, event: Any, repetitions: int, script: Path | None = None) -> Comparison:
    """Return the cold starts of a function with its own model, layers and event, and of a script.

    Args:
        function: of this project.
        event: what both are asked; the function answers it inline.
        repetitions: starts of each side, in turns, after one that does not count.
        script: with a ``lambda_handler``, in place of the usual recipe.

    Raises:
        CommandError: one of them does not answer, or they answer differently.

    """
    with _deploy(function, event, script) as (sides, scratch, size):
        read = [scratch, *([function.model] if script else [])]
        starts: dict[str, list[Start]] = {side.name: [] for side in sides}
        warm = 0
        for repetition in range(repetitions + 1):
            answers = []
            for side in sides:
                warm = max(warm, _forget(read))
                with tempfile.TemporaryDirectory(prefix="cold-start-") as temporary:
                    start, answer = side.start(Path(temporary))
                answers.append(answer)
                if repetition:
                    starts[side.name].append(start)
            _check(*answers, strict=script is None)
    ours, other = (Measured(name, found) for name, found in starts.items())
    return Comparison(ours, other, size, warm)


@contextlib.contextmanager
def _deploy(function: Function, event: Any, script: Path | None) -> Iterator[tuple[list[Side], Path, int]]:
    """Yield both sides, the folder that holds all that they read, and the bytes of the model in its S3."""
    WORK.mkdir(exist_ok=True)
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cold-start-", dir=WORK)))
        deployment = stack.enter_context(
            LocalDeployment.from_folder(
                function.model, s3=S3Server(folder=scratch / "s3"), log=subprocess.DEVNULL
            )
        )
        manifest = deployment.manifest
        task, layers, runtime = scratch / "task", scratch / "opt" / "python", scratch / "runtime"
        copy(find_function(manifest.engine).code, task)
        merge_layers(deployment.layers, layers)
        runtime.mkdir()
        link_runtime(runtime)
        environment = deployment.environment()
        asked = {
            "event": {**event, "result": "inline"},
            "script": str(script.resolve()) if script else "",
            "prefix": f"models/{manifest.name}/versions/{manifest.version}",
            "files": [file.name for file in manifest.files],
            "manifest": msgspec.to_builtins(manifest),
        }
        folders = [task, layers, runtime]
        # That there is a runtime's API has the function load at once.
        inside = {"AWS_LAMBDA_RUNTIME_API": "127.0.0.1"}
        of_script = {
            "MODEL_FOLDER": str(function.model),
            "MODEL_PREFIX": asked["prefix"],
            "OMP_NUM_THREADS": "1",
        }
        sides = [
            Side(function.name, _PROGRAMS / "function_program.py", folders, environment | inside, asked),
            Side(
                script.name if script else RECIPE,
                _PROGRAMS / "script_program.py", folders, environment | (of_script if script else {}), asked,
            ),
        ]  # fmt: skip
        yield sides, scratch, sum(file.size for file in manifest.files)


def _forget(folders: Sequence[Path]) -> int:
    """Drop files from the page cache, and return the bytes of ``folders`` that stay there."""
    os.sync()
    for path in list_files(folders):
        drop(path)
    # What is linked is of other processes, too.
    own = (
        path
        for folder in folders
        for path in list_files([folder])
        if path.resolve().is_relative_to(folder.resolve())
    )
    return mmap.PAGESIZE * sum(map(count_resident_pages, own))


def _check(ours: Any, other: Any, *, strict: bool) -> None:
    """Refuse answers that are errors, and of the usual recipe those that differ."""
    if not is_success(ours):
        raise CommandError(f"the function answered {json.dumps(ours)[:500]}")
    predictions = get_body(ours)["predictions"]
    if strict and (places := differences(predictions, other["predictions"], TOLERANCE)):
        raise CommandError(f"the function and the plain script answer differently: {'; '.join(places[:3])}")
