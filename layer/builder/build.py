"""From a recipe to a layer: the order of the steps, and what becomes of their results.

::

    lock → fetch → install → fix → prediction on the full tree (the reference)
         → slim → prune → trace → strip → check → prediction on the slim tree (the proof)
         → byte-compile → the same prediction → plan → pack → report

``OUT/layer`` is what Lambda gets, ``OUT/report.json`` and ``OUT/report.html`` say what it is. A
layer is there whole or not at all.
"""

import hashlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from layer.builder import interpreter
from layer.builder import tree as trees
from layer.builder.errors import BuildError, InterpreterError, ReportError, SmokeError
from layer.builder.files import lock_exclusive
from layer.builder.pack import archive, bytecode, plan
from layer.builder.recipe import ROOT, Recipe, load_common_rules
from layer.builder.report import facts as reports
from layer.builder.report.facts import Report
from layer.builder.slim import patch, strip, trace
from layer.builder.slim.prune import prune
from layer.builder.target import Target
from layer.builder.verify import check as checks
from layer.builder.verify import proof, smoke
from layer.builder.verify.compare import differences
from layer.builder.wheels import install as wheels
from layer.builder.wheels import lock as locks

WORK = ROOT / ".layers"
"""Where wheels, fetched interpreters and, unless said otherwise, layers are."""

MARKER = "layer_target.json"
ARCHIVE = "layer.tar.zst"
ZSTANDARD = "zstandard==0.25.0"
UNZIP = "from lambda_inference._unpack import ensure\n\nensure()\n"
"""The module by which functions of serverless-python-requirements have their packages unpacked."""

_STATE = "build.json"
_UNFINISHED = ".build-"
_RECORDED = "recorded with the same wheels"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Job:
    """What is to be built, and where.

    Attributes:
        out: gets ``layer``, ``report.json`` and ``report.html``.
        strategy: ``auto``, ``direct`` or ``nested``.
        retrace: trace anew although there is a trace of these wheels.
        work: where wheels and fetched interpreters are kept.

    """

    recipe: Recipe
    target: Target
    out: Path
    strategy: str = "auto"
    retrace: bool = False
    work: Path = WORK

    @property
    def beside(self) -> "Job | None":
        """The job of the layer that is always deployed with this one."""
        recipe = self.recipe.base_layer
        if recipe is None:
            return None
        return Job(recipe, self.target, default_out(recipe, self.target, self.work), work=self.work)

    @property
    def interpreters(self) -> Path:
        """Where fetched interpreters are."""
        return self.work / "interpreters"


@dataclass
class _Facts:
    """What the steps find out, for the report."""

    removed: list[reports.Removed] = field(default_factory=list)
    checks: list[reports.Check] = field(default_factory=list)


def default_out(recipe: Recipe, target: Target, work: Path = WORK) -> Path:
    """Return where a layer goes, unless said otherwise."""
    return work / f"{recipe.name}-{target.name}"


def build(job: Job, say: Say) -> Report:
    """Build a layer, unless the one that is there was built from the same, and return its report.

    Raises:
        LayerError: a step failed; what was there before is still there.

    """
    if (job.out / "layer").exists() and not (job.out / _STATE).is_file():
        raise BuildError(f"{job.out / 'layer'} is there and no layer of ours; remove it, or build elsewhere")
    job.recipe.contents(job.target.name)  # an unknown target is told before anything is built
    if (beside := job.beside) is not None:
        build(beside, lambda message: say(f"{beside.recipe.name}: {message}"))
    job.out.mkdir(parents=True, exist_ok=True)
    with lock_exclusive(job.out):
        return _build(job, say)


