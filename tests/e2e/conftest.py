"""Shared by the runs in containers: the engine, the image, what ``sam build`` leaves, and S3."""

import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.project import SCRIPTS

from e2e.engine import ROOT, WORK, Engine, _apt, container_engine, runtime_image
from lambda_setup.deployment.local.process import Program, listens
from layer.builder.target import HOST, get_target

HERE = get_target(HOST)
PYTHON, ARCHITECTURE, CONFIG = HERE.python, HERE.architecture, "e2e"
# The environment is written for Python 3.11 on x86_64; another machine says so to every command.
OPTIONS = (
    "--config-env", CONFIG,
    "--parameter-overrides", f"Engine=opennmt Architecture={ARCHITECTURE} PythonVersion={PYTHON} Channel=dev",
)  # fmt: skip
S3_PORT = 8333  # make s3's


@dataclass(frozen=True)
class Sam:
    """The program, in the project, with a container engine."""

    engine: Engine

    @property
    def environment(self) -> dict[str, str]:
        """What the program finds, with neither profile nor keys: it would ask AWS who they are."""
        gone = {
            "AWS_PROFILE",
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_SESSION_TOKEN",
            "PYTHONPATH",
        }
        kept = {name: value for name, value in self.engine.environment.items() if name not in gone}
        # The image is there, and a stand-in for it cannot be pulled.
        ours = {"SAM_CLI_TELEMETRY": "0", "SAM_SKIP_PULL_IMAGE": "1", "PYTHON": sys.executable}
        return kept | ours

    def command(self, *arguments: object) -> list[str]:
        """Return a command of the program."""
        return [str(part) for part in (SCRIPTS / "sam", *arguments)]

    def run(self, *arguments: object, cwd: Path = ROOT, timeout: float = 600) -> subprocess.CompletedProcess:
        """Run a command and return how it ended."""
        return subprocess.run(
            self.command(*arguments),
            cwd=cwd,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )


@pytest.fixture(scope="session")
def say(request):
    """Print a line that is seen whatever pytest captures."""
    manager = request.config.pluginmanager.getplugin("capturemanager")

    def said(line: str) -> None:
        with manager.global_and_fixture_disabled():
            print(f"  {line}", flush=True)

    return said


@pytest.fixture(scope="session")
def chromium():
    """Chromium's program; that there is none is a failure."""
    if not shutil.which("chromium") and shutil.which("apt-get") and not os.geteuid():
        _apt("chromium")
    found = shutil.which("chromium") or shutil.which("google-chrome")
    assert found, (
        "the pages are tested in Chromium, and only root on Debian can install it here: install yours"
    )
    return found


@pytest.fixture(scope="session")
def engine(say):
    """Yield a container engine; that there is none is a failure."""
    with container_engine() as found:
        say(f"containers: {found.description}")
        yield found


@pytest.fixture(scope="session")
def image(engine, say):
    """Return the image of Lambda's runtime, under AWS's name."""
    name, whose = runtime_image(engine, PYTHON, ARCHITECTURE)
    say(f"image: {name}, {whose}")
    return name


@pytest.fixture(scope="session")
def sam(engine):
    """Return the SAM CLI."""
    return Sam(engine)


@pytest.fixture(scope="session")
def built(sam):
    """Return what ``sam build`` leaves."""
    done = sam.run("build", *OPTIONS)
    assert done.returncode == 0, done.stderr
    return ROOT / ".aws-sam" / "build"


@contextmanager
def serving(engine):
    """Run ``make s3``'s own command meanwhile; the engine's bridge is there already, and it binds to it."""
    WORK.mkdir(exist_ok=True)
    with (WORK / "s3.log").open("wb") as log:
        program = Program(
            [sys.executable, "-m", "lambda_setup", "s3"], env=engine.environment, cwd=ROOT, log=log
        )
        try:
            program.wait_until(lambda: b"serving" in (WORK / "s3.log").read_bytes(), seconds=300)
            assert listens(S3_PORT)
            yield f"http://127.0.0.1:{S3_PORT}"
        finally:
            program.stop()


@pytest.fixture(scope="session")
def s3(engine):
    """Yield what ``make s3`` serves."""
    with serving(engine) as endpoint:
        yield endpoint
