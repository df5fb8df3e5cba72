"""Which faults would a room's tests notice? ``python -m tools.trust.mutants ROOM`` tries a sample of them.

A mutant is the room with one small fault: another comparison, a negated condition, another number, an ``and``
for an ``or``, a statement or a value that is left out. The sample is drawn with a seed from all places where
one can be. Each mutant runs, in a copy of the project, those of the room's quick tests that run its line,
and if they pass, those of the module's name and the one in the record. Where none runs the line, those of
what starts the module as a process of its own run too. What passes all is printed: it wants a test, or a
reason. The score comes with its 95 % interval (Wilson). Tests that do not end in time have failed.

It is a lower bound. A test that ``make check`` alone runs does not count, nor one that needs a built layer or
a container. A line that a fixture runs belongs to none of the tests that take the fixture.

``survivors.toml`` beside this file records what was found: a survivor with a reason why nothing has to notice
it, which is not printed again, or with the test that notices it since. ``--again`` tries the latter alone.
"""

import argparse
import ast
import copy
import functools
import json
import math
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree as ET

from coverage import CoverageData

ROOT = Path(__file__).resolve().parents[2]
RECORD = Path(__file__).with_name("survivors.toml")
ROOMS = {
    "lambda_inference": (
        "layer/python/lambda_inference",
        ["tests/unit/lambda_inference", "tests/attacks/layer", "tests/unit/layer"],
    ),
    "builder": (
        "layer/builder",
        [
            "tests/unit/layer",
            "tests/attacks/layer",
            "tests/integration/layer/test_hotcold.py",
            "tests/integration/layer/test_layer_publish.py",
            "tests/unit/lambda_setup/test_aws_errors.py",
        ],
    ),
    "deployment": (
        "lambda_setup/deployment",
        ["tests/unit/lambda_setup", "tests/unit/batch", "tests/integration/deployment"],
    ),
    "models": (
        "lambda_setup/models",
        ["tests/unit/models", "tests/unit/lambda_setup", "tests/attacks/models"],
    ),
}
"""Each room's folder, and its quick tests: those that build no layer of a recipe and need no container."""
NEEDED = (
    "tests", "layer", "lambda_setup", "translation_function", "examples", "events", "statemachines", "models",
    "docs", "tools", "bench", "template.yaml", "samconfig.toml", "pyproject.toml", "Makefile",
)  # fmt: skip
COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult, ast.Div: ast.Mult,
}  # fmt: skip
TIMED_OUT = -9

Entry = dict[str, str]
"""A survivor in the record: its file, before and after, and a test or a reason."""
Runners = dict[tuple[Path, int], set[str]]
"""The tests that run a line, by file and line: pytest's names of them."""
Costs = Mapping[str, float]
"""The seconds that tests take, by pytest's names of them."""
Place = tuple[ast.AST, str, int | None, ast.AST, ast.AST]
"""A parent, its field and index, the node there, and a fault for its place."""


@dataclass(frozen=True)
class Mutant:
    """A fault: the file and the line, the statement that was there, and what is there now.

    A statement is its first line, without comments, so that a record of it outlives what moves it.
    """

    path: Path
    line: int
    before: str
    after: str
    make: Callable[[], str] = field(compare=False)

    @property
    def text(self) -> str:
        """The text of the file with the fault."""
        return self.make()

    @property
    def entry(self) -> Entry:
        """What the record calls it."""
        return {"file": str(self.path.relative_to(ROOT)), "before": self.before, "after": self.after}


