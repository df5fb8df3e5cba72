"""docs/forking.md, done as it is written: from a copy of the project to a function for another model."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.project import ROOT

pytestmark = pytest.mark.check

PAGE = (ROOT / "docs" / "forking.md").read_text(encoding="utf-8")
WALK, DEPLOYMENT = PAGE[PAGE.index("## 1. Begin") :].split("## 6. Deploy it")
BLOCK = re.compile(r"(?m)^```(\w*)\n(.*?)^```$", re.DOTALL)
NAMED = re.compile(r"(?:Write|write into) `([^`]+)`")
OUTPUT = "┃"
BUILT = ("inference-host", "onnxruntime-host")


def run(command: str, folder: Path) -> str:
    """Run a line of the walk as a shell does, and return what it printed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    done = subprocess.run(
        ["/bin/bash", "-c", command], cwd=folder, env=environment | {"PATH": path, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{command}\n{done.stdout}"
    return done.stdout


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    """Return the project's files in another folder, with the environment and the wheels that are here."""
    folder = tmp_path_factory.mktemp("walk") / "mine"
    listed = subprocess.run(
        [shutil.which("git"), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for name in listed.rstrip("\0").split("\0"):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    (folder / ".venv").symlink_to(ROOT / ".venv")
    for name in ("pyproject.toml", "requirements.lock"):  # make would install it again, for this folder
        os.utime(folder / name, (0, 0))
    (folder / ".layers").mkdir()
    (folder / ".layers" / "wheels").symlink_to(ROOT / ".layers" / "wheels")
    for name in BUILT:
        if (ROOT / ".layers" / name).exists():
            shutil.copytree(ROOT / ".layers" / name, folder / ".layers" / name)
    return folder


def state(folder: Path) -> dict[str, bytes]:
    """Return what is in a folder of the copy, without what tools leave there."""
    found = {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}
    return {
        str(inside): path.read_bytes()
        for inside, path in found.items()
        if "__pycache__" not in inside.parts
        and not inside.parts[0].startswith(".")
        and inside.name != ".aws-sam-stamp"
    }


@pytest.fixture(scope="module")
def walked(copy) -> tuple[Path, set[str], str]:
    """Return the copy after the walk, the files that were written by hand, and what the commands printed."""
    before = state(copy / "layer" / "python" / "lambda_inference")
    by_hand, printed, end = set(), [], 0
    for block in BLOCK.finditer(WALK):
        language, content = block.groups()
        if language:
            path = copy / NAMED.findall(WALK[end : block.start()])[-1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
            by_hand.add(str(path.relative_to(copy)))
        elif not content.startswith(OUTPUT):
            printed += [run(line, copy) for line in content.splitlines()]
        end = block.end()
    assert state(copy / "layer" / "python" / "lambda_inference") == before
    return copy, by_hand, "\n".join(printed)


def test_few_files_by_hand(walked):
    """Three files, none of them in what every function imports, and nothing that was made is deleted."""
    copy, by_hand, _ = walked
    assert len(by_hand) == 3
    assert not [path for path in by_hand if path.startswith("layer/python/lambda_inference")]
    record = json.loads((copy / ".layers" / "new" / "language.json").read_text(encoding="utf-8"))
    assert [name for name in record if not (copy / name).is_file()] == []


def test_demo_shows_what_the_page_does(walked):
    """The last command prints the rows that the page quotes."""
    _, _, printed = walked
    right = re.search(r"right on ([\d.]+)% of \d+ sentences", printed)
    assert float(right[1]) > 95
    quoted = re.findall(r"(?m)^│ (\d+) +│ (\w+) +│", WALK)
    shown = re.findall(r"(?m)^│ (\d+) +│ (\w+) +│", printed)
    assert shown[-4:] == [("0", "english"), ("1", "spanish"), ("2", "english"), ("3", "spanish")]
    assert set(quoted) <= set(shown)


def test_copy_passes_its_tests(walked):
    """The new function has the style, the types and the behaviour of every other one."""
    folder, _, _ = walked
    run("ruff check language_function && ruff format --check language_function", folder)
    options = "--ignore-missing-imports --no-warn-unused-ignores"
    run(f"MYPYPATH=language_function mypy {options} language_function", folder)
    run("python -m pytest -q -p no:cacheprovider tests/unit/lambda_setup/test_functions.py", folder)
    printed = run(
        "python -m pytest -q -p no:cacheprovider tests/unit/application/test_template.py "
        "tests/unit/layer/test_records.py tests/integration/functions/test_every_function.py -k language",
        folder,
    )
    assert int(re.search(r"(\d+) passed", printed)[1]) > 20


@pytest.mark.parametrize("source", ["translation", "text-spacy", "image-fastai", "table"])
def test_new_function_works_as_it_stands(copy, source):
    """Whatever it begins as, a new function is one of the project's, and undo leaves nothing of it."""
    name = f"from_{source.partition('-')[0]}"
    before = state(copy)
    planned = run(f"python -m lambda_setup new {name} --from {source} --dry-run", copy).splitlines()
    assert state(copy).keys() == before.keys()
    run(f"python -m lambda_setup new {name} --from {source}", copy)
    made = state(copy).keys() - before.keys()
    assert made == {line.removeprefix("would make  ") for line in planned if line.startswith("would make")}
    run(f"ruff check {name}_function && ruff format --check {name}_function", copy)
    units = "tests/unit/lambda_setup/test_functions.py tests/unit/application/test_template.py"
    run(f"python -m pytest -q -p no:cacheprovider {units} -k {name}", copy)
    again = subprocess.run(
        [sys.executable, "-m", "lambda_setup", "new", name, "--from", source],
        cwd=copy, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert again.returncode == 2
    assert "is there already" in again.stderr
    run(f"python -m lambda_setup new {name} --undo", copy)
    assert state(copy).keys() == before.keys()


@pytest.mark.parametrize("name", ["Mine", "1st", "a-b", "", "a" * 17, "../x"])
def test_bad_names_are_refused(copy, name):
    """A name that no engine, folder or stack could have is refused, with what is expected."""
    done = subprocess.run(
        [sys.executable, "-m", "lambda_setup", "new", name, "--from", "text-spacy"],
        cwd=copy, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "invalid function name" in done.stderr


def test_deployment_is_samconfigs(walked):
    """The stack that the page publishes to is the one that the new samconfig names."""
    folder, _, _ = walked
    [stack] = re.findall(r"--stack (\w+)", DEPLOYMENT)
    assert f'stack_name = "{stack}"' in (folder / "language_function" / "samconfig.toml").read_text()
