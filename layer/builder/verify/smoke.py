"""The smoke prediction: what a layer is traced by, and proven by.

It runs in the target's Python, without site-packages, on Lambda's terms (see ``terms``), and on one
thread, so that the same code gives the same bytes; see ``smoke_runner.py``.
"""

import json
import os
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TextIO

from layer.builder import tree as trees
from layer.builder.errors import SignalError, SmokeError
from layer.builder.pack.interpreter import Interpreter
from layer.builder.recipe import Smoke
from layer.builder.verify.advice import READ_ONLY, explain_terms
from layer.builder.verify.inputs import RUNNER, link_code, list_folders
from layer.builder.verify.terms import find_terms, list_prefixes
from layer.builder.verify.watch import watch


@dataclass(frozen=True)
class Outcome:
    """What a prediction answered, as canonical JSON, and the files of the tree that it opened or mapped.

    ``modules`` were imported; ``failures`` holds, by module, the error of each import that failed, and the
    files that it led through. ``unseen`` says why what native code opened is not there; empty if it is.
    ``touched`` holds, by split library, the pages of code that were cold and were unpacked; ``present``, by
    file, the pages that were read when the prediction ended, before any further import; None where the system
    does not tell. ``imported`` holds the files of the modules that were imported by then.
    """

    answer: str
    opened: frozenset[str]
    modules: tuple[str, ...] = ()
    failures: dict[str, tuple[str, ...]] = field(default_factory=dict)
    unseen: str = ""
    touched: dict[str, list[int]] = field(default_factory=dict)
    present: dict[str, list[int]] | None = None
    imported: frozenset[str] = frozenset()

    @property
    def errors(self) -> dict[str, str]:
        """The errors of imports that failed, by module."""
        return {name: failure[0] for name, failure in self.failures.items()}

    def list_lost_imports(self, other: "Outcome") -> list[str]:
        """Return the modules of another outcome whose import ends otherwise here, each with both ends."""
        mine, theirs = self.errors, other.errors
        return [
            f"{name}: {mine.get(name, 'imported')}, not {theirs.get(name, 'imported')}"
            for name in sorted((mine | theirs).keys() & {*other.modules})
            if mine.get(name) != theirs.get(name)
        ]


def run(
    smoke: Smoke,
    layer_trees: Sequence[Path],
    interpreter: Interpreter,
    prepared: Path,
    modules: Sequence[str] = (),
    *,
    architecture: str = "",
    libraries: Sequence[Path] = (),
    environment: Mapping[str, str] | None = None,
) -> Outcome:
    """Run the prediction on trees alone, of which it traces the first, with the folder that was prepared.

    The loader finds libraries in the folders ``libraries``, as it does in a layer's ``lib``. ``environment``
    holds further variables.
    Then ``modules`` are imported; one whose import ends the process counts as failed. All runs on as many of
    Lambda's terms, for functions of this architecture, as this machine can hold. A prediction that fails,
    or does what Lambda refuses, is a SmokeError.
    """
    terms = find_terms()
    layer_trees = [tree.resolve() for tree in layer_trees]
    libraries = [folder.resolve() for folder in libraries if folder.is_dir()]
    # Where nothing is mounted read-only, native code may write.
    before = [] if terms.mounts else [trees.digest(tree) for tree in layer_trees]
    with (
        tempfile.TemporaryDirectory(prefix="smoke-") as name,
        tempfile.TemporaryFile("w+", encoding="utf-8") as result,
        tempfile.TemporaryFile("w+", encoding="utf-8") as progress,
    ):
        folder = Path(name).resolve()
        home, temporary = folder / "home", Path("/tmp") if terms.mounts else folder / "tmp"  # noqa: S108
        home.mkdir()
        temporary.mkdir(exist_ok=True)
        # Open files, for nothing can be written that this process could read.
        descriptors = [result.fileno(), progress.fileno()]
        plan = {
            "trees": [str(tree) for tree in layer_trees],
            "code": link_code(smoke, folder),
            "script": str(smoke.script) if smoke.script else "",
            "modules": list(modules),
            "arguments": smoke.arguments | ({"prepared": str(prepared)} if smoke.prepare else {}),
            "result": descriptors[0],
            "progress": descriptors[1],
            "read_only": [str(home)],
            "alone": bool(terms.namespaces),
            "writable": [] if terms.mounts else [str(temporary), "/tmp/", os.devnull],  # noqa: S108
        }
        (folder / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
        command = terms.wrap(
            [*interpreter.command, "-s", "-P", "-S", "-B", str(RUNNER), str(folder / "plan.json")],
            # Nothing of this machine's settings reaches it.
            environment={
                "PATH": os.environ.get("PATH", ""),
                "HOME": str(home),
                "TMPDIR": str(temporary),
                "LANG": "C.UTF-8",
                "OMP_NUM_THREADS": "1",
                **interpreter.environment,
                **_list_library_path(interpreter, libraries),
                **(environment or {}),
            },
            folder=home,
            paths=[
                folder,
                prepared,
                *layer_trees,
                *libraries,
                *list_folders(smoke),
                *list_prefixes(interpreter),
            ],
            architecture=architecture,
        )
        with watch(layer_trees[0]) as seen:
            done = subprocess.run(
                command, capture_output=True, text=True, errors="replace", check=False, pass_fds=descriptors
            )
        found, module = _read(result), _read(progress)
        if done.returncode or not found:
            if module in modules:
                rest = [one for one in modules if one != module]
                outcome = run(
                    smoke, layer_trees, interpreter, prepared, rest,
                    architecture=architecture, libraries=libraries, environment=environment,
                )  # fmt: skip
                failures = {**outcome.failures, module: (f"ends with {done.returncode}",)}
                return replace(outcome, modules=tuple(modules), failures=failures)
            failed = SignalError if done.returncode < 0 else SmokeError
            raise failed(_describe_failure(done, home, layer_trees))
        if unexpected := next(home.iterdir(), None):
            raise SmokeError(f"the prediction wrote ~/{unexpected.name}: {READ_ONLY}")
    if before and [trees.digest(tree) for tree in layer_trees] != before:
        raise SmokeError(f"the prediction changed its own layer: {READ_ONLY}")
    table = json.loads(found)
    return Outcome(
        json.dumps(table["answer"], sort_keys=True),
        frozenset({*table["opened"], *seen.files}),
        tuple(modules),
        {name: tuple(failure) for name, failure in table["failures"].items()},
        seen.unseen,
        table["touched"],
        table["present"],
        frozenset(table["imported"]),
    )


def _list_library_path(interpreter: Interpreter, libraries: Sequence[Path]) -> dict[str, str]:
    """Return the variable that has the loader look into folders, after the interpreter's own."""
    name = "LD_LIBRARY_PATH"
    folders = [*filter(None, [interpreter.environment.get(name)]), *map(str, libraries)]
    return {name: os.pathsep.join(folders)} if folders else {}


def _read(file: TextIO) -> str:
    """Return what another process wrote to an open file."""
    file.seek(0)
    return file.read()


def _describe_failure(done: subprocess.CompletedProcess[str], home: Path, layer_trees: Iterable[Path]) -> str:
    lines = [line for line in done.stderr.splitlines() if not line.startswith('{"')]
    text = "\n  ".join(lines[-60:]).replace(str(home), "~")
    start = "the prediction failed:\n  "
    if done.returncode < 0:
        start, text = f"the prediction was ended by signal {-done.returncode}; ", text[-2000:]
    return "\n".join([start + text, *explain_terms(text, layer_trees)])
