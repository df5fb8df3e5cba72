"""A job for the builder, and its steps in their order; each returns what the report says about it."""

import hashlib
import json
import re
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from layer.builder import tree as trees
from layer.builder.errors import BuildError, SignalError, SmokeError
from layer.builder.pack import bytecode, plan, start
from layer.builder.pack.kept import SOURCES, Kept
from layer.builder.pack.layer import assemble
from layer.builder.recipe import ROOT, Recipe, Smoke, load_common_rules
from layer.builder.report import facts
from layer.builder.slim import metadata, patch, reach, strip, trace
from layer.builder.slim.globs import matches
from layer.builder.slim.late import gate
from layer.builder.slim.prune import prune, remove_files
from layer.builder.slim.split.step import Splitter, Touched
from layer.builder.target import Target
from layer.builder.verify import check, imports, inputs, proof, smoke
from layer.builder.verify.advice import explain_missing
from layer.builder.verify.compare import differences
from layer.builder.verify.compile import Compiler
from layer.builder.verify.prediction import Prediction
from layer.builder.verify.terms import find_terms
from layer.builder.wheels import install as wheels
from layer.builder.wheels import lock as locks
from layer.builder.wheels.libraries import copy_libraries, find_carrier
from layer.builder.wheels.lock import Lock

Say = Callable[[str], None]

ZSTANDARD = "zstandard==0.25.0"

WORK = ROOT / ".layers"
"""The folder of wheels, fetched interpreters and, by default, layers."""


@dataclass(frozen=True)
class Job:
    """A layer to build into ``out``.

    Without a ``strategy`` it is the recipe's. ``retrace`` traces again, even if there is a trace of these
    wheels; ``allow_unproven`` takes a layer that nothing here could run, and that no record proves.
    """

    recipe: Recipe
    target: Target
    out: Path
    strategy: str = ""
    retrace: bool = False
    work: Path = WORK
    allow_unproven: bool = False

    @property
    def base(self) -> "Job | None":
        """The job of the layer that is always deployed with this one."""
        recipe = self.recipe.base_layer
        if recipe is None:
            return None
        out = default_out(recipe, self.target, self.work)
        return Job(recipe, self.target, out, work=self.work, allow_unproven=self.allow_unproven)

    @property
    def patches(self) -> tuple[patch.Patch, ...]:
        """The patches for the target; those that move imports only where they are verified."""
        lazy = self.recipe.lazy
        unverified = lazy is not None and self.target.record not in lazy.verified
        return tuple(
            one
            for one in self.recipe.patches
            if one.is_for(self.target.name) and not (unverified and one.stage == "lazy")
        )

    @property
    def interpreters(self) -> Path:
        """The folder of fetched interpreters."""
        return self.work / "interpreters"


def default_out(recipe: Recipe, target: Target, work: Path = WORK) -> Path:
    """Return the folder that a layer goes to, unless another is named."""
    return work / f"{recipe.name}-{target.name}"


_IMPORT = re.compile(r"\b(Import|ModuleNotFound|OS|Attribute)Error\b")
"""The errors that a missing extension ends in."""


class StaleTraceError(Exception):
    """The recorded trace lacks a file that the function needs now."""


class UnprovenError(Exception):
    """Neither a Python here nor a record says that the layer works."""


@dataclass(frozen=True)
class Usage:
    """The files that the prediction uses, if known, and how; ``recorded`` ones may lack some by now."""

    files: list[str] | None
    source: str
    recorded: bool = False