def _build(job: Job, say: Say) -> Report:
    lock = locks.read(job.recipe, job.target)
    if lock is None:
        say(f"looking for wheels: {job.recipe.name} for {job.target.name}")
        lock = locks.make(job.recipe, job.target)
    if not job.retrace and (report := unchanged(job, lock)):
        say("nothing has changed since this layer was built")
        if not (job.out / reports.PAGE).is_file():
            reports.write(report, job.out)
        return report
    for left in job.out.glob(f"{_UNFINISHED}*"):  # by one that was killed
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=_UNFINISHED, dir=job.out) as name:
        steps = _Steps(job, lock, Path(name), say)
        try:
            report = steps.run(retrace=job.retrace)
        except _StaleTraceError as stale:
            say(f"the recorded trace no longer does ({stale}); tracing anew")
            report = steps.run(retrace=True)
        (job.out / _STATE).write_text("{}\n")  # whatever is there from now on is ours, and not finished
        if (job.out / "layer").exists():
            (job.out / "layer").rename(Path(name) / "former")
        (Path(name) / "layer").rename(job.out / "layer")
    reports.write(report, job.out)
    (job.out / _STATE).write_text(json.dumps({"inputs": inputs(job, lock)}) + "\n")
    return report


def unchanged(job: Job, lock: locks.Lock) -> Report | None:
    """Return the report of the layer that is there, if the same inputs would give it again."""
    try:
        state = json.loads((job.out / _STATE).read_text())
        report = reports.read(job.out / reports.REPORT)
    except (OSError, ValueError, ReportError):
        return None
    if state.get("inputs") != inputs(job, lock):
        return None
    if reports.folder_sha256(job.out / "layer") != report.layer_sha256:
        return None
    return report


def inputs(job: Job, lock: locks.Lock) -> str:
    """Return the sha256 of all that a layer is made from."""
    here = Path(__file__).resolve().parent
    own = (path for path in here.rglob("*") if path.suffix in {".py", ".toml"})
    files = [*sorted(own), lock.path]
    files += [trace.path_of(job.recipe, job.target), proof.path_of(job.recipe, job.target)]
    if job.recipe.smoke:
        files += smoke.code_files(job.recipe.smoke)
    total = hashlib.sha256()
    for path in files:
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        total.update(f"{os.path.relpath(path, ROOT)}\0{content}\n".encode())
    contents = [one.content for one in job.recipe.patches]
    beside = reports.read(job.beside.out / reports.REPORT).layer_sha256 if job.beside else ""
    searches = (interpreter.find, interpreter.find_compiler)
    able = [search(job.target, job.interpreters) is not None for search in searches]
    total.update(
        json.dumps([job.recipe.text, contents, job.strategy, job.target.record, able, beside]).encode()
    )
    return total.hexdigest()


def describe(recipe: Recipe, target: Target) -> dict[str, str]:
    """Return what a layer's marker says, for the function to compare with what it was deployed as."""
    return {
        "recipe": recipe.name,
        "engine": recipe.engine,
        "runtime": target.runtime,
        "architecture": target.architecture,
    }


class _StaleTraceError(Exception):
    """The recorded trace lacks what the function now needs."""


