"""Measure one library on one target: build its layer, and compare that with pip's tree and the usual one."""

import json
import re
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.areas.unpack import unpack_layer
from bench.packages import timing, trees
from bench.packages.catalogue import Package
from bench.packages.recipes import find_pins, write_recipe
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


def measure(package: Package, target: Target, former: Record | None, folder: Path, say: Say) -> Record:
    """Build a library in a folder, and return its record; a build that fails is recorded with its error.

    The versions are those of the ``former`` record of the same entry, or resolved anew.
    """
    failed = Record(
        package=package.name, target=target.name, runtime=target.runtime, entry=package.digest,
        builder=digest_builder(), versions={}, bytes={}, imports={}, verdict="failed", reason="", other="",
    )  # fmt: skip
    try:
        recipe = write_recipe(package, find_pins(package, target, former), folder)
    except LayerError as error:
        return replace(failed, reason=shorten(str(error), folder))
    job = Job(recipe, target, folder / "built", allow_unproven=True)
    try:
        report = build(job, say)
        found = replace(
            failed, verdict=report.proof.status, reason=f"{report.proof.how}; bytecode: {report.compiled}"
        )
    except LayerError as error:
        found = replace(failed, reason=shorten(str(error), folder))
    lock = locks.read(recipe, target)
    return compare(job, leave_out_donors(job, lock), found, folder) if lock else found


def leave_out_donors(job: Job, lock: locks.Lock) -> locks.Lock:
    """Return a lock without the wheels from which only libraries are taken."""
    donors = job.recipe.contents(job.target.name).donors
    return replace(lock, wheels=tuple(wheel for wheel in lock.wheels if wheel.name not in donors))


def compare(job: Job, lock: locks.Lock, record: Record, folder: Path) -> Record:
    """Return a record with versions, sizes, import times, and how the second script answers."""
    with tempfile.TemporaryDirectory(prefix=".measure-", dir=folder) as name:
        scratch, lib = Path(name), job.out / "layer" / "lib"
        compared = trees.make_both(job, lock, scratch)
        sizes = {kind: tree.size(one) for kind, one in compared.items()}
        other = ""
        if record.verdict != "failed":
            compared["ours"] = find_tree(job.out / "layer", scratch)
            sizes["ours"] = tree.size(compared["ours"]) + tree.size(lib)
            other = compare_answers(job, compared["pip"], compared["ours"], folder / "other.py")
        runs = job.target.name == HOST and "ours" in compared
        seconds = timing.time_imports(compared, folder / "smoke.py", scratch, lib) if runs else {}
        return replace(
            record,
            versions={wheel.name: wheel.version for wheel in lock.wheels},
            bytes=sizes,
            largest=trees.find_largest_library(compared["usual"]),
            imports=timing.divide(seconds),
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
    layers = [job.out / "layer", *([job.base.out / "layer"] if job.base else [])]
    others = [layer / "python" for layer in layers[1:]]
    options: dict[str, Any] = {
        "architecture": job.target.architecture,
        "libraries": [layer / "lib" for layer in layers],
    }
    try:
        answers = [
            json.loads(smoke.run(second, [one, *others], python, script.parent, **options).answer)
            for one in (full, slim)
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
