"""A container engine, and an image of Lambda's runtime in it: what is there, or what Debian's packages make.

Where Docker answers it is used. Where it does not, and we may, Debian's is installed and started with
a data folder of its own, without touching the machine's packet filter, and ended with the tests. And
where AWS's image cannot be pulled, another stands in for it under its name: Debian's Python of the same
version, AWS's own runtime client, boto3.
"""

import contextlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path

from lambda_setup.deployment.local.process import Program
from layer.builder.pack.interpreter import find_debian_mirror
from layer.builder.target import Target

ROOT = Path(__file__).resolve().parents[2]

WORK = ROOT / ".e2e"
_DEBIAN = "python3-minimal,libpython3-stdlib,ca-certificates"
_RELEASES = {"3.11": "bookworm", "3.13": "trixie"}
# AWS's image of it is Amazon Linux 2, whose glibc, 2.26, is older than torch's wheels ask for.
_OLD_IMAGES = {"3.11"}
_DEBIAN_ARCHITECTURES = {"x86_64": "amd64", "arm64": "arm64"}
_CLIENTS = ("awslambdaric", "boto3")
# As Lambda's own: the code before the layers, the layers before the runtime.
_BOOTSTRAP = """\
#!/bin/sh
export PYTHONPATH=/var/task:/opt/python:/var/runtime
exec /usr/bin/python3 -P -m awslambdaric "$_HANDLER"
"""
_DOCKERFILE = """\
FROM scratch
ADD root.tar /
WORKDIR /var/task
ENV LAMBDA_TASK_ROOT=/var/task LAMBDA_RUNTIME_DIR=/var/runtime LANG=C.UTF-8
LABEL made-by="{label}"
"""
_LEFT_OUT = ("./var/cache", "./var/lib/apt", "./usr/share/doc", "./usr/share/locale", "./usr/share/man")


class EngineError(RuntimeError):
    """There is no container engine, and none can be had."""


class Engine:
    """A Docker that answers: ``environment`` leads to it."""

    def __init__(self, environment: Mapping[str, str], description: str) -> None:
        self.environment = {**os.environ, **environment}
        self.description = description

    def run(self, *command: object, timeout: float = 600) -> str:
        """Run a docker command and return what it prints.

        Raises:
            EngineError: it failed.

        """
        done = subprocess.run(
            ["docker", *map(str, command)],
            env={**self.environment, "DOCKER_BUILDKIT": "0"},  # Debian has no other builder
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
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
    if not all(map(shutil.which, ("dockerd", "iptables", "debootstrap"))):
        _apt("docker.io", "iptables", "debootstrap")
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


def _apt(*packages: str) -> None:
    for command in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
        subprocess.run(
            ["apt-get", "-qq", *command],
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            stdout=subprocess.DEVNULL,
            check=True,
        )


def runtime_image(engine: Engine, python: str, architecture: str) -> tuple[str, str]:
    """Have the image that ``sam local`` takes for a Python; return its name, and whose it is."""
    name = f"public.ecr.aws/lambda/python:{python}-{architecture}"
    stand_in = python in _OLD_IMAGES
    if _made_by(engine, name) is None and not stand_in:
        engine.has("pull", "--quiet", name, timeout=900)
    if _made_by(engine, name) not in ({_label()} if stand_in else {"", _label()}):
        _make(engine, name, python, architecture)
    made_by = _made_by(engine, name)
    return name, f"a stand-in made of {made_by}" if made_by else "AWS's own"


def _made_by(engine: Engine, name: str) -> str | None:
    """Return what a stand-in was made of, nothing for AWS's own image, and None if there is neither."""
    label = '{{index .Config.Labels "made-by"}}'
    return (
        engine.run("image", "inspect", "--format", label, name)
        if engine.has("image", "inspect", name)
        else None
    )


def _label() -> str:
    return ", ".join(["Debian's packages", *(f"{name} {version(name)}" for name in _CLIENTS)])


def _make(engine: Engine, name: str, python: str, architecture: str) -> None:
    if not shutil.which("debootstrap"):
        raise EngineError(f"{name} cannot be pulled, and its stand-in takes debootstrap to make")
    with tempfile.TemporaryDirectory(prefix="image-") as folder:
        root = Path(folder) / "root"
        _run(
            "debootstrap", f"--arch={_DEBIAN_ARCHITECTURES[architecture]}", "--variant=minbase",
            f"--include={_DEBIAN}", _RELEASES[python], root, find_debian_mirror() or "http://deb.debian.org/debian",
        )  # fmt: skip
        runtime = root / "var" / "runtime"
        target = Target(name, f"python{python}", architecture)
        _run(
            sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--target", runtime,
            *target.pip_options(), *(f"{name}=={version(name)}" for name in _CLIENTS),
        )  # fmt: skip
        (runtime / "bootstrap").write_text(_BOOTSTRAP)
        (runtime / "bootstrap").chmod(0o755)
        (root / "var" / "task").mkdir()
        # Not `docker import`: of a platform it takes only the operating system.
        (Path(folder) / "Dockerfile").write_text(_DOCKERFILE.format(label=_label()))
        _run(
            "tar", "-C", root, *(f"--exclude={path}" for path in _LEFT_OUT), "-cf", f"{folder}/root.tar", "."
        )
        shutil.rmtree(root)
        system = f"linux/{_DEBIAN_ARCHITECTURES[architecture]}"
        engine.run("build", "--quiet", "--platform", system, "--tag", name, folder)


def _run(*command: object) -> None:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise EngineError(f"{command[0]} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


@contextlib.contextmanager
def emulated_arm64() -> Iterator[None]:
    """Have the kernel run programs for arm64 through QEMU meanwhile, in containers too.

    Raises:
        EngineError: that takes Debian's packages, and root.

    """
    if platform.machine() in {"aarch64", "arm64"} or Path("/proc/sys/fs/binfmt_misc/qemu-aarch64").exists():
        yield
        return
    if os.geteuid() or not shutil.which("apt-get"):
        raise EngineError("programs for arm64 do not run here: install qemu-user-static and binfmt-support")
    _apt("binfmt-support", "qemu-user-static")
    mounted = Path("/proc/sys/fs/binfmt_misc/register").exists()
    if not mounted:
        _run("mount", "-t", "binfmt_misc", "binfmt_misc", "/proc/sys/fs/binfmt_misc")
    try:
        _run("update-binfmts", "--enable", "qemu-aarch64")
        yield
    finally:
        _run("update-binfmts", "--disable", "qemu-aarch64")
        if not mounted:
            _run("umount", "/proc/sys/fs/binfmt_misc")


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
