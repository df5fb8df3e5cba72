"""Attacks on a nested layer: a full disk.

The README in the folder above says what each attack is, and what the answer must be.
"""

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.unpacking import IMPORTS, PYTHON, index_of

from lambda_inference import _unpack
from lambda_inference._unpack import UnpackError

ROOM = """
import json, os, re, subprocess, sys
from pathlib import Path

paths, archive, index, disk, copy, attack, *victim = sys.argv[1:]
sys.path += paths.split(":")
import _unpack, zstandard

written = {"os.mkdir": 0, "open": 0}
filling = attack == "fill"

def fill():
    with open(disk + "/filler", "wb", buffering=0) as filler:
        try:
            while filler.write(bytes(4096)):
                pass
        except OSError:
            pass

def watch(what, arguments):
    global filling
    if what == "os.mkdir" or what == "open" and arguments[2] & os.O_ACCMODE != os.O_RDONLY:
        written[what] += 1
        if filling and written["open"] == 20:
            filling = False
            fill()

def attempt():
    try:
        _unpack.unpack(Path(archive), index, temporary=Path(disk))
    except _unpack.UnpackError as error:
        return str(error)

told = {}
status = os.statvfs(disk)
told["free"] = status.f_bavail * status.f_frsize
if victim:
    told["killed"] = subprocess.run(victim, input="\\n", text=True, stdout=subprocess.DEVNULL).returncode
sys.addaudithook(watch)
told["error"] = attempt()
told["written"] = dict(written)
told["left"] = os.listdir(disk)
if attack == "fill":
    os.unlink(disk + "/filler")
elif attack == "small":
    told["least"] = int(re.search("at least ([0-9]+) ", told["error"])[1])
    subprocess.run(["mount", "-o", f"remount,size={told['least']}m", disk], check=True)
told["again"] = attempt()
subprocess.run(["cp", "-a", disk, copy], check=True)
print(json.dumps(told))
"""
"""Unpacks on a small disk of its own, which an attack keeps small, or fills, or both."""


@pytest.fixture
def on_a_disk(nested, tmp_path) -> Callable[..., dict[str, Any]]:
    """Attack on a disk of a size in bytes; what it has in the end is copied to ``tmp_path / "copy"``."""
    namespace = ["unshare", "--user", "--map-root-user", "--mount"]
    mount = ["sh", "-c", 'mount -t tmpfs -o size="$1" tmpfs "$2" && shift 2 && exec "$@"', "sh"]
    disk = tmp_path / "disk"
    disk.mkdir()
    probe = [*namespace, *mount, "1m", str(disk), "true"]
    if not shutil.which("unshare") or subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip("this system lets nobody mount a disk in a namespace of one's own")

    def attack(size: int, name: str, *victim: Any) -> dict[str, Any]:
        killed = nested.command(disk, *victim) if victim else []
        arguments = [IMPORTS, nested.archive, nested.index, disk]
        program = [*PYTHON, "-c", ROOM, *arguments, tmp_path / "copy", name, *killed]
        command = [*namespace, *mount, str(size), str(disk), *map(str, program)]
        return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)

    return attack


def test_a_size_that_is_enough(monkeypatch):
    """It has room for what the disk has already, the archive's blocks, and the file system itself."""
    disk = SimpleNamespace(f_frsize=4096, f_blocks=512 << 8, f_bavail=100 << 8)
    monkeypatch.setattr(os, "fstatvfs", lambda _: disk)
    index = SimpleNamespace(files=[SimpleNamespace(size=(1000 << 20) - 1)])
    with pytest.raises(UnpackError, match=r"takes 1,048,580,096 bytes.*, and 104,857,600 .* 1429 \(MB\)"):
        _unpack._check_space(Path("a"), 0, index, folders=1)
    disk.f_bavail = 1000 << 8
    with pytest.raises(UnpackError, match="takes 1,048,580,096 bytes"):
        _unpack._check_space(Path("a"), 0, index, folders=1)
    disk.f_bavail += 1
    _unpack._check_space(Path("a"), 0, index, folders=1)


class TestFull:
    """The disk has no room for the tree, or no longer."""

    def test_too_small(self, nested, on_a_disk, tmp_path):
        """Nothing is written; the error names the bytes, and a size that is enough."""
        told = on_a_disk(1 << 20, "small")
        size = sum(file.size for file in index_of(nested))
        needed = int(re.search(r"it takes ([0-9,]+) bytes", told["error"])[1].replace(",", ""))
        assert size < needed < size + 4096 * len(nested.tree)
        assert f"and {told['free']:,} are free; raise EphemeralStorage in template.yaml" in told["error"]
        assert told["written"] == {"os.mkdir": 1, "open": 0}
        assert told["left"] == []
        assert told["least"] << 20 > needed
        assert told["again"] is None
        nested.check(tmp_path / "copy")

    def test_filled_meanwhile(self, nested, on_a_disk, tmp_path):
        """Something else takes the room in the midst: nothing half stays, and later all is well."""
        told = on_a_disk(8 << 20, "fill")
        assert (
            "was full before the archive was unpacked; raise EphemeralStorage in template.yaml"
            in told["error"]
        )
        assert told["written"]["open"] >= 20
        assert told["left"] == ["filler"]
        assert told["again"] is None
        nested.check(tmp_path / "copy")

    def test_with_what_a_dead_one_left(self, nested, on_a_disk, tmp_path):
        """There is room for one tree only: what a killed process wrote is thrown away first."""
        size = sum(file.size for file in index_of(nested))
        told = on_a_disk(size + 4096 * len(nested.tree), "kill", "os.rename", 1)
        assert told["killed"] == -signal.SIGKILL
        assert told["error"] is None
        assert told["written"]["open"] >= 120
        nested.check(tmp_path / "copy")
