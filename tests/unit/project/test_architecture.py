"""The map in docs/architecture.md is the territory: folders, arrows, names."""

import ast
import fnmatch
import itertools
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from support.project import ROOT

MAP = ROOT / "docs" / "architecture.md"
MOST_ENTRIES = 14
"""That a folder may have, beside what is generated."""
EXCEPTIONS = (
    ".",
    "layer/python/lambda_inference",
    "layer/recipes",
    "docs/images",
    "tests", "tests/*",
    "events", "events/*",
    "examples/*/events", "examples/*/events/*",
    "bench/packages/records/*",
)  # fmt: skip
"""Folders that may have more: the root, flat packages, tests, cases and records."""

MOST_PARTICIPLES = 12
PARTICIPLES = re.compile(
    r"begun|bound|bought|broken|brought|built|caught|chosen|done|drawn|driven|fallen|felt|found|frozen|given"
    r"|gone|grown|heard|held|hidden|kept|known|laid|led|left|lent|lost|made|meant|met|paid|proven|said|seen"
    r"|sent|shown|shut|spent|spoken|stood|stolen|struck|sunk|sworn|taken|taught|thought|thrown|told"
    r"|understood|unproven|won|worn|written|[a-z]{2,}(ed|ing)"
)
ADVERBS = re.compile(
    r"again|apart|at|below|beside|each|else|elsewhere|here|inside|one|other|own|there|together|two|whole"
)
VERBS = re.compile(r"bring|embed|exceed|feed|need|ping|proceed|read|seed|shed|sibling|speed|string|sing|weed")
"""Verbs and nouns that only look like participles."""

LIBRARIES = {
    "boto3", "botocore", "ctranslate2", "fastai", "keras", "numpy", "onmt", "onnxruntime", "PIL",
    "sentencepiece", "spacy", "torch",
}  # fmt: skip
"""What lambda_inference must not import before it is needed."""