class _Steps:
    """One build, in a folder of its own."""

    def __init__(self, job: Job, lock: locks.Lock, folder: Path, say: Say) -> None:
        self.job, self.lock, self.folder, self.say = job, lock, folder, say
        self.recipe, self.target = job.recipe, job.target
        self.tree = folder / "tree"
        self.beside = job.beside.out / "layer" / "python" if job.beside else None
        self.prepared = job.work / "inputs" / job.recipe.name
        self.python = self._python()

    def run(self, *, retrace: bool) -> Report:
        """Do all steps, and return the report; the layer is then ``folder/layer``."""
        shutil.rmtree(self.tree, ignore_errors=True)
        facts = _Facts()
        reference = self._install()
        facts.removed += self._slim()
        traced, source = self._trace(retrace)
        if traced is not None:
            emptied = (one.path for one in self.recipe.patches if one.action == "empty")
            protect = (*self.recipe.protect, *emptied)
            facts.removed += trace.keep(self.tree, traced, protect, self.recipe.package_data)
        stripped = strip.strip_tree(self.tree)
        facts.checks += checks.check(self.tree, self.target)
        digest = trees.digest(self.tree)
        proven = self._prove(digest, reference, recorded=source is _RECORDED)
        compiled = self._compile(reference)
        decision = plan.decide(
            trees.size(self.tree), self._function(), nestable=bool(self.job.beside), asked=self.job.strategy
        )
        packed, files = self._assemble(decision.strategy)
        layer = self.folder / "layer"
        budget = reports.Budget(
            plan.LIMIT, trees.size(layer), self._function(), trees.size(layer) + self._function()
        )
        plan.check_fits(budget.layer, budget.function)
        return Report(
            recipe=self.recipe.name,
            engine=self.recipe.engine,
            target=self.target.name,
            runtime=self.target.runtime,
            architecture=self.target.architecture,
            strategy="nested" if packed else "direct",
            reason=decision.reason,
            digest=digest,
            layer_sha256=reports.folder_sha256(layer),
            proof=proven,
            trace=reports.Trace(source),
            compiled=compiled,
            budget=budget,
            archive=packed,
            files=tuple(files),
            removed=tuple(facts.removed),
            stripped=stripped,
            checks=tuple(facts.checks),
            wheels=tuple(wheels.describe_wheels(self.lock, self.job.work / "wheels")),
        )

    def _python(self) -> interpreter.Interpreter | None:
        """Return the Python that the prediction can be run with here, if there is one."""
        if self.recipe.smoke is None:
            return None
        found = interpreter.find(self.target, self.job.interpreters)
        if found and not smoke.prepare(self.recipe.smoke, self.prepared):
            self.say(
                f"the prediction's inputs cannot be made by {sys.executable}: see {self.recipe.smoke.prepare}"
            )
            return None
        return found

    def _trees(self) -> list[Path]:
        return [self.tree, *([self.beside] if self.beside else [])]

    def _install(self) -> str | None:
        """Make the full tree, and return what the function answers on it, if it can run here."""
        wheels.fetch(self.lock, self.target, self.recipe.cpu_index, self.job.work / "wheels", self.say)
        with self._step(f"installing {len(self.lock.wheels)} wheels"):
            wheels.install(self.lock, self.target, self.job.work / "wheels", self.tree)
        patch.apply(self.tree, self.recipe.patches, "fix")
        if not (self.recipe.smoke and self.python):
            return None
        with self._step("predicting with everything there, for reference"):
            return smoke.run(self.recipe.smoke, self._trees(), self.python, self.prepared).answer

    def _slim(self) -> list[reports.Removed]:
        before = {file.path: file for file in trees.files(self.tree)}
        patch.apply(self.tree, self.recipe.patches, "slim")
        after = {file.path: file.size for file in trees.files(self.tree)}
        rows = []
        for path, file in before.items():
            if saved := file.size - after.get(path, 0):
                gone = int(path not in after)
                rows.append(reports.Removed("patches", "the recipe's patches", file.package, gone, saved))
        with self._step("taking out what the rules name"):
            return [*rows, *prune(self.tree, (*load_common_rules(), *self.recipe.rules), self.recipe.protect)]

    def _trace(self, retrace: bool) -> tuple[list[str] | None, str]:
        """Return the files that the prediction needs, and in a sentence from where that is known."""
        if self.recipe.smoke is None:
            return None, "the recipe has no prediction to trace; rules alone"
        recorded = None if retrace else trace.read(self.recipe, self.target, self.lock)
        if recorded is not None:
            return recorded, _RECORDED
        if self.python is None:
            self.say(f"WARNING: no trace of these wheels, and no Python here runs {self.target.name}")
            return None, f"none: no Python of this machine runs {self.target.name}; rules alone"
        with self._step("tracing what the prediction opens"):
            opened = smoke.run(self.recipe.smoke, self._trees(), self.python, self.prepared).opened
        return trace.write(self.recipe, self.target, self.lock, opened), f"by {self.python.description}"

    def _prove(self, digest: str, reference: str | None, *, recorded: bool) -> reports.Proof:
        """Return whether the slim tree answers what the full one does."""
        if self.recipe.smoke is None:
            return reports.Proof("unproven", "the recipe has no prediction to prove it with")
        beside = reports.read(self.job.beside.out / reports.REPORT).digest if self.job.beside else ""
        prediction = smoke.digest(self.recipe.smoke, beside)
        if self.python is None or reference is None:
            found = proof.read(self.recipe, self.target)
            if found and (found.digest, found.prediction) == (digest, prediction):
                return reports.Proof("proven", f"a recorded proof has the same digest ({found.interpreter})")
            other = "is of this prediction" if found and found.digest == digest else "has this layer's digest"
            reason = f"no Python here runs {self.target.name}, and no recorded proof {other}"
            self.say(f"WARNING: unproven: {reason}")
            return reports.Proof("unproven", reason)
        try:
            with self._step("predicting with what is left, alone"):
                answer = smoke.run(self.recipe.smoke, self._trees(), self.python, self.prepared).answer
        except SmokeError as error:
            if recorded:
                raise _StaleTraceError(error.cause) from None
            raise
        if answer != reference:
            raise BuildError(
                "the slim tree answers differently from the full one:\n  "
                + "\n  ".join(differences(json.loads(answer), json.loads(reference))[:10])
            )
        how = (
            f"{self.python.description}, {smoke.isolation()}, answered byte for byte what the full tree does"
        )
        found = proof.read(self.recipe, self.target)
        if found is None or (found.digest, found.prediction, found.answer) != (digest, prediction, answer):
            new = proof.Proof(digest, prediction, self.python.description, answer)
            proof.write(self.recipe, self.target, new)
        return reports.Proof("proven", how)

    def _compile(self, reference: str | None) -> str:
        """Byte-compile the tree, and see that it still answers the same."""
        compiler = self._compiler()
        if compiler is None:
            return f"no: there was no {self.target.runtime} to do it"
        with self._step("byte-compiling"):
            count = bytecode.compile_tree(self.tree, compiler)
        if reference is not None and self.recipe.smoke and self.python:
            with self._step("predicting with the bytecode"):
                answer = smoke.run(self.recipe.smoke, self._trees(), self.python, self.prepared).answer
                if answer != reference:
                    raise BuildError("byte-compiled, the tree answers differently")
        return f"{count} modules by {compiler.description}; without sources and documentation strings"

    def _compiler(self) -> interpreter.Interpreter | None:
        """Return a Python whose bytecode is the target's: one that is there, or one that can be fetched."""
        cache = self.job.interpreters
        if found := interpreter.find_compiler(self.target, cache):
            return found
        try:
            interpreter.fetch(self.target, cache, self.say, architecture=interpreter.native())
        except InterpreterError as error:
            self.say(
                f"WARNING: not byte-compiled, so a cold start will be several times slower: there is no "
                f"{self.target.runtime} here, and none could be fetched ({error}). Install it, build again"
            )
        return interpreter.find_compiler(self.target, cache)

    def _assemble(self, strategy: str) -> tuple[reports.Archive | None, list[reports.File]]:
        """Make ``folder/layer`` of the tree; return what was packed, and where every file is."""
        layer = self.folder / "layer" / "python"
        shutil.rmtree(layer.parent, ignore_errors=True)
        marker: dict[str, object] = dict(describe(self.recipe, self.target))
        marker["libraries"] = {wheel.name: wheel.version for wheel in self.lock.wheels}
        packed = None
        archived: list[trees.File] = []
        if strategy == "direct":
            layer.parent.mkdir()
            self.tree.rename(layer)
        else:
            layer.mkdir(parents=True)
            archived = trees.files(self.tree)
            wheels.ensure_tool("zstandard", ZSTANDARD, self.job.work / "tools")
            with self._step(f"packing {trees.size(self.tree):,} bytes"):
                done = archive.pack(self.tree, layer / ARCHIVE)
            packed = reports.Archive(done.bytes, done.tree_bytes, done.files)
            marker["archive"] = {"file": ARCHIVE, "index": done.index_sha256, "bytes": done.tree_bytes}
            (layer / "unzip_requirements.py").write_text(UNZIP)
        if self.recipe.engine or packed:
            (layer / MARKER).write_text(json.dumps(marker, indent=2) + "\n")
        here = [file for file in trees.files(layer) if file.path != ARCHIVE]  # in its place, what it holds
        return packed, [
            *(reports.File(file.path, file.size, file.package, "layer") for file in here),
            *(reports.File(file.path, file.size, file.package, "archive") for file in archived),
        ]

    def _function(self) -> int:
        """Return the bytes of what is always deployed beside the layer: code, and the layer for it."""
        code = smoke.code_bytes(self.recipe.smoke) if self.recipe.smoke else 0
        return code + (trees.size(self.beside) if self.beside else 0)

    @contextmanager
    def _step(self, what: str) -> Iterator[None]:
        self.say(f"{what} …")
        start = time.perf_counter()
        yield
        self.say(f"  done in {time.perf_counter() - start:.1f} s")