class Steps:
    """One build, in a folder of its own: ``tree`` becomes slim, and then ``layer``."""

    def __init__(self, job: Job, lock: Lock, folder: Path, say: Say) -> None:
        self.job, self.lock, self.say = job, lock, say
        self.recipe, self.target = job.recipe, job.target
        self.patches = job.patches
        self.tree, self.layer, self.libraries = folder / "tree", folder / "layer", folder / "lib"
        self.base_tree = job.base.out / "layer" / "python" if job.base else None
        self.wheels = job.work / "wheels"
        donors = job.recipe.contents(job.target.name).donors
        self.in_tree = replace(lock, wheels=tuple(one for one in lock.wheels if one.name not in donors))
        prepared = job.work / "inputs" / job.recipe.name
        self.prediction = Prediction(self.recipe, self.target, job.interpreters, prepared, say)
        self.installed: list[str] = []
        self.owners: dict[str, str] = {}
        self.plugins: dict[str, list[str]] = {}
        self.packages = self._list_whole_packages()
        self.modules: list[str] = []
        self.readers: list[str] = []
        self.documented: set[str] = set()
        self.missed: list[str] = []
        self.present: dict[str, list[int]] | None = None

    def run(self, *, retrace: bool) -> facts.Report:
        """Take all steps and return the report; after a StaleTraceError take them again, with ``retrace``."""
        shutil.rmtree(self.tree, ignore_errors=True)
        shutil.rmtree(self.layer, ignore_errors=True)
        shutil.rmtree(self.libraries, ignore_errors=True)
        self._install()
        removed = self._remove_plugins()
        reference = self._find_reference()
        removed += patch.apply_slim(self.tree, self.patches)
        with self._time("removing what the rules name"):
            recorded = None if retrace else trace.read(self.recipe, self.target, self.lock)
            removed += self._prune(recorded or (reference.opened if reference else ()))
        usage = self._find_usage(recorded, reference)
        if usage.files is not None:
            removed += self._prune(usage.files)
            emptied = (one.path for one in self.patches if one.action == "empty")
            whole = imports.get_folders(self.packages)
            protect = (*self.recipe.protect, *emptied, *whole)
            used = self._follow(usage.files, protect) if whole else usage.files
            described = metadata.get_globs(self.owners, used, whole)
            protect += (*described, *trace.find_namespaces(self.tree, used))
            removed += trace.keep(self.tree, used, protect, self.recipe.package_data)
            removed += metadata.remove_descriptions(self.tree, usage.files) if whole else []
        stripped = strip.strip_tree(self.tree)
        self._move_imports(usage)
        checks = check.check(self.tree, self.target, self.libraries, self._find_carrier)
        digest = trees.digest(self.tree, self.libraries)
        asked = self.job.strategy or self.recipe.strategy
        wanted, cache = () if asked == "nested" else self.recipe.split, self.job.work / "split"
        splitter = Splitter(wanted, self.recipe, self.target, self.tree, self.libraries, cache, self.say)
        if splitter.sources:
            wheels.ensure_tool("zstandard", ZSTANDARD, self.job.work / "tools")
        verdict, slim = self._prove(digest, reference, usage, splitter)
        with self._time("splitting libraries") if splitter.sources else nullcontext():
            divided = splitter.finish()
        compiled = self._compile(slim)
        function = self._function_bytes()
        decision = plan.decide(
            trees.size(self.tree) + trees.size(self.libraries),
            function,
            nestable=bool(self.job.base),
            asked=asked,
            by="--strategy" if self.job.strategy else "the recipe",
        )
        archive, files = self._assemble(decision.strategy, usage.files or (), divided)
        size = trees.size(self.layer)
        plan.check_fits(size, function)
        return facts.Report(
            recipe=self.recipe.name,
            engine=self.recipe.engine,
            target=self.target.name,
            runtime=self.target.runtime,
            architecture=self.target.architecture,
            strategy="nested" if archive else "direct",
            reason=decision.reason,
            digest=digest,
            layer_sha256=trees.folder_sha256(self.layer),
            proof=verdict,
            trace=facts.Trace(usage.source),
            compiled=compiled,
            budget=facts.Budget(plan.LIMIT, size, function, size + function),
            archive=archive,
            files=tuple(files),
            removed=tuple(removed),
            stripped=stripped,
            checks=tuple(checks),
            wheels=tuple(wheels.describe_wheels(self.in_tree, self.wheels)),
            split=divided,
        )

    def _list_whole_packages(self) -> tuple[str, ...]:
        """Return the packages whose public modules are imported, and which therefore stay whole."""
        asked = self.recipe.smoke
        if asked is None or asked.imports or asked.script is None:
            return asked.imports if asked else ()
        return imports.list_only_imports(asked.script)

    def _predict(
        self,
        purpose: str,
        modules: Sequence[str] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> smoke.Outcome | None:
        """Return the prediction's outcome on the tree as it is now; None where it cannot run."""
        if self.prediction.python is None:
            return None
        with self._time(purpose), self.prediction.lend_caches(self.tree):
            return self._predict_on(self.tree, self.modules if modules is None else modules, environment)

    def _predict_on(
        self,
        tree: Path,
        modules: Sequence[str],
        environment: Mapping[str, str] | None = None,
        asked: Smoke | None = None,
    ) -> smoke.Outcome:
        layer_trees = [tree, self.base_tree] if self.base_tree else [tree]
        libraries = [self.libraries, *([self.base_tree.parent / "lib"] if self.base_tree else [])]
        try:
            return self.prediction.run(layer_trees, libraries, modules, environment, asked)
        except SmokeError as error:
            rules = (*self.recipe.rules, *load_common_rules())
            exclude = self.recipe.contents(self.target.name).exclude
            present = [path for path in self.installed if path not in self.plugins]
            advice = [
                *explain_missing(str(error), self.tree, present, rules, exclude, self.plugins),
                *(self._explain_plugins() if self._may_lack_plugins(str(error)) else ()),
            ]
            raise type(error)("\n".join([str(error), *advice])) from None

    def _install(self) -> None:
        wheels.fetch(self.lock, self.target, self.recipe.cpu_index, self.wheels, self.say)
        with self._time(f"installing {len(self.in_tree.wheels)} wheels"):
            wheels.install(self.in_tree, self.target, self.wheels, self.tree)
        copy_libraries(self.recipe.libraries, self.lock, self.wheels, self.libraries)
        strip.strip_tree(self.libraries)
        self.installed = [file.path for file in trees.files(self.tree)]
        self.owners = metadata.list_owners(self.tree)
        patch.apply(self.tree, self.patches, "fix")

    def _find_carrier(self, library: str) -> str | None:
        return find_carrier(self.lock, self.wheels, library)

    def _find_reference(self) -> smoke.Outcome | None:
        """Return what the prediction does on the full tree; a package that does not import is an error."""
        self.modules = self._list_modules()
        reference = self._predict("predicting with everything there, for reference")
        if reference and (failed := [name for name in self.packages if name in reference.failures]):
            errors = "; ".join(f"{name} cannot be imported: {reference.errors[name]}" for name in failed)
            raise SmokeError("\n".join([errors, *self._explain_plugins()]))
        return reference

    def _list_modules(self) -> list[str]:
        """Return the modules of whole packages that are imported beside the prediction."""
        if not self.packages:
            return []
        self._note_unnamed()
        excluded = [glob for rule in (*load_common_rules(), *self.recipe.rules) for glob in rule.globs]
        modules = imports.list_modules(self.tree, self.packages, excluded)
        for name in self.packages:
            if not any(f"{module}.".startswith(f"{name}.") for module in modules):
                known = ", ".join(imports.list_packages(self.tree))
                raise BuildError(
                    f"[smoke] imports names {name}, which no wheel has; the packages are {known}"
                )
        return modules

    def _note_unnamed(self) -> None:
        """Say which dependencies the script uses itself: other functions of them may be gone."""
        script = self.recipe.smoke.script if self.recipe.smoke else None
        named = {name.partition(".")[0] for name in self.packages}
        used = set(imports.list_script_imports(script)) if script else set()
        if names := ", ".join(sorted(used & set(imports.list_packages(self.tree)) - named)):
            self.say(
                f"NOTE: the smoke script imports {names}, which [smoke] imports does not name. Your "
                "function may use what is taken out of it; named in the requirements and in imports, it stays"
            )

    def _remove_plugins(self) -> list[facts.Removed]:
        """Remove extensions that lack a library: Lambda cannot load them, whatever this machine has."""
        if self.recipe.smoke is None:
            return []
        missing = check.find_unlinked(self.tree, self.libraries)
        plugins = [
            file
            for file in trees.files(self.tree)
            if file.path in missing and not matches(file.path, self.recipe.protect)
        ]
        self.plugins = {file.path: missing[file.path] for file in plugins}
        libraries = ", ".join(sorted({name for names in self.plugins.values() for name in names}))
        reason = f"linked to libraries that are not there: {libraries}; nothing needed them"
        return remove_files(self.tree, plugins, "plug-ins", reason)

    def _may_lack_plugins(self, error: str) -> bool:
        """Return whether an error may come of a plug-in that was taken out: of an import, or in its package.

        An operator that torchvision's extension defines, for instance, is not an import.
        """
        packages = {path.partition("/")[0] for path in self.plugins}
        return bool(_IMPORT.search(error)) or any(f"/{package}/" in error for package in packages)

    def _explain_plugins(self) -> list[str]:
        return list(check.explain_unlinked(self.plugins, self._find_carrier))

    def _prune(self, opened: Collection[str]) -> list[facts.Removed]:
        """Take out what the rules name; what a prediction opened stays although a common rule names it."""
        removed = prune(self.tree, load_common_rules(), self.recipe.protect, opened)
        return removed + prune(self.tree, self.recipe.rules, self.recipe.protect)

    def _find_usage(self, recorded: list[str] | None, reference: smoke.Outcome | None) -> Usage:
        """Return the files that the prediction uses, as recorded with the same wheels or as traced now.

        Where nothing but rules has changed the full tree, the reference is the trace.
        """
        if self.recipe.smoke is None:
            return Usage(None, "the recipe has no prediction to trace; rules alone")
        if recorded is not None:
            return Usage(recorded, "recorded with the same wheels", recorded=True)
        outcome = reference
        if not self.packages or any(patch.stage == "slim" for patch in self.patches):
            outcome = self._predict("tracing what the prediction opens")
        if self.prediction.python is None or outcome is None:
            self._accept_unproven(f"{self.prediction.obstacle}, and no trace of these wheels is recorded")
            return Usage(None, f"none: {self.prediction.obstacle}; rules alone")
        opened = [*outcome.opened, *self.missed]
        files = trace.write(self.recipe, self.target, self.lock, opened, outcome.imported)
        native = f", without what native code opens: {outcome.unseen}" if outcome.unseen else ""
        return Usage(files, f"by {self.prediction.python.description}{native}")

    def _follow(self, opened: Collection[str], protected: Sequence[str]) -> list[str]:
        """Return what a prediction opened, and what this and files that globs protect lead to.

        That is recorded, for another Python may not read all of the sources.
        """
        rules = [rule.globs for rule in (*load_common_rules(), *self.recipe.rules)]
        said = repr((sorted(opened), protected, rules, reach.digest()))
        key = hashlib.sha256(said.encode()).hexdigest()[:16]
        named = trace.read_named(self.recipe, self.target, self.lock, key)
        if named is None:
            known = set(opened)
            paths = [file.path for file in trees.files(self.tree)]
            with self._time("following what stays to what its code names"):
                found = reach.follow(self.tree, [p for p in paths if p in known or matches(p, protected)])
            named = trace.write_named(self.recipe, self.target, self.lock, key, found)
        self.readers = reach.list_readers(self.tree, named)
        kept = sorted({*opened, *named})
        self.documented = reach.list_documented(self.tree, kept)
        return kept

    def _move_imports(self, usage: Usage) -> None:
        """Apply the patches that move imports, and see that the tree does the same in all that is named."""
        if not any(one.stage == "lazy" for one in self.patches):
            return
        lazy = self.recipe.lazy
        if lazy is None:
            raise BuildError("patches have the stage lazy, and nothing compares: add [lazy] to the recipe")
        moved = [self.tree / one.path for one in self.patches if one.stage == "lazy"]
        originals = {path: path.read_bytes() if path.exists() else None for path in moved}
        patch.apply(self.tree, self.patches, "lazy")
        if self.recipe.smoke is None or self.prediction.python is None:
            return
        digest = trees.digest(self.tree, self.libraries)
        if proof.is_known(self.recipe, self.target, digest) and not self.job.retrace:
            return  # it was compared before it was proven
        for path, content in originals.items():
            path.unlink(missing_ok=True) if content is None else path.write_bytes(content)
        with self._time("observing imports, and registries"):
            before = self._observe(lazy, usage, None)
        patch.apply(self.tree, self.patches, "lazy")
        with self._time("observing the same with imports moved to their first use"):
            after = self._observe(lazy, usage, before["names"])
        if places := gate.compare(before, after, lazy.later)[:20]:
            raise BuildError(
                "with imports moved to their first use, the tree does otherwise:\n  " + "\n  ".join(places)
                + "\nLeave out the patch that does it, or have it register what is lost; what is registered "
                "before its first use may be named in the recipe, by [[lazy.later]]"
            )  # fmt: skip

    def _observe(self, lazy: gate.Lazy, usage: Usage, names: dict[str, list[str]] | None) -> dict[str, Any]:
        """Return what ``late.observe`` says of the tree as it is now."""
        own = self.recipe.smoke
        assert own is not None  # noqa: S101
        modules = imports.list_modules(self.tree, imports.list_packages(self.tree))
        asked = replace(
            own,
            script=gate.SCRIPT,
            inputs=(*own.inputs, *filter(None, (own.script, lazy.operations))),
            arguments=gate.get_arguments(own.script, own.arguments, lazy, modules, names),
        )
        compiler = bytecode.provide_compiler(self.target, self.job.interpreters, self.say)
        try:
            # Each late import is one of a process that has no bytecode yet.
            with bytecode.lend_caches(self.tree, compiler) if compiler else nullcontext():
                return gate.parse_answer(self._predict_on(self.tree, (), asked=asked).answer)
        except SmokeError as error:
            if usage.recorded:
                raise StaleTraceError(f"the recorded trace is out of date ({error.cause})") from None
            raise

    def _prove(
        self, digest: str, reference: smoke.Outcome | None, usage: Usage, splitter: Splitter
    ) -> tuple[facts.Proof, smoke.Outcome | None]:
        """Return whether the slim tree answers as the full one does, by running it or by a record.

        If it ran, its outcome is returned too. It runs with all code of split libraries cold; with what is
        hot it runs again when the tree is compiled.
        """
        recorded = splitter.read_hot()
        if self.recipe.smoke is None:
            return self._accept_unproven("the recipe has no prediction to prove it with"), None
        base_digest = facts.read(self.job.base.out / facts.REPORT).digest if self.job.base else ""
        prediction = inputs.digest(self.recipe.smoke, base_digest)
        if self.prediction.python is None or reference is None:
            return self._look_up_proof(digest, prediction, splitter.digest), None
        slim = self._predict_split(usage, splitter, reference)
        if slim.answer != reference.answer:
            raise BuildError(self._explain_difference(usage, slim.answer, reference.answer))
        if self.modules and (places := slim.list_lost_imports(reference)[:10]):
            raise BuildError(
                "modules no longer import as they do in the full tree:\n  " + "\n  ".join(places)
                + '\nProtect what they need in the recipe (protect = ["PACKAGE/**"]), or correct its rules'
            )  # fmt: skip
        if not recorded or self.job.retrace:
            splitter.find_hot(slim.touched, self._trace_pages)
        python, terms = self.prediction.python.description, find_terms().describe(self.target.architecture)
        proof.record(
            self.recipe,
            self.target,
            proof.Proof(digest, prediction, python, slim.answer, terms, splitter.digest),
        )
        does = "answered byte for byte" if self.recipe.smoke.script else "imported"
        how = f"{python}, {terms}, {does} what the full tree does"
        return facts.Proof("proven", how), slim

    def _explain_difference(self, usage: Usage, answer: str, expected: str) -> str:
        """Return how an answer differs from the full tree's, and that it is random if it is."""
        places = differences(json.loads(answer), json.loads(expected))[:10]
        message = "\n  ".join(["the slim tree answers differently from the full one:", *places])
        if self._predict_slim(usage).answer != answer:
            message += (
                "\nIts answer is another one at each run: seed what is random in the smoke script, and "
                "return no times, addresses or temporary paths"
            )
        return message

    def _trace_pages(self, environment: Mapping[str, str]) -> Touched:
        """Return the pages of code that the prediction touches with other variables."""
        variables = " ".join(f"{name}={value}" for name, value in environment.items())
        outcome = self._predict(f"tracing code with {variables}", (), environment)
        return outcome.touched if outcome else {}

    def _look_up_proof(self, digest: str, prediction: str, split: str) -> facts.Proof:
        """Return what the recorded proof says about a tree that cannot run here."""
        record = proof.read(self.recipe, self.target)
        if record and record.proves(digest, prediction, split):
            how = ", ".join(filter(None, (record.interpreter, record.terms)))
            return facts.Proof("proven", f"a recorded proof has the same digest ({how})")
        if proof.is_known(self.recipe, self.target, digest):
            obstacle = self.prediction.obstacle
            reason = f"{obstacle}, and the packages are proven with other code of the function alone"
            self.say(f"WARNING: stale: {reason}; yours may import what was taken out")
            return facts.Proof("stale", reason)
        return self._accept_unproven(
            f"{self.prediction.obstacle}, and no recorded proof has this layer's digest"
        )

    def _accept_unproven(self, reason: str) -> facts.Proof:
        if not self.job.allow_unproven:
            raise UnprovenError(reason)
        self.say(f"WARNING: unproven: {reason}")
        return facts.Proof("unproven", reason)

    def _predict_split(self, usage: Usage, splitter: Splitter, reference: smoke.Outcome) -> smoke.Outcome:
        """Return the outcome on the slim tree with split libraries, or whole ones where a signal ends it."""
        splitter.make_cold()
        if not splitter.sources:
            return self._predict_slim(usage)
        try:
            slim = self._predict_slim(usage, split=True)
            signals = [
                f"{name}: {error}"
                for name, error in sorted(slim.errors.items())
                if error.startswith("ends with -") and reference.errors.get(name) != error
            ]
            if not signals:
                return slim
        except SignalError as error:
            signals = str(error).splitlines()
        self.say(f"WARNING: {', '.join(splitter.sources)} stay whole, because split, {signals[0]}")
        splitter.undo()
        return self._predict_slim(usage)

    def _predict_slim(self, usage: Usage, *, split: bool = False) -> smoke.Outcome:
        """Return the outcome on the slim tree; with the imports that compiling is tried by, unless it was."""
        modules = sorted({*self.modules, *self.readers})
        if not modules and self.lock.kept is None:
            modules = imports.list_modules(self.tree, imports.list_packages(self.tree))
        try:
            outcome = self._predict("predicting with what is left, alone", modules)
        except SmokeError as error:
            if split and isinstance(error, SignalError):
                raise
            if usage.recorded:
                raise StaleTraceError(f"the recorded trace is out of date ({error.cause})") from None
            if found := self._find_missed(str(error)):
                self.missed += found
                which = ", ".join(found)
                raise StaleTraceError(f"the prediction looks for {which}, and does not open it") from None
            raise
        assert outcome is not None  # noqa: S101
        return outcome

    def _find_missed(self, error: str) -> list[str]:
        """Return the files that an error names and that the trace took out: code may ask if one exists."""
        known = {*self.missed, *(file.path for file in trees.files(self.tree))}
        own = [glob for rule in self.recipe.rules for glob in rule.globs]
        named = [path for path in self.installed if path not in known and f"/{path}" in error]
        return [path for path in named if not matches(path, own)]

    def _compile(self, slim: smoke.Outcome | None) -> str:
        """Byte-compile the tree, see that it still answers the same, and describe it in a sentence."""
        compiler = bytecode.provide_compiler(self.target, self.job.interpreters, self.say)
        if compiler is None:
            return f"no: there was no {self.target.runtime} to do it"
        guess = locks.guess_kept(self.recipe, self.target)
        if slim is None:
            kept = self.lock.kept or guess
            if kept is None:  # nobody has tried
                kept = Kept(dict.fromkeys(imports.list_packages(self.tree), SOURCES))
            with self._time("byte-compiling"):
                compiled = bytecode.compile_tree(self.tree, compiler, kept, self.recipe.sources)
        else:
            start.cache_by_page(self.tree)
            with self._time("byte-compiling, and predicting with the bytecode"):
                tried = Compiler(
                    self.tree, compiler, self.recipe.sources,
                    lambda tree: self._predict_on(tree, slim.modules), slim, self.say, self.documented,
                )  # fmt: skip
                compiled, kept = tried.run(self.lock.kept, guess)
            self.present = tried.outcome.present
            self.lock = locks.record_kept(self.recipe, self.target, self.lock, kept)
        late = self._leave_sources()
        left = f"without sources and documentation strings{kept.describe()}"
        if late:
            left += f"; {late} modules that the prediction does not import are sources alone"
        if compiled.compressed:
            left += f"; {compiled.compressed} compressed, since bytecode and licences outweighed the sources"
        if compiled.left:
            left += f"; not compiled: {', '.join(compiled.left)}, which no import of pip's tree could read"
        return f"{compiled.count - late} modules by {compiler.description}; {left}"

    def _leave_sources(self) -> int:
        """Remove bytecode beside sources from modules that the prediction does not use; return of how many.

        A prediction that only imports does not tell.
        """
        script = self.recipe.smoke.script if self.recipe.smoke else None
        imported = trace.read_imported(self.recipe, self.target, self.lock)
        if script is None or imported is None or imports.list_only_imports(script):
            return 0
        return bytecode.remove_second(self.tree, imported)

    def _assemble(
        self, strategy: str, opened: Sequence[str], divided: Sequence[facts.Split]
    ) -> tuple[facts.Archive | None, list[facts.File]]:
        if strategy == "nested":
            wheels.ensure_tool("zstandard", ZSTANDARD, self.job.work / "tools")
            self.say(f"packing {trees.size(self.tree):,} bytes …")
        versions = {wheel.name: wheel.version for wheel in self.in_tree.wheels}
        pages = {}
        if strategy == "direct" and start.is_read(self.recipe):
            pages = start.find_pages(
                self.tree, opened, self.recipe, self.target, self.present, self.say, retrace=self.job.retrace
            )
        archive, files = assemble(
            self.tree, self.layer, strategy, self.recipe, self.target, versions,
            opened=opened,
            split=[one.path for one in divided],
            pages=pages,
        )  # fmt: skip
        if libraries := trees.files(self.libraries):
            self.libraries.rename(self.layer / "lib")
        return archive, [
            *files,
            *(facts.File(f"lib/{one.path}", one.size, "lib", "layer") for one in libraries),
        ]

    def _function_bytes(self) -> int:
        """Return the bytes always deployed with the layer: the function's code, and the base layer."""
        code = inputs.count_code_bytes(self.recipe.smoke) if self.recipe.smoke else 0
        return code + (trees.size(self.base_tree) if self.base_tree else 0)

    @contextmanager
    def _time(self, step: str) -> Iterator[None]:
        self.say(f"{step} …")
        start = time.perf_counter()
        yield
        self.say(f"  done in {time.perf_counter() - start:.1f} s")
