"""Measure one library on one target: build its layer, and compare that with pip's tree and the usual one."""

import json
import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from bench.areas.unpack import unpack_layer
from bench.packages import timing, trees
from bench.packages.catalogue import Package
from bench.packages.recipes import write_recipe
from bench.packages.records import Record, digest_builder
from layer.builder import tree
from layer.builder.build import Job, build
from layer.builder.errors import LayerError, SmokeError
from layer.builder.pack import interpreter
from layer.builder.pack.layer import ARCHIVE
from layer.builder.recipe import ROOT
from layer.builder.target import HOST, Target
from layer.builder.verify import smoke
from layer.builder.verify.compare import differences
from layer.builder.wheels import lock as locks

Say = Callable[[str], None]


def measure(package: Package, target: Target, pins: Sequence[str], folder: Path, say: Say) -> Record:
    """Build a library in a folder, and return its record; a build that fails is recorded with its error."""
    recipe = write_recipe(package, pins, folder)
    job = Job(recipe, target, folder / "built", allow_unproven=True)
    verdict: str = "failed"
    other = ""
    try:
        report = build(job, say)
        verdict, reason = report.proof.status, f"{report.proof.how}; bytecode: {report.compiled}"
    except LayerError as error:
        reason = shorten(str(error), folder)
    lock = locks.read(recipe, target)
    with tempfile.TemporaryDirectory(prefix=".measure-", dir=folder) as name:
        scratch = Path(name)
        compared = trees.make_both(job, lock, scratch) if lock else {}
        if verdict != "failed":
            compared["ours"] = find_tree(job.out / "layer", scratch)
            other = compare_answers(job, compared["pip"], compared["ours"], folder / "other.py")
        runs = target.name == HOST and "ours" in compared
        seconds = timing.time_imports(compared, folder / "smoke.py", scratch) if runs else {}
        return Record(
            package=package.name,
            target=target.name,
            runtime=target.runtime,
            entry=package.digest,
            builder=digest_builder(),
            versions={wheel.name: wheel.version for wheel in lock.wheels} if lock else {},
            bytes={kind: tree.size(one) for kind, one in compared.items()},
            largest=trees.find_largest_library(compared["usual"]) if lock else 0,
            imports=timing.divide(seconds),
            verdict=verdict,
            reason=reason,
            other=other,
        )


def find_tree(layer: Path, scratch: Path) -> Path:
    """Return a layer's tree, unpacked if it is in an archive."""
    python = layer / "python"
    return unpack_layer(python, scratch)[2] if (python / ARCHIVE).is_file() else python


def compare_answers(job: Job, full: Path, slim: Path, script: Path) -> str:
    """Return ``same`` if the second script answers alike on both trees, or what is different."""
    python = interpreter.find(job.target, job.interpreters)
    if python is None or job.recipe.smoke is None:
        return f"no Python here runs {job.target.name}"
    second = replace(job.recipe.smoke, script=script, imports=())
    base = [job.base.out / "layer" / "python"] if job.base else []
    try:
        answers = [
            json.loads(smoke.run(second, [one, *base], python, script.parent).answer) for one in (full, slim)
        ]
    except SmokeError as error:
        return shorten(str(error), script.parent)
    return "; ".join(differences(answers[1], answers[0])[:5]) or "same"


def shorten(message: str, folder: Path) -> str:
    """Return the end of an error's message, without the paths of this machine."""
    for path in (folder, ROOT, tempfile.gettempdir()):
        message = message.replace(f"{path}/", "")
    message = re.sub(r"smoke-\w+/|\.build-\w+/|\.measure-\w+/", "", message)
    return message[-1500:]
