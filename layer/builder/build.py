"""From a recipe to a layer, unless the layer of the same inputs is there already.

::

    lock → fetch → install → fix → prediction on the full tree (the reference)
         → slim → prune → trace → strip → check → prediction on the slim tree (the proof)
         → byte-compile → the same prediction → plan → pack → report

``OUT/layer`` is what Lambda gets, ``OUT/report.json`` and ``OUT/report.html`` describe it. A layer is
there whole or not at all. ``steps`` has the steps.
"""

import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path

from layer.builder import tree as trees
from layer.builder.errors import BuildError, ReportError
from layer.builder.pack import interpreter, start
from layer.builder.recipe import ROOT
from layer.builder.report import facts
from layer.builder.report.facts import Report
from layer.builder.report.page import PAGE, write_page
from layer.builder.report.sbom import SBOM, write_sbom
from layer.builder.slim import trace
from layer.builder.slim.split import record
from layer.builder.slim.split.step import HANDLERS
from layer.builder.steps import WORK, Job, Say, StaleTraceError, Steps, UnprovenError, default_out
from layer.builder.tree import lock_exclusive
from layer.builder.verify import inputs, proof
from layer.builder.wheels import lock as locks

__all__ = ["WORK", "Job", "build", "default_out", "digest_inputs", "find_reusable"]

_STATE = "build.json"
_UNFINISHED = ".build-"


def build(job: Job, say: Say) -> Report:
    """Build a layer, unless the one that is there was built from the same, and return its report.

    If a step fails, what was there before is still there.
    """
    if (job.out / "layer").exists() and not (job.out / _STATE).is_file():
        raise BuildError(
            f"{job.out / 'layer'} exists, and the builder did not make it; remove it, or build elsewhere"
        )
    job.recipe.contents(job.target.name)  # an unknown target is reported before anything is built
    if (base := job.base) is not None:
        build(base, lambda message: say(f"{base.recipe.name}: {message}"))
    job.out.mkdir(parents=True, exist_ok=True)
    with lock_exclusive(job.out):
        return _build(job, say)


def _build(job: Job, say: Say) -> Report:
    lock = locks.read(job.recipe, job.target)
    if lock is None:
        say(f"looking for wheels: {job.recipe.name} for {job.target.name}")
        lock = locks.make(job.recipe, job.target, job.work / "wheels")
    report = None if job.retrace else find_reusable(job, lock)
    if report and (job.allow_unproven or report.proof.status != "unproven"):
        say("nothing has changed since this layer was built")
        if not (job.out / PAGE).is_file():
            write_page(report, job.out)
        if not (job.out / SBOM).is_file():
            write_sbom(report, lock.wheels, job.work / "wheels", job.out)
        return report
    for abandoned in job.out.glob(f"{_UNFINISHED}*"):  # by a builder that was killed
        shutil.rmtree(abandoned, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=_UNFINISHED, dir=job.out) as name:
        steps = Steps(job, lock, Path(name), say)
        report = _run(steps, say)
        (job.out / _STATE).write_text("{}\n")  # from here on the folder is the builder's, and not finished
        if (job.out / "layer").exists():
            (job.out / "layer").rename(Path(name) / "former")
        steps.layer.rename(job.out / "layer")
    facts.write(report, job.out)
    write_page(report, job.out)
    write_sbom(report, lock.wheels, job.work / "wheels", job.out)
    (job.out / _STATE).write_text(json.dumps({"inputs": digest_inputs(job, lock)}) + "\n")
    return report


def _run(steps: Steps, say: Say) -> Report:
    """Take all steps, and again where they were taken with too little: an old trace, or no interpreter."""
    retrace = steps.job.retrace
    while True:
        try:
            return steps.run(retrace=retrace)
        except StaleTraceError as stale:
            say(f"{stale}; tracing anew")
            retrace = True
        except UnprovenError as unproven:
            steps.prediction.fetch_python(str(unproven))


def find_reusable(job: Job, lock: locks.Lock) -> Report | None:
    """Return the report of the layer that is there, if the same inputs would give it again."""
    try:
        state = json.loads((job.out / _STATE).read_text())
        report = facts.read(job.out / facts.REPORT)
    except (OSError, ValueError, ReportError):
        return None
    same = state.get("inputs") == digest_inputs(job, lock)
    return report if same and trees.folder_sha256(job.out / "layer") == report.layer_sha256 else None


def digest_inputs(job: Job, lock: locks.Lock) -> str:
    """Return the sha256 of all that a layer is made from, the builder included."""
    here = Path(__file__).resolve().parent
    own = (path for path in here.rglob("*") if path.suffix in {".py", ".toml", ".css", ".html"})
    files = [*sorted(own), lock.path]
    files += [one.path_of(job.recipe, job.target) for one in (trace, record, proof)]
    files.append(record.path_of(job.recipe, job.target, start.RECORD))
    files += sorted(HANDLERS.glob("*.so"))
    if job.recipe.smoke:
        files += inputs.list_code_files(job.recipe.smoke)
    total = hashlib.sha256()
    for path in files:
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        total.update(f"{os.path.relpath(path, ROOT)}\0{content}\n".encode())
    contents = [one.content for one in job.recipe.patches]
    base = facts.read(job.base.out / facts.REPORT).layer_sha256 if job.base else ""
    runs = interpreter.find(job.target, job.interpreters) is not None
    compiles = interpreter.find_compiler(job.target, job.interpreters) is not None
    others = [job.recipe.text, contents, job.strategy, job.target.record, [runs, compiles], base]
    total.update(json.dumps(others).encode())
    return total.hexdigest()