@cache
def tracked() -> list[str]:
    """Return the paths of all files that are, or are about to be, committed."""
    command = ["/usr/bin/env", "git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return sorted(path for path in listed if (ROOT / path).exists())


def is_test(path: str) -> bool:
    """Return whether a file is of the tests."""
    return path.startswith("tests/")


@cache
def sources() -> dict[str, str]:
    """Return the module names of all Python files outside the tests, by their paths.

    Functions, training recipes and smoke programs are run with their folder on the path, so their modules
    have the folder's path before a colon.
    """
    names = {}
    for path in tracked():
        if path.endswith(".py") and not is_test(path):
            folder, _, name = path.removesuffix(".py").rpartition("/")
            if path.startswith("layer/python/"):
                names[path] = path.removeprefix("layer/python/").removesuffix(".py").replace("/", ".")
            elif is_package(path):
                names[path] = path.removesuffix(".py").replace("/", ".")
            else:
                names[path] = f"{folder}:{name}"
            names[path] = names[path].removesuffix(".__init__")
    return names


def is_package(path: str) -> bool:
    """Return whether a file is imported by its path from the root."""
    top = path.partition("/")[0]
    return top in {"bench", "lambda_setup", "layer", "studies", "tools"} and not path.startswith(
        ("layer/recipes/", "bench/baselines/usual")
    )


@cache
def tree(path: str) -> ast.Module:
    """Return a file's syntax tree."""
    return ast.parse((ROOT / path).read_text(encoding="utf-8"))


def list_imports(path: str) -> set[str]:
    """Return the modules that a file imports anywhere, deferred imports included, as written."""
    found = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:  # relative ones are upstream's, in patches
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def resolve(path: str) -> set[str]:
    """Return the paths of this project's files that a file imports."""
    modules = {name: file for file, name in sources().items()}
    folder = path.rpartition("/")[0]
    found = set()
    for name in list_imports(path):
        for candidate in (name, name.rpartition(".")[0]):
            target = modules.get(candidate) or modules.get(f"{folder}:{candidate}")
            if target:
                found.add(target)
                break
    return found - {path}


def read_map() -> dict[str, list[str]]:
    """Return the folders of the map, each with those that it may import from."""
    rows = re.findall(r"^\| (`[^|]+) \| [^|]+ \| ([^|]+) \|$", MAP.read_text(encoding="utf-8"), re.MULTILINE)
    return {
        folder: re.findall(r"`([^`]+)/`", arrows)
        for names, arrows in rows
        for folder in re.findall(r"`([^`]+)/`", names)
    }


def find_room(path: str) -> str:
    """Return the folder of the map that a file is in, the deepest one."""
    rooms = [room for room in read_map() if fnmatch.fnmatch(path, f"{room}/*")]
    return max(rooms, key=len, default="")


def test_every_folder_of_the_map_is_there() -> None:
    """Nothing stands there that was moved."""
    assert read_map()
    for folder in read_map():
        assert list(ROOT.glob(folder)), folder


def test_every_folder_is_on_the_map() -> None:
    """Each folder at the root, and each that has code."""
    folders = {path.partition("/")[0] for path in tracked() if "/" in path and not path.startswith(".")}
    known = {folder.partition("/")[0] for folder in read_map()}
    assert {folder for folder in folders if not any(fnmatch.fnmatch(folder, one) for one in known)} == set()
    assert [path for path in sources() if not find_room(path)] == []


@pytest.mark.parametrize("path", sorted(sources()))
def test_imports_follow_the_arrows(path: str) -> None:
    """A file imports from its own folder and from those that the map names, deferred imports included."""
    room = find_room(path)
    allowed = [room, *read_map()[room]]
    if room.endswith("_function"):
        folder = path.rpartition("/")[0]
        allowed[0] = folder
        if path.endswith("/show.py"):  # runs in the operator's commands
            allowed.append("lambda_setup")
    wrong = [
        target
        for target in resolve(path)
        if not any(fnmatch.fnmatch(target, f"{folder}/*") for folder in allowed)
    ]
    assert wrong == []


def test_functions_do_not_import_each_other() -> None:
    """Nor do they see more of this project than lambda_inference."""
    for path in sources():
        if find_room(path).endswith("_function") and not path.endswith("/show.py"):
            tops = {name.partition(".")[0] for name in list_imports(path)}
            assert tops & {"bench", "lambda_setup", "layer", "studies", "tools"} == set(), path


def test_nothing_imports_a_command() -> None:
    """Only the entry point, the commands themselves, and what reads their help do."""
    readers = ("lambda_setup/__main__.py", "lambda_setup/commands/", "tools/pages/commands.py")
    for path in sources():
        if not path.startswith(readers):
            assert [
                target for target in resolve(path) if target.startswith("lambda_setup/commands/")
            ] == [], path


def test_nobody_imports_the_entry_points() -> None:
    """A module that is run is none that others take from; a former name of a command forwards to it."""
    for path in sources().keys() - {"lambda_setup/download_model.py"}:
        assert [target for target in resolve(path) if target.endswith("/__main__.py")] == [], path


def test_there_is_no_import_cycle() -> None:
    """Deferred imports included, and those that are for types alone."""
    graph = {path: sorted(resolve(path)) for path in sources()}
    done: set[str] = set()

    def walk(path: str, trail: list[str]) -> Iterator[str]:
        if path in trail:
            yield " → ".join([*trail[trail.index(path) :], path])
        elif path not in done:
            for target in graph[path]:
                yield from walk(target, [*trail, path])
            done.add(path)

    assert list(itertools.chain.from_iterable(walk(path, []) for path in graph)) == []


def test_lambda_inference_imports_no_library_at_its_top() -> None:
    """Cold starts pay for what is imported at module level."""
    for path in sources():
        if path.startswith("layer/python/lambda_inference/"):
            tops = {
                name.partition(".")[0]
                for node in tree(path).body
                for name in (
                    [alias.name for alias in node.names]
                    if isinstance(node, ast.Import)
                    else [node.module or ""]
                    if isinstance(node, ast.ImportFrom)
                    else []
                )
            }
            assert tops & LIBRARIES == set(), path


def list_entries() -> dict[str, set[str]]:
    """Return the entries of every folder."""
    entries: dict[str, set[str]] = {}
    for path in tracked():
        parts = Path(path).parts
        for depth in range(len(parts)):
            entries.setdefault("/".join(parts[:depth]) or ".", set()).add(parts[depth])
    return entries


def test_a_folder_is_seen_at_a_glance() -> None:
    """It has no more entries than people read."""
    crowded = {
        folder: len(names)
        for folder, names in list_entries().items()
        if len(names) > MOST_ENTRIES and not any(fnmatch.fnmatch(folder, pattern) for pattern in EXCEPTIONS)
    }
    assert crowded == {}


def is_participle(name: str) -> bool:
    """Return whether a function's whole name is a participle or an adverb: told, _found, running, here."""
    word = name.strip("_")
    return not VERBS.fullmatch(word) and bool(PARTICIPLES.fullmatch(word) or ADVERBS.fullmatch(word))


@pytest.mark.parametrize(
    ("name", "participle"),
    [("told", True), ("_found", True), ("running", True), ("_there", True), ("_own", True), ("read", False),
     ("find", False), ("needed_size", False), ("_embed", False)],
)  # fmt: skip
def test_participles_are_recognised(name: str, participle: bool) -> None:
    """With or without an underscore; a name of several words is none."""
    assert is_participle(name) == participle


def test_functions_are_named_by_verbs_and_nouns() -> None:
    """Not by a participle that leaves open what happened to what."""
    names = [
        f"{path}:{node.lineno} {node.name}"
        for path in sources()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and is_participle(node.name)
    ]
    assert len(names) <= MOST_PARTICIPLES, "\n".join(names)