def list_faults(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what may stand in the place of a node."""
    match node:
        case ast.Compare(ops=[op, *_]) if type(op) in COMPARISONS:
            changed = copy.deepcopy(node)
            changed.ops[0] = COMPARISONS[type(op)]()
            yield changed
        case ast.BoolOp():
            changed = copy.deepcopy(node)
            changed.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
            yield changed
        case ast.BinOp(op=op, left=left) if type(op) in OPERATORS and not isinstance(left, ast.JoinedStr):
            changed = copy.deepcopy(node)
            changed.op = OPERATORS[type(op)]()
            yield changed
        case ast.UnaryOp(op=ast.Not()):
            yield copy.deepcopy(node.operand)
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int(value) | float(value)):
            yield ast.Constant(value + 1)
        case ast.If() | ast.While() | ast.IfExp():
            changed = copy.deepcopy(node)
            changed.test = ast.UnaryOp(ast.Not(), changed.test)
            yield changed
        case ast.Return(value=value) if value is not None and not isinstance(value, ast.Constant):
            yield ast.Return(ast.Constant(None))
        case ast.Expr(value=ast.Call()) | ast.AugAssign() | ast.Raise():
            yield ast.Pass()


def list_places(tree: ast.Module) -> Iterator[Place]:
    """Yield a parent, its field and index, the node there, and a fault that may stand in its place.

    Annotations, and what is not in a function, are left as they are.
    """
    seen = set()
    for function in [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]:
        for parent in ast.walk(function):
            if isinstance(parent, ast.arguments | ast.AnnAssign | ast.arg):
                continue
            for name, value in ast.iter_fields(parent):
                for index, node in enumerate(value) if isinstance(value, list) else [(None, value)]:
                    if not isinstance(node, ast.AST) or name in {"annotation", "returns", "decorator_list"}:
                        continue
                    for fault in list_faults(node):
                        if (id(node), type(fault)) not in seen:
                            yield parent, name, index, node, fault
                        seen.add((id(node), type(fault)))


def find_statements(tree: ast.Module) -> dict[int, ast.stmt]:
    """Return the innermost statement around each node, by the node's ``id``."""
    found: dict[int, ast.stmt] = {}
    for statement in (node for node in ast.walk(tree) if isinstance(node, ast.stmt)):  # the outer ones first
        found |= dict.fromkeys(map(id, ast.walk(statement)), statement)
    return found


def _put(parent: ast.AST, field: str, index: int | None, node: ast.AST) -> None:
    if index is None:
        setattr(parent, field, node)
    else:
        getattr(parent, field)[index] = node


def _show(node: ast.AST) -> str:
    return ast.unparse(node).partition("\n")[0]


def list_mutants(folder: Path) -> Iterator[Mutant]:
    """Yield the mutants of all files below a folder; each makes its text when it is asked for it."""
    for path in sorted(folder.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        statements = find_statements(tree)
        for parent, name, index, node, fault in list_places(tree):
            ast.fix_missing_locations(fault)

            def show(shown: ast.AST, place: Place = (parent, name, index, node, fault)) -> str:
                parent, name, index, node, fault = place
                _put(parent, name, index, fault)
                text = ast.unparse(shown)
                _put(parent, name, index, node)
                return text

            statement = statements[id(node)]
            after = show(fault if node is statement else statement).partition("\n")[0]
            make = functools.partial(show, tree)
            yield Mutant(path, statement.lineno, _show(statement), after, make)


def draw(folder: Path, count: int, seed: int) -> list[Mutant]:
    """Return a sample of the mutants of all files below a folder."""
    mutants = list(list_mutants(folder))
    return random.Random(seed).sample(mutants, min(count, len(mutants)))  # noqa: S311 - a sample


def read_record(path: Path, room: str) -> list[Entry]:
    """Return the recorded survivors of a room's folder."""
    with path.open("rb") as file:
        return [one for one in tomllib.load(file)["survivor"] if Path(one["file"]).is_relative_to(room)]


def find_entry(record: list[Entry], mutant: Mutant) -> Entry:
    """Return what is recorded of a mutant, or an empty entry."""
    return next((one for one in record if one.items() >= mutant.entry.items()), {})


def calculate_interval(hits: int, total: int, z: float = 1.96) -> tuple[float, float]:
    """Return the 95 % interval of a share (Wilson, 1927)."""
    share, square = hits / total, z * z
    centre = (share + square / (2 * total)) / (1 + square / total)
    half = z * math.sqrt(share * (1 - share) / total + square / (4 * total * total)) / (1 + square / total)
    return max(centre - half, 0.0), min(centre + half, 1.0)


def list_tests(folder: Path, tests: list[str]) -> list[str]:
    """Return the files of a room's tests, those of its own folder first."""
    paths = [folder / place for place in tests]
    found = [[path] if path.is_file() else sorted(path.rglob("test_*.py")) for path in paths]
    return [str(path) for some in found for path in some]


def choose_tests(
    mutant: Mutant, room: Path, tests: list[str], runners: Runners, costs: Costs, recorded: str = ""
) -> list[list[str]]:
    """Return the tests of a mutant: those that run its line, and then what may notice it besides.

    Files of the module's name come first, then those that take less time; so do the tests of a file.

    Args:
        mutant: the mutant.
        room: the room's folder.
        tests: the files of the room's tests.
        runners: the tests that run a line.
        costs: the seconds that tests take.
        recorded: the test that the record has for the mutant.

    """
    stem = mutant.path.stem
    named = [test for test in tests if stem.strip("_") in Path(test).stem and stem != "__init__"]
    found = runners.get((mutant.path, mutant.line), set())
    besides = {test for test in costs if test.partition("::")[0] in named}
    if not found:
        texts = {path: path.read_text(encoding="utf-8") for path in room.rglob("*.py")}
        quoted = (f'"{mutant.path.name}"', f'.{stem}"')  # as a file, and by -m
        starters = {path for path, text in texts.items() if any(one in text for one in quoted)}
        besides |= {test for (path, _), some in runners.items() if path in starters for test in some}
    path, _, name = recorded.partition("::")
    besides |= {f"{test}::{name}" for test in tests if name and test.endswith(path)}

    def sort(some: set[str]) -> list[str]:
        files = Counter[str]()  # their tests stay together, because they share fixtures
        for test in some:
            files[test.partition("::")[0]] += costs.get(test, 0)

        def rate(test: str) -> tuple[bool, float, str, float, str]:
            file = test.partition("::")[0]
            return file not in named, files[file], file, costs.get(test, 0), test

        return sorted(some, key=rate)

    return [sort(some) for some in (found, besides - found) if some]


def run_tests(
    project: Path, tests: Iterable[str], seconds: float | None, *before: str, log: Path = Path(os.devnull)
) -> int:
    """Return pytest's status; tests that do not end in time have failed.

    Their folder for temporary files is their own. A fault may leave one that pytest cannot remove, and all
    later runs of pytest on this machine would fail at that.
    """
    scratch = project.with_name(f"{project.name}-scratch")
    command = [sys.executable, *before, "-m", "pytest", "-q", "-x", "-p", "no:randomly",
               "-p", "no:hypothesispytest",  # half of a second of imports
               "-p", "no:cacheprovider", "-m", "not check", f"--basetemp={scratch}", *tests]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": f"{project}{os.pathsep}{project / 'layer' / 'python'}"}
    environment |= {"OMP_NUM_THREADS": "1"}
    if seconds is not None:  # the run without a fault has written it
        environment |= {"PYTHONDONTWRITEBYTECODE": "1"}
    with (
        log.open("wb") as output,
        subprocess.Popen(
            command, cwd=project, env=environment, stdout=output, stderr=output, start_new_session=True
        ) as running,
    ):
        try:
            return running.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(running.pid, signal.SIGKILL)
            return TIMED_OUT
        finally:
            subprocess.run(["/usr/bin/env", "rm", "-rf", str(scratch)], check=True)


def try_one(project: Path, groups: list[list[str]], costs: Costs, seconds: float) -> int:
    """Return pytest's status of the first group of tests that notice a fault, or 0.

    They have ten times what they take without a fault, and half a minute to begin, but no more than given.
    """
    for tests in groups:
        limit = min(seconds, 30 + 10 * sum(costs.get(test, seconds) for test in tests))
        status = run_tests(project, tests, limit)
        if status in {4, 5}:  # pytest does not find one by its name
            status = run_tests(project, dict.fromkeys(test.partition("::")[0] for test in tests), seconds)
        if status not in {0, 5}:
            return status
    return 0


def find_runners(project: Path, room: str, tests: list[str]) -> tuple[Runners, Costs]:
    """Run all tests without a fault, and return which of them run a line, and what they cost."""
    settings, data = project / ".runners", project / ".runners-data"
    settings.write_text(f"[run]\ndynamic_context = test_function\nsource = {room}\ndata_file = {data}\n")
    log = project / ".runners-log"
    before = ["-m", "coverage", "run", f"--rcfile={settings}"]
    if run_tests(project, [*tests, f"--junitxml={project / '.runners.xml'}"], None, *before, log=log):
        sys.exit(f"{log.read_text(encoding='utf-8')}\nthe tests fail without a fault; fix that first")
    return read_runners(project, tests)


def read_runners(project: Path, tests: list[str]) -> tuple[Runners, Costs]:
    """Read what the run without a fault has written."""
    data = CoverageData(str(project / ".runners-data"))
    data.read()
    modules = {Path(test).stem: Path(test) for test in tests}
    texts = {stem: path.read_text(encoding="utf-8") for stem, path in modules.items()}
    costs = Counter[str]()
    for case in ET.parse(project / ".runners.xml").iter("testcase"):  # noqa: S314 - pytest has just written it
        module, *classes = re.split(r"\.(?=test_)(?!.*\.test_)", case.attrib["classname"])[-1].split(".")
        name = "::".join([str(modules[module]), *classes, case.attrib["name"].partition("[")[0]])
        costs[name] += float(case.attrib["time"])
    runners: Runners = {}
    for file in data.measured_files():
        for line, contexts in data.contexts_by_lineno(file).items():
            names = [context.split(".") for context in contexts if context]
            runners[ROOT / Path(file).relative_to(project), line] = {
                # An inherited test has not its own class's name.
                "::".join([str(modules[stem]), *rest])
                if all(re.search(rf"^ *(class|def) {one}\b", texts[stem], re.MULTILINE) for one in rest)
                else str(modules[stem])
                for stem, *rest in names
                if stem in modules
            }
    return runners, costs


def copy_project(target: Path) -> None:
    """Copy what the tests need."""
    listed = subprocess.run(
        ["/usr/bin/env", "git", "-C", str(ROOT), "ls-files", *NEEDED],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    for name in listed:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target / name)
    (target / ".venv").symlink_to(ROOT / ".venv")


def try_all(mutants: list[Mutant], room: str, tests: list[str], record: list[Entry], seconds: float) -> str:
    """Try mutants, print those that survive without a reason as the record has them, and return the score."""
    noticed = reasons = unseen = 0
    score = "nothing to try"
    with tempfile.TemporaryDirectory(prefix="mutants-") as name:
        project = Path(name)
        copy_project(project)
        listed = list_tests(project, tests)
        runners, costs = find_runners(project, room, listed)
        for tried, one in enumerate(mutants, 1):
            path = project / one.path.relative_to(ROOT)
            right = path.read_text(encoding="utf-8")
            path.write_text(one.text, encoding="utf-8")
            known = find_entry(record, one)
            chosen = choose_tests(one, ROOT / room, listed, runners, costs, known.get("test", ""))
            status = try_one(project, chosen, costs, seconds)
            path.write_text(right, encoding="utf-8")
            unseen += not chosen
            if status:
                noticed += 1
                if status == TIMED_OUT:
                    print(f"no end in time, line {one.line}: {one.entry}", file=sys.stderr)
            elif "reason" in known:
                reasons += 1
            else:
                lines = [
                    f"{name} = {json.dumps(text, ensure_ascii=False)}" for name, text in one.entry.items()
                ]
                place = f"# line {one.line}" + ", which no quick test runs" * (not chosen)
                print("\n[[survivor]]", place, *lines, sep="\n", flush=True)
            low, high = calculate_interval(noticed, tried)
            score = f"{noticed} of {tried} noticed: {noticed / tried:.0%} ({low:.0%} to {high:.0%})"
            score += f", {unseen} are where no quick test comes, {reasons} of those left have a reason"
            print(score, file=sys.stderr, flush=True)
    return score


def main() -> None:
    """Try a sample of a room's mutants."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("room", choices=ROOMS)
    parser.add_argument("--count", type=int, default=300, help="mutants to try (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the sample (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=300, help="for the tests (default: %(default)s)")
    parser.add_argument("--again", action="store_true", help="try the recorded survivors that have a test")
    options = parser.parse_args()
    room, tests = ROOMS[options.room]
    record = read_record(RECORD, room)
    known = [(one, entry) for one in list_mutants(ROOT / room) if (entry := find_entry(record, one))]
    for entry in record:
        if not any(entry is other for _, other in known):
            print(f"{entry['file']} does not have it any more; take it out of the record: {entry['before']}")
    if options.again:
        mutants = [one for one, entry in known if "test" in entry]
    else:
        mutants = draw(ROOT / room, options.count, options.seed)
    score = try_all(mutants, room, tests, record, options.seconds)
    print(f"{options.room}, {'recorded survivors' if options.again else f'seed {options.seed}'}: {score}")


if __name__ == "__main__":
    main()
