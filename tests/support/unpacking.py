"""A nested layer to attack, and processes that unpack it."""

import hashlib
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zstandard

from lambda_inference import _unpack
from support.project import ROOT

SEED = 20261121
INSTANTS = 50
DAMAGED = "the layer is damaged or incomplete: deploy it again"
FRAME_LIMIT = _unpack.FRAME_LIMIT

PYTHON = (sys.executable, "-I", "-S")
IMPORTS = f"{ROOT / 'layer' / 'python' / 'lambda_inference'}:{Path(zstandard.__file__).parent.parent}"
"""What the unpacker needs, and nothing that would make its start slow."""

Contents = dict[str, tuple[str, int | str]]

PROGRAM = """
import os, signal, sys

paths, archive, index, temporary, event, number, name = sys.argv[1:]
sys.path += paths.split(":")
import _unpack, zstandard
from pathlib import Path

EVENTS = ("fcntl.flock", "open", "os.mkdir", "os.rename")
seen = 0

def watch(what, arguments):
    global seen
    if what == "fcntl.flock":
        print("lock", flush=True)
    if what == event or event == "any" and what in EVENTS:
        seen += 1
        if seen == int(number):
            os.kill(os.getpid(), getattr(signal, name))

print("ready", flush=True)
sys.stdin.readline()
sys.addaudithook(watch)
done = _unpack.unpack(Path(archive), index, temporary=Path(temporary))
print("reused" if done.reused else "made", seen, flush=True)
"""
"""Unpacks once it is told to, and sends itself a signal before the given system call."""


# What is attacked, and with what.


@dataclass(frozen=True)
class Nested:
    """An archive, what its marker says, and what must come out of it."""

    archive: Path
    index: str
    tree: Contents
    frames: tuple[int, ...] = ()
    """Where each frame starts, and where the last one ends."""

    def final(self, temporary: Path) -> Path:
        """Return where the tree appears."""
        return temporary / f"layer-{self.index[:32]}"

    def partial(self, temporary: Path) -> Path:
        """Return where the tree is until it is whole."""
        return temporary / f"layer-{self.index[:32]}.partial"

    def unpack(self, temporary: Path) -> _unpack.Unpacked:
        """Unpack here and now."""
        return _unpack.unpack(self.archive, self.index, temporary=temporary)

    def command(
        self, temporary: Path, event: str = "none", number: int = 0, name: str = "SIGKILL"
    ) -> list[str]:
        """Return the command that unpacks, with the event at which it gets a signal, if any."""
        arguments = [IMPORTS, self.archive, self.index, temporary, event, number, name]
        return [*PYTHON, "-c", PROGRAM, *map(str, arguments)]

    def start(self, temporary: Path, *signalled: Any) -> subprocess.Popen:
        """Start a process that unpacks as soon as it may go."""
        process = subprocess.Popen(
            self.command(temporary, *signalled), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout.readline() == "ready\n"
        return process

    def check(self, temporary: Path) -> None:
        """Assert that the tree is there, right, and alone."""
        assert contents(self.final(temporary)) == self.tree
        assert names(temporary) == [self.final(temporary).name]

    def check_after_kill(self, temporary: Path) -> None:
        """Assert that a dead process left no half tree, and that the next one makes all good."""
        if self.final(temporary).exists():
            assert contents(self.final(temporary)) == self.tree
        process = self.start(temporary)
        go(process)
        assert end(process) in {"made", "reused"}
        self.check(temporary)


def go(*processes: subprocess.Popen) -> None:
    """Let waiting processes unpack."""
    for process in processes:
        process.stdin.write("\n")
    for process in processes:
        process.stdin.flush()


def end(process: subprocess.Popen) -> str:
    """Return how a process says that it ended: "made", "reused", or nothing when it was killed."""
    output, _ = process.communicate()
    words = output.split()
    return words[-2] if process.returncode == 0 else ""


def stopped(process: subprocess.Popen) -> None:
    """Wait until a process has stopped itself."""
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)


def names(folder: Path) -> list[str]:
    """Return what is in a folder."""
    return sorted(path.name for path in folder.iterdir())


def changes(folder: Path) -> dict[Path, tuple[int, int]]:
    """Return which file everything in a folder is, and when it was last touched."""
    return {path: (path.stat().st_ino, path.stat().st_ctime_ns) for path in folder.rglob("*")}


def contents(folder: Path) -> Contents:
    """Return all that is in a folder: hashes and modes of files, targets of links, and folders."""
    found: Contents = {}
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = ("link", str(path.readlink()))
        elif path.is_dir():
            found[name] = ("folder", path.stat().st_mode)
        else:
            found[name] = (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mode)
    return found


def index_of(nested: Nested) -> list[_unpack._File]:
    """Return the files of an archive's index."""
    with nested.archive.open("rb") as file:
        return _unpack._read_index(nested.archive, file.fileno(), nested.index).files
