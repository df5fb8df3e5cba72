"""docs/forking.md as somebody takes it who has a model of Hugging Face, a copy of the project, and no more.

No file is written or deleted by hand, and nothing that was built before is used: neither the environment
nor converters or layers. It needs a pip that finds torch's CPU build.
"""

import os
import re
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.project import ROOT

PAGE = (ROOT / "docs" / "forking.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"(?m)^```\n(.*?)^```$", re.DOTALL)
CACHES = {".venv", ".layers", ".converters", ".demo", ".demo.lock"}
"""What make and the commands keep for the next time; git ignores it."""


def run(command: str, folder: Path) -> tuple[str, float, float]:
    """Run a line as a shell does, and return what it printed, its seconds and those of its processors."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYTEST"))
    }
    path = f"{folder / '.venv' / 'bin'}{os.pathsep}{environment['PATH']}"
    begin, used = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        ["/bin/bash", "-c", command], cwd=folder, env=environment | {"PATH": path},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    sys.stdout.write(f"$ {command}\n{done.stdout}")
    assert done.returncode == 0, f"{command}\n{done.stdout}"
    now = resource.getrusage(resource.RUSAGE_CHILDREN)
    busy = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
    return done.stdout, time.monotonic() - begin, busy


@pytest.fixture
def copy(tmp_path) -> Path:
    """Return the project's files in another folder, as a repository of their own."""
    folder = tmp_path / "mine"
    listed = subprocess.run(
        [str(shutil.which("git")), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for name in listed.rstrip("\0").split("\0"):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    for command in ("git init -q", "git add -A", "git -c user.name=x -c user.email=x@x commit -qm copy"):
        run(command, folder)
    return folder


def list_changes(folder: Path) -> set[str]:
    """Return the paths that are new, changed or ignored, without caches."""
    found, *_ = run("git status --porcelain --ignored --untracked-files=all", folder)
    names = {line[3:].strip('"') for line in found.splitlines()}
    return {name for name in names if name.split("/")[0] not in CACHES and "__pycache__" not in name}


def test_a_model_of_hugging_face_in_ten_minutes(copy, record_property):
    """From a copy to a function that answers with the model, in less than ten minutes, and back."""
    section = PAGE.split("\n## A model of Hugging Face")[1]
    commands = BLOCK.findall(section)[0].strip().splitlines()
    name = commands[0].split(" new ")[1].split()[0]
    taken = {}
    _, *taken["set-up"] = run("make .venv/ready", copy)
    before = list_changes(copy)
    for command in commands:
        shown, *taken[command.split(" --from")[0]] = run(command, copy)
    for key, (seconds, busy) in taken.items():
        record_property(key, f"{seconds:.0f} s, {busy:.0f} s of processors")
    assert "most like it" in shown
    made = list_changes(copy) - before
    assert f"{name}_function/events/event.json" in made
    assert f"layer/recipes/{name}/recipe.toml" in made
    planned, *_ = run(f"{commands[0].replace(f'new {name} ', 'new another ')} --dry-run", copy)
    files = {
        line.split()[-1].replace("another", name) for line in planned.splitlines() if "would make" in line
    }
    assert files == {path for path in made if not path.startswith(f"layer/recipes/{name}/host/python")}
    run(f"python -m lambda_setup new {name} --undo", copy)
    assert list_changes(copy) == before
    assert not [*(copy / ".layers").glob(f"{name}-*")]
    assert sum(seconds for seconds, _ in taken.values()) < 600, taken
