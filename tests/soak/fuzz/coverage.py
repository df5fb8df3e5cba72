"""Fuzz a target by coverage, and keep what it found: ``python -m soak.fuzz.coverage TARGET…``."""

import argparse
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import time
from pathlib import Path

import msgspec
from support.project import ROOT

from soak.fuzz.targets import CORPORA, TESTS, draw_inputs, read_corpus, write_corpus

ATHERIS = Path(sys.prefix) / "atheris"
"""Where ``make soak`` installs atheris, if there is a wheel for the machine and its Python."""
RUNS = CORPORA / "runs.json"


class Run(msgspec.Struct):
    """One run of a target.

    Attributes:
        day: when it was.
        minutes: how long it was, of wall time.
        seed: what its mutations came from.
        executions: inputs that were tried.
        edges: branches of the project's code that they took.
        features: the same, distinguished by how often they were taken.
        failures: the first input of each unexpected exception, with its traceback.

    """

    day: str
    minutes: float
    seed: int
    executions: int
    edges: int
    features: int
    failures: dict[str, str]


def fuzz(name: str, minutes: float, seed: int, folder: Path) -> Run:
    """Fuzz a target, beginning with its committed corpus.

    Args:
        name: the target.
        minutes: for how long.
        seed: of the mutations.
        folder: what the run writes: ``corpus``, ``failures`` and ``log``.

    Raises:
        RuntimeError: the run ended before its time; an input that hangs or takes all memory is a failure.

    """
    shutil.rmtree(folder, ignore_errors=True)
    for part in ("corpus", "failures"):
        (folder / part).mkdir(parents=True)
    inputs = read_corpus(name) or {str(n): data for n, data in enumerate(draw_inputs(name, seed))}
    for one, data in inputs.items():
        (folder / "corpus" / one).write_bytes(data)
    code = _drive(
        name,
        folder,
        f"-seed={seed}",
        f"-max_total_time={round(60 * minutes)}",
        "-timeout=30",
        "-rss_limit_mb=2048",
        f"-artifact_prefix={folder}/failures/",
        str(folder / "corpus"),
    )
    log = (folder / "log").read_text(encoding="utf-8", errors="replace")
    failures = {
        path.name: path.with_suffix(".txt").read_text(encoding="utf-8")
        for path in sorted((folder / "failures").iterdir())
        if path.with_suffix(".txt").exists() and not path.suffix
    }
    states = re.findall(r"^#(\d+)\t\w+ +cov: (\d+) ft: (\d+)", log, re.MULTILINE)
    if code or not states:
        raise RuntimeError(f"{name} ended with {code}; see {folder / 'failures'}, and {log[-2000:]}")
    executions, edges, features = map(int, states[-1])
    return Run(time.strftime("%Y-%m-%d"), minutes, seed, executions, edges, features, failures)


def minimise(name: str, folder: Path) -> dict[str, bytes]:
    """Return the fewest inputs of a run's corpus that take the same branches."""
    fewest = folder / "minimised"
    fewest.mkdir(exist_ok=True)
    if _drive(name, folder, "-set_cover_merge=1", str(fewest), str(folder / "corpus")):
        raise RuntimeError(f"the corpus of {name} was not minimised; see {folder / 'log'}")
    return {path.name: path.read_bytes() for path in fewest.iterdir()}


def _drive(name: str, folder: Path, *options: str) -> int:
    """Run a target's process, and return its exit code; ``log`` is what it wrote."""
    paths = [str(ATHERIS), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)), *sys.path[1:]]
    with (folder / "log").open("wb") as log:
        return subprocess.run(
            [sys.executable, "-m", "soak.fuzz.drive", name, str(folder), *options],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            stdout=log,
            stderr=subprocess.STDOUT,
            check=False,
        ).returncode


def main() -> None:
    """Fuzz some targets one after another; commit their corpora and the record."""
    parser = argparse.ArgumentParser(prog="python -m soak.fuzz.coverage", description=__doc__)
    parser.add_argument("targets", nargs="+", choices=sorted(TESTS), metavar="TARGET")
    parser.add_argument("--minutes", type=float, default=10, help="for each (default: 10)")
    parser.add_argument("--seed", type=int, help="of the mutations (default: another each time)")
    arguments = parser.parse_args()
    for name in arguments.targets:
        seed = arguments.seed or 1 + secrets.randbelow(10**6)
        folder = ROOT / ".fuzz" / name
        print(f"{name}: seed {seed}", flush=True)  # noqa: T201
        run = fuzz(name, arguments.minutes, seed, folder)
        failing = {one: (folder / "failures" / one).read_bytes() for one in run.failures}
        write_corpus(name, minimise(name, folder) | failing)
        runs = json.loads(RUNS.read_text(encoding="utf-8")) if RUNS.exists() else {}
        runs[name] = msgspec.to_builtins(run) | {"failures": len(run.failures)}
        RUNS.write_text(json.dumps(runs, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        print(f"{name}: {runs[name]}", *run.failures.values(), sep="\n", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
