"""A project that ``sam init --location`` makes of this repository, and its first command."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from support.answers import differences
from support.events import case
from support.project import ROOT, SCRIPTS

pytestmark = pytest.mark.check

SAM = SCRIPTS / "sam"
MADE = {".venv", ".layers", ".aws-sam", ".demo", ".e2e"}
# What was built and fetched for this machine; nothing in it is this project's own code.
BUILT = ("inference-host", "opennmt-host")
FETCHED = ("inputs", "interpreters", "wheels")
# A module of each part that the demo runs: Python leaves its bytecode beside it.
PARTS = (
    "lambda_setup/commands/invoke.py",
    "lambda_setup/deployment/local/application.py",
    "layer/builder/build.py",
    "layer/python/lambda_inference/_handler.py",
    "translation_function/app.py",
)

BYTECODE = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": ""}


def run(*command, cwd, **variables):
    """Run a program, which must succeed, in a folder, and return all that it printed."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=os.environ | {"SAM_CLI_TELEMETRY": "0", "PYTHONPATH": ""} | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """Return what ``sam init`` makes of a repository with everything that is not ignored here."""
    folder = tmp_path_factory.mktemp("init")
    repository = ("git", f"--git-dir={folder / 'origin.git'}", f"--work-tree={ROOT}")
    author = ("-c", "user.name=Somebody", "-c", "user.email=somebody@example.org")
    run(*repository, "init", "--quiet", cwd=ROOT)
    run(*repository, "add", "--all", cwd=ROOT)
    run(*repository, *author, "commit", "--quiet", "--message", "Everything", cwd=ROOT)

    # SAM clones into the home folder before it copies.
    run(SAM, "init", "--location", f"git+file://{folder / 'origin.git'}", "--name", "copy",
        "--no-interactive", cwd=folder, HOME=str(folder))  # fmt: skip
    return folder / "copy"


class TestCopy:
    """What ``sam init`` leaves."""

    def test_complete(self, copy):
        """The copy has every file, as it is, and can be run where the original can."""
        listed = run("git", f"--git-dir={copy.parent / 'origin.git'}", "ls-files", "-z", cwd=copy)
        names = listed.rstrip("\0").split("\0")

        assert {"template.yaml", "samconfig.toml", ".github/workflows/test.yml"} <= set(names)
        for name in names:
            original, copied = ROOT / name, copy / name
            assert copied.read_bytes() == original.read_bytes(), name
            assert os.access(copied, os.X_OK) == os.access(original, os.X_OK), name

    def test_nothing_else(self, copy):
        """Nothing that was made comes along, and no history: the copy begins its own."""
        names = {path.name for path in copy.iterdir()}

        assert not names & (MADE | {".git"})
        assert not list(copy.rglob("__pycache__"))


def test_release(copy):
    """The zip of a tag, as GitHub makes it, gives the same copy, but for what may be executed."""
    origin = f"--git-dir={copy.parent / 'origin.git'}"
    archive = copy.parent / "v0.1.0.zip"
    run(
        "git", origin, "archive", "--prefix=repository-0.1.0/", f"--output={archive}", "HEAD", cwd=copy.parent
    )
    run(SAM, "init", "--location", archive, "--name", "released", "--no-interactive",
        cwd=copy.parent, HOME=str(copy.parent))  # fmt: skip

    for name in run("git", origin, "ls-files", "-z", cwd=copy).rstrip("\0").split("\0"):
        assert (copy.parent / "released" / name).read_bytes() == (copy / name).read_bytes(), name


@pytest.fixture(scope="module")
def demo(copy, tmp_path_factory):
    """Return what ``make demo`` prints in the copy.

    An environment of its own takes 2 GB. ``make`` gets one that is ready: its Python is this one, and
    finds the copy's modules before those that are installed here.
    """
    environment = tmp_path_factory.mktemp("environment")
    (environment / "bin").mkdir()
    python = environment / "bin" / "python"
    search = os.pathsep.join((str(copy), str(copy / "layer" / "python")))
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{search}" exec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    (environment / "ready").touch()
    (copy / ".layers").mkdir()
    for name in filter(lambda name: (ROOT / ".layers" / name).exists(), (*BUILT, *FETCHED)):
        original, there = ROOT / ".layers" / name, copy / ".layers" / name
        if name in BUILT:
            shutil.copytree(original, there, symlinks=True)
        else:
            there.symlink_to(original)
    return run("make", "demo", f"VENV={environment}", cwd=copy, **BYTECODE)


class TestDemo:
    """``make demo`` in the copy."""

    def test_answer(self, copy, demo):
        """It translates as the original does, and saves what it shows."""
        response = json.loads((copy / ".demo" / "response.json").read_text())

        assert differences(case("event").answer, response) == []
        for name in ("s3_key", "attention_key"):
            assert (copy / ".demo" / response["body"][name]).is_file()
            assert f".demo/{response['body'][name]}" in demo

    @pytest.mark.usefixtures("demo")
    def test_own_code(self, copy):
        """What ran is the copy's: the commands, the builder, the function, and what the function imports."""
        left = {path.relative_to(copy) for path in copy.rglob("*.pyc") if ".layers" not in path.parts}
        modules = {f"{path.parent.parent / path.name.split('.')[0]}.py" for path in left}

        assert set(PARTS) <= modules
