"""A container engine, and an image of Lambda's runtime in it: what is there, or what Debian's packages make.

Where Docker answers it is used. Where it does not, and we may, Debian's is installed and started with
a data folder of its own, without touching the machine's packet filter, and ended with the tests. And
where AWS's image cannot be pulled, another stands in for it under its name: Debian's Python of the same
version, AWS's own runtime client, boto3.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path

from lambda_setup.local.emulator import link_runtime
from lambda_setup.local.process import Program
from layer.interpreter import debian_mirror

ROOT = Path(__file__).resolve().parents[2]

WORK = ROOT / ".e2e"
_PACKAGES = ("docker.io", "iptables", "debootstrap")
_DEBIAN = "python3-minimal,libpython3-stdlib,ca-certificates"
_RELEASES = {"3.11": "bookworm", "3.13": "trixie"}
# As Lambda's own: the code before the layers, the layers before the runtime.
_BOOTSTRAP = """\
#!/bin/sh
export PYTHONPATH=/var/task:/opt/python:/var/runtime
exec /usr/bin/python3 -P -m awslambdaric "$_HANDLER"
"""
_LEFT_OUT = ("./var/cache", "./var/lib/apt", "./usr/share/doc", "./usr/share/locale", "./usr/share/man")


class EngineError(RuntimeError):
    """There is no container engine, and none can be had."""


class Engine:
    """A Docker that answers: ``environment`` leads to it."""

    def __init__(self, environment: Mapping[str, str], description: str) -> None:
        self.environment = {**os.environ, **environment}
        self.description = description

    def run(self, *command: object, timeout: float = 600, **options: object) -> str:
        """Run a docker command and return what it prints.

        Raises:
            EngineError: it failed.

        """
        done = subprocess.run(
            ["docker", *map(str, command)],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            **options,
        )
        if done.returncode:
            raise EngineError(f"docker {command[0]} failed: {done.stderr.strip()}")
        return done.stdout.strip()

    def has(self, *command: object, timeout: float = 600) -> bool:
        """Return whether a docker command succeeds."""
        try:
            self.run(*command, timeout=timeout)
        except (EngineError, FileNotFoundError, subprocess.TimeoutExpired):
            return False
        return True


@contextlib.contextmanager
def container_engine() -> Iterator[Engine]:
    """Yield the machine's Docker, or one that is started for this.

    Raises:
        EngineError: there is none, and none can be started.

    """
    found = Engine({}, "the machine's own Docker")
    if found.has("info", timeout=20):
        yield found
        return
    if os.geteuid() or not shutil.which("apt-get"):
        raise EngineError("no Docker answers, and only root on Debian can start one here: start yours")
    _install()
    WORK.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="docker-") as name, (WORK / "dockerd.log").open("wb") as log:
        socket = f"unix://{name}/docker.sock"
        program = Program(
            ["dockerd", f"--data-root={WORK / 'docker'}", f"--exec-root={name}/exec", f"--host={socket}",
             f"--pidfile={name}/docker.pid", "--iptables=false", "--ip-forward=false"],
            env={"PATH": os.environ["PATH"], "HOME": name},
            cwd=Path(name),
            log=log,
            grace=60,
        )  # fmt: skip
        try:
            engine = Engine({"DOCKER_HOST": socket}, "a Docker that was started for this")
            program.wait_until(lambda: engine.has("info", timeout=20), seconds=60)
            yield engine
        finally:
            program.stop()
            subprocess.run(["ip", "link", "delete", "docker0"], capture_output=True, check=False)


def _install() -> None:
    if all(map(shutil.which, ("dockerd", "iptables", "debootstrap"))):
        return
    for command in (["update"], ["install", "--yes", "--no-install-recommends", *_PACKAGES]):
        subprocess.run(
            ["apt-get", "-qq", *command],
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            stdout=subprocess.DEVNULL,
            check=True,
        )


def runtime_image(engine: Engine, python: str, architecture: str) -> tuple[str, str]:
    """Have the image that ``sam local`` takes for a Python; return its name, and whose it is."""
    name = f"public.ecr.aws/lambda/python:{python}-{architecture}"
    if not engine.has("image", "inspect", name) and not engine.has("pull", "--quiet", name, timeout=900):
        _make(engine, name, python)
    made_by = engine.run("image", "inspect", "--format", '{{index .Config.Labels "made-by"}}', name)
    return name, f"a stand-in made of {made_by}" if made_by else "AWS's own"


def _label() -> str:
    return f"Debian's packages, awslambdaric {version('awslambdaric')} and boto3 {version('boto3')}"


def _make(engine: Engine, name: str, python: str) -> None:
    if python != f"{sys.version_info.major}.{sys.version_info.minor}":
        raise EngineError(f"{name} cannot be pulled, and its stand-in takes Python {python} to make")
    if not shutil.which("debootstrap"):
        raise EngineError(f"{name} cannot be pulled, and its stand-in takes debootstrap to make")
    with tempfile.TemporaryDirectory(prefix="image-") as folder:
        root = Path(folder) / "root"
        done = subprocess.run(
            ["debootstrap", "--variant=minbase", f"--include={_DEBIAN}", _RELEASES[python], root,
             debian_mirror() or "http://deb.debian.org/debian"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise EngineError(f"debootstrap failed: {done.stdout[-2000:]}")
        links, runtime = Path(folder) / "links", root / "var" / "runtime"
        links.mkdir()
        link_runtime(links)
        shutil.copytree(links, runtime, ignore=shutil.ignore_patterns("__pycache__"))
        (runtime / "bootstrap").write_text(_BOOTSTRAP)
        (runtime / "bootstrap").chmod(0o755)
        (root / "var" / "task").mkdir()
        exclude = [f"--exclude={path}" for path in _LEFT_OUT]
        packed = subprocess.Popen(["tar", "-C", root, *exclude, "-c", "."], stdout=subprocess.PIPE)
        changes = ("WORKDIR /var/task", f'LABEL made-by="{_label()}"',
                   "ENV LAMBDA_TASK_ROOT=/var/task LAMBDA_RUNTIME_DIR=/var/runtime LANG=C.UTF-8")  # fmt: skip
        options = [part for change in changes for part in ("--change", change)]
        engine.run("import", *options, "-", name, stdin=packed.stdout)
        packed.wait()


@contextlib.contextmanager
def container(engine: Engine, *arguments: object) -> Iterator[str]:
    """Yield the id of a container that runs meanwhile."""
    identity = engine.run("run", "--detach", *arguments)
    try:
        yield identity
    finally:
        engine.has("rm", "--force", identity)


def wait_until(ready: object, seconds: float) -> None:
    """Wait until a function says yes.

    Raises:
        TimeoutError: it did not in time.

    """
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            raise TimeoutError(f"not ready after {seconds:.0f} seconds")
        time.sleep(0.1)
