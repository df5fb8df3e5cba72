"""Attacks on a nested layer: processes killed at any instant, a full disk, damaged and hostile archives.

The README beside this file says what each attack is, and what the answer must be.
"""

import copy
import hashlib
import json
import os
import platform
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import zstandard
from support.project import ROOT

from lambda_inference import _unpack
from lambda_inference._unpack import UnpackError
from layer.builder.pack import archive
from layer.builder.pack.layer import ARCHIVE, MARKER, UNZIP

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


@pytest.fixture(scope="module")
def nested(tmp_path_factory) -> Nested:
    """Return a real archive of three frames: big files, small ones, empty ones, and one that can be run."""
    dice = random.Random(SEED)  # noqa: S311
    folder = tmp_path_factory.mktemp("nested")
    tree = folder / "tree"
    for number in range(120):
        path = tree / f"package{number % 8}" / f"sub{number % 3}" / f"module{number}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(dice.randbytes(dice.choice([0, 1, 511, 512, 513, 9000])))
    (tree / "library.so").write_bytes(
        dice.randbytes(300_000) + b"machine code" * 90_000 + dice.randbytes(200_000)
    )
    (tree / "library.so").chmod(0o755)
    (tree / "weights.bin").write_bytes(bytes(400_000) + dice.randbytes(100_000))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(archive, "FRAME", 1 << 20)
        packed = archive.pack(tree, folder / "layer.tar.zst")
    whole = (folder / "layer.tar.zst").read_bytes()
    frames = json.loads(whole[-8 - int.from_bytes(whole[-8:-4], "little") : -8])["frames"]
    assert len(frames) == 3
    ends = tuple(offset + length for offset, length, _, _ in frames)
    old = os.umask(0)
    os.umask(old)
    modes = {name: (data, mode & ~(old | 0o022)) for name, (data, mode) in contents(tree).items()}
    return Nested(folder / "layer.tar.zst", packed.index_sha256, modes, (0, *ends))


@pytest.fixture
def temporary(tmp_path) -> Path:
    """Return a folder for temporary files, in another one that nobody may touch."""
    folder = tmp_path / "outside" / "tmp"
    folder.mkdir(parents=True)
    (tmp_path / "outside" / "victim").write_text("untouched")
    return folder


# Killed, and more than one at once.


class TestKilled:
    """A process ends at any instant; the next one finds nothing wrong."""

    def test_at_random_instants(self, nested, temporary):
        """Spread over the whole time, a kill leaves no half tree and nothing that the next one keeps."""
        dice = random.Random(SEED)  # noqa: S311
        times = []
        for _ in range(3):
            process = nested.start(temporary)
            start = time.perf_counter()
            go(process)
            process.stdout.read()
            times.append(time.perf_counter() - start)
            assert process.wait() == 0
            shutil.rmtree(nested.final(temporary))

        struck = 0
        for number in range(INSTANTS):
            instant = dice.uniform(0, sorted(times)[1])
            if number % 2:  # wherever the clock says, which may be too late
                process = nested.start(temporary)
                go(process)
                time.sleep(instant)
                process.kill()
            else:
                process = nested.start(temporary, "any", dice.randrange(1, 130))
                go(process)
            struck += end(process) == ""
            try:
                nested.check_after_kill(temporary)
            except AssertionError as error:
                error.add_note(f"seed {SEED}, kill {number}, after {instant:.6f} of {times} s")
                raise
            shutil.rmtree(nested.final(temporary))
        assert struck >= INSTANTS // 2

    @pytest.mark.parametrize(
        ("event", "number"),
        [
            ("os.mkdir", 1),  # before anything is there
            ("fcntl.flock", 1),  # an empty folder that nobody has locked
            ("os.mkdir", 2),  # locked
            ("os.mkdir", 9),
            ("open", 3),  # the archive and its folder are the first two
            ("open", 40),
            ("open", 110),
            ("os.rename", 1),  # everything is there, under the other name
        ],
    )
    def test_at_every_kind_of_step(self, nested, temporary, event, number):
        """Whatever it was about to do, the next one begins anew."""
        process = nested.start(temporary, event, number)
        go(process)
        assert end(process) == ""
        assert process.returncode == -signal.SIGKILL
        assert not nested.final(temporary).exists()
        nested.check_after_kill(temporary)

    def test_again_and_again(self, nested, temporary):
        """Every attempt is killed a little later than the one before; the last one is whole."""
        for number in (30, 60, 90, 120):
            process = nested.start(temporary, "any", number)
            go(process)
            assert end(process) == ""
            assert names(temporary) == [nested.partial(temporary).name]
        nested.check_after_kill(temporary)


class TestAtOnce:
    """Of several processes one unpacks, and the others use what it made."""

    @pytest.mark.parametrize("count", [2, 4])
    def test_one_unpacks(self, nested, temporary, count):
        """They start together; exactly one makes the tree."""
        processes = [nested.start(temporary) for _ in range(count)]
        go(*processes)
        assert sorted(map(end, processes)) == ["made", *["reused"] * (count - 1)]
        nested.check(temporary)

    @pytest.mark.parametrize("count", [2, 4])
    def test_one_is_killed(self, nested, temporary, count):
        """Whoever of them is killed in the midst, the others end well."""
        victim = nested.start(temporary, "any", 60)  # of its own steps, if it is the one that unpacks
        others = [nested.start(temporary) for _ in range(count - 1)]
        go(victim, *others)
        assert sorted(map(end, others)) == ["made", *["reused"] * (count - 2)]
        assert end(victim) in {"", "reused"}
        nested.check(temporary)

    @pytest.mark.parametrize("count", [1, 3])
    def test_waiting_ones_take_over(self, nested, temporary, count):
        """Of those that wait for a process that is killed one unpacks, over what that left."""
        first = nested.start(temporary, "open", 50, "SIGSTOP")
        go(first)
        stopped(first)
        others = [nested.start(temporary) for _ in range(count)]
        go(*others)
        for process in others:
            assert process.stdout.readline() == "lock\n"
        first.kill()
        assert sorted(map(end, others)) == ["made", *["reused"] * (count - 1)]
        assert end(first) == ""
        nested.check(temporary)

    def test_a_waiting_one_uses_what_is_made(self, nested, temporary):
        """Who waits for a process that goes on does not unpack a second time."""
        first = nested.start(temporary, "open", 50, "SIGSTOP")
        go(first)
        stopped(first)
        second = nested.start(temporary)
        go(second)
        assert second.stdout.readline() == "lock\n"
        first.send_signal(signal.SIGCONT)
        assert end(first) == "made"
        assert end(second) == "reused"
        nested.check(temporary)

    def test_all_cores_are_used(self, nested, temporary, monkeypatch):
        """No frame is begun before there is a thread at work for each core."""
        together = threading.Barrier(len(nested.frames) - 1, timeout=60)
        load = _unpack._Work._load
        monkeypatch.setattr(_unpack, "_count_cores", lambda: together.parties)
        monkeypatch.setattr(_unpack._Work, "_load", lambda *given: (together.wait(), load(*given)))
        nested.unpack(temporary)
        nested.check(temporary)

    def test_a_slow_one_finds_it_done(self, nested, temporary):
        """Another one begins and ends after a look that found nothing: its tree is used."""
        slow = nested.start(temporary, "os.mkdir", 1, "SIGSTOP")
        go(slow)
        stopped(slow)
        fast = nested.start(temporary)
        go(fast)
        assert end(fast) == "made"
        slow.send_signal(signal.SIGCONT)
        assert end(slow) == "reused"
        nested.check(temporary)

    def test_a_waiting_one_survives_a_failure(self, nested, temporary, tmp_path):
        """Who waits for a process that fails tries for itself."""
        damaged = tmp_path / "damaged.tar.zst"
        whole = bytearray(nested.archive.read_bytes())
        whole[nested.frames[2] + 100] ^= 1
        damaged.write_bytes(whole)
        first = replace(nested, archive=damaged).start(temporary, "os.mkdir", 5, "SIGSTOP")
        go(first)
        stopped(first)
        second = nested.start(temporary)
        go(second)
        assert second.stdout.readline() == "lock\n"
        first.send_signal(signal.SIGCONT)
        assert end(second) == "made"
        assert end(first) == ""
        nested.check(temporary)


# No room.

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


def index_of(nested: Nested) -> list[_unpack._File]:
    """Return the files of an archive's index."""
    with nested.archive.open("rb") as file:
        return _unpack._read_index(nested.archive, file.fileno(), nested.index).files


# Damaged.


class TestDamaged:
    """The archive is not the one that the layer was built with."""

    @pytest.fixture
    def refused(self, nested, temporary, tmp_path):
        """Assert that other bytes of the archive are refused, and leave nothing."""
        damaged = replace(nested, archive=tmp_path / "damaged.tar.zst")

        def refused(data: bytes, what: str) -> None:
            damaged.archive.write_bytes(data)
            try:
                damaged.unpack(temporary)
            except UnpackError as error:
                told = str(error)
            else:
                pytest.fail(f"{what} went unnoticed")
            assert told.startswith(f"{damaged.archive}: "), what
            assert told.endswith(DAMAGED), what
            assert names(temporary) == [], what

        return refused

    def positions(self, start: int, end: int, count: int) -> list[int]:
        """Return the ends of a range, and random places in it."""
        dice = random.Random(SEED)  # noqa: S311
        return [start, end - 1, *(dice.randrange(start, end) for _ in range(count))]

    @pytest.mark.parametrize("number", range(3))
    def test_a_byte_of_a_frame(self, nested, refused, number):
        """A flipped bit in the first, the last or any other byte of a frame is found."""
        whole = nested.archive.read_bytes()
        dice = random.Random(SEED)  # noqa: S311
        for place in self.positions(nested.frames[number], nested.frames[number + 1], 6):
            data = bytearray(whole)
            data[place] ^= 1 << dice.randrange(8)
            refused(bytes(data), f"byte {place} of frame {number}")

    def test_a_byte_of_the_index(self, nested, refused):
        """Its header, its text, its length and its tag are all looked at."""
        whole = nested.archive.read_bytes()
        start, end = nested.frames[-1], len(whole)
        places = [*range(start, start + 8), *range(end - 8, end), *self.positions(start, end, 20)]
        for place in places:
            data = bytearray(whole)
            data[place] ^= 0x10
            refused(bytes(data), f"byte {place - start} of the index")

    def test_truncated(self, nested, refused):
        """An archive that ends too early is none, wherever it ends."""
        whole = nested.archive.read_bytes()
        near = [place + step for place in nested.frames for step in (-1, 0, 1, 8) if place + step >= 0]
        for end in [*near, 7, 15, 16, 17, len(whole) - 8, *self.positions(0, len(whole), 10)]:
            refused(whole[:end], f"the end at {end}")

    def test_longer(self, nested, refused):
        """Bytes behind, before or between are found, an archive behind the archive too."""
        whole = nested.archive.read_bytes()
        for more in (b"\0", bytes(8), whole[-8:], whole[nested.frames[-1] :], whole):
            refused(whole + more, f"{len(more)} bytes more")
        refused(whole + b"LYRX", "a second tag")
        refused(b"\0" + whole, "a byte before")
        middle = nested.frames[1]
        refused(whole[:middle] + whole[middle : middle + 1] + whole[middle:], "a byte twice")

    def test_frames_in_another_order(self, nested, refused):
        """Each frame is itself, and none is where it belongs."""
        whole = nested.archive.read_bytes()
        _, one, two, three = nested.frames
        refused(whole[one:two] + whole[:one] + whole[two:], "two frames changed places")
        refused(whole[:one] + whole[two:three] + whole[one:two] + whole[three:], "the last two did")

    def test_another_archive(self, refused, tmp_path):
        """A sound archive of another tree is not taken for this one."""
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "file").write_text("other")
        archive.pack(tmp_path / "other", tmp_path / "other.tar.zst")
        refused((tmp_path / "other.tar.zst").read_bytes(), "another tree")

    def test_no_archive(self, nested, temporary):
        """No file, a folder, or a device without an end is an error, and no wait."""
        for path in (temporary / "missing", temporary.parent, Path("/dev/zero"), Path("/dev/null")):
            with pytest.raises(UnpackError, match=re.escape(str(path))):
                _unpack.unpack(path, nested.index, temporary=temporary)
        assert names(temporary) == []

    @pytest.mark.parametrize("index", ["", "a" * 63, "A" * 64, "a" * 64 + "\n", "../" * 20 + "aaaa"])
    def test_a_hash_that_is_none(self, nested, temporary, index):
        """What the marker says is judged before it becomes a part of a path."""
        with pytest.raises(UnpackError, match="is not the sha256 of an index"):
            _unpack.unpack(nested.archive, index, temporary=temporary)
        assert names(temporary) == []


# The folder.


class TestPlace:
    """What is already where the tree is to be: a finished tree, or a trap."""

    def test_a_finished_tree_is_left_alone(self, nested, temporary):
        """It is used as it is: not a file is written again."""
        assert not nested.unpack(temporary).reused
        before = changes(nested.final(temporary))
        again = nested.unpack(temporary)
        assert again.reused
        assert again.folder == nested.final(temporary)
        assert again.bytes == sum(file.size for file in index_of(nested))
        assert changes(nested.final(temporary)) == before

    def test_a_removed_tree_is_made_again(self, nested, temporary):
        """A temporary folder that was cleaned is no reason to fail."""
        nested.unpack(temporary)
        shutil.rmtree(nested.final(temporary))
        assert not nested.unpack(temporary).reused
        nested.check(temporary)

    @pytest.mark.parametrize("which", ["final", "partial"])
    @pytest.mark.parametrize("trap", ["link", "dangling", "file", "writable", "foreign"])
    def test_a_trap_is_refused(self, nested, temporary, tmp_path, which, trap):
        """What others may have put there is neither used nor written to nor removed."""
        place = getattr(nested, which)(temporary)
        if trap == "link":
            place.symlink_to(tmp_path / "outside")
        elif trap == "dangling":
            place.symlink_to(tmp_path / "outside" / "made")
        elif trap == "file":
            place.write_text("file")
        else:
            place.mkdir()
            (place / "planted.py").write_text("planted")
            if trap == "writable":
                place.chmod(0o777)
            elif os.geteuid():
                pytest.skip("only root can give a folder away")
            else:
                os.chown(place, 65534, 65534)
        before = contents(tmp_path)
        with pytest.raises(UnpackError, match="find out who made it, and remove it"):
            nested.unpack(temporary)
        assert contents(tmp_path) == before

    def test_links_that_a_dead_one_left(self, nested, temporary, tmp_path):
        """They are removed, and nothing behind them is."""
        partial = nested.partial(temporary)
        partial.mkdir(mode=0o700)
        (partial / "package0").symlink_to(tmp_path / "outside")
        (partial / "library.so").symlink_to(tmp_path / "outside" / "victim")
        (partial / "folder").mkdir()
        (partial / "folder" / "link").symlink_to(tmp_path / "outside")
        nested.unpack(temporary)
        nested.check(temporary)
        assert (tmp_path / "outside" / "victim").read_text() == "untouched"

    def test_no_folder_for_temporary_files(self, nested, tmp_path):
        """It is an error that names the folder, and no endless attempt."""
        with pytest.raises(UnpackError, match=re.escape(str(tmp_path / "missing"))):
            nested.unpack(tmp_path / "missing")


# The whole layer, as a function has it.

FORK = """
from types import SimpleNamespace
from lambda_inference import BaseRequest, serve, _serving

class Store:
    def load(self, stop):
        return SimpleNamespace(version="1", manifest=SimpleNamespace(name="model")), None

class Fork:
    Request = BaseRequest

    def __init__(self):
        import packed

    def load(self, model):
        pass

_serving.ModelStore = SimpleNamespace(from_environment=Store)
context = SimpleNamespace(get_remaining_time_in_millis=lambda: 9000, aws_request_id="1")
assert serve(Fork)({"warmup": True}, context)["statusCode"] == 200
"""


class TestLayer:
    """A function finds what its layer has packed, or is told why not."""

    @pytest.fixture
    def layer(self, tmp_path) -> Path:
        """Return a built layer: a marker, an archive with one package, and the one line of code."""
        (tmp_path / "tree" / "packed").mkdir(parents=True)
        (tmp_path / "tree" / "packed" / "__init__.py").write_text('TEXT = "from the archive"\n')
        folder = tmp_path / "layer" / "python"
        folder.mkdir(parents=True)
        done = archive.pack(tmp_path / "tree", folder / ARCHIVE)
        marker = {
            "engine": "any",
            "runtime": f"python{sys.version_info.major}.{sys.version_info.minor}",
            "architecture": {"aarch64": "arm64"}.get(platform.machine(), platform.machine()),
            "archive": {"file": ARCHIVE, "index": done.index_sha256, "bytes": done.tree_bytes},
        }
        (folder / MARKER).write_text(json.dumps(marker))
        (folder / "unzip_requirements.py").write_text(UNZIP)
        return folder

    def run(self, layer: Path, temporary: Path, code: str) -> subprocess.CompletedProcess:
        """Run code in a fresh interpreter that has the layer on its path."""
        environment = {"PYTHONPATH": f"{layer}:{ROOT / 'layer' / 'python'}", "TMPDIR": str(temporary)}
        command = [sys.executable, "-c", code]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    def damage(self, layer: Path) -> None:
        """Flip a bit of the archive's only frame."""
        data = bytearray((layer / ARCHIVE).read_bytes())
        data[30] ^= 1
        (layer / ARCHIVE).write_bytes(data)

    @pytest.mark.parametrize("first", ["import unzip_requirements", "import lambda_inference"])
    def test_one_line(self, layer, temporary, first):
        """After either import, what is packed can be imported, from the temporary folder."""
        done = self.run(layer, temporary, f"{first}\nimport packed\nprint(packed.TEXT, packed.__file__)")
        (folder,) = temporary.iterdir()
        assert done.stdout == f"from the archive {folder / 'packed' / '__init__.py'}\n"

    def test_one_line_fails(self, layer, temporary):
        """An archive that is damaged is told where it is asked for."""
        self.damage(layer)
        done = self.run(layer, temporary, "import unzip_requirements")
        assert done.returncode == 1
        assert "UnpackError: " in done.stderr.splitlines()[-1]
        assert DAMAGED in done.stderr.splitlines()[-1]
        assert names(temporary) == []

    def test_an_import_fails(self, layer, temporary):
        """A damaged archive is told by the import of what is in it, and by no other."""
        self.damage(layer)
        code = (
            "import lambda_inference, email\ntry: import missing\nexcept ModuleNotFoundError: pass\n"
            "try: import packed\nexcept ImportError as error: print(type(error).__name__, error)"
        )
        done = self.run(layer, temporary, code)
        assert done.stdout.startswith(f"ImportError packed cannot be imported: {layer / ARCHIVE}: ")
        assert DAMAGED in done.stdout
        assert done.stderr == ""

    def test_the_metric(self, layer, temporary):
        """The cold start's metrics tell how long it took."""
        done = self.run(layer, temporary, FORK)
        assert done.stderr == ""
        metrics = [line for line in map(json.loads, done.stdout.splitlines()) if "LayerUnpack" in line]
        assert len(metrics) == 1
        ((milliseconds,), described) = metrics[0]["LayerUnpack"], metrics[0]["_aws"]["CloudWatchMetrics"][0]
        assert milliseconds > 0
        assert {"Name": "LayerUnpack", "Unit": "Milliseconds"} in described["Metrics"]

    @pytest.mark.parametrize(
        "said",
        [
            {"file": "../layer.tar.zst"},
            {"file": "/layer.tar.zst"},
            {"file": "folder/layer.tar.zst"},
            {"file": 7},
            {"index": "0" * 63},
            {"index": None},
            {"index": "../" * 21 + "a"},
        ],
    )
    def test_a_marker(self, layer, temporary, said):
        """A marker that leads out of the layer, or names no hash, is refused."""
        marker = json.loads((layer / MARKER).read_text())
        (layer / MARKER).write_text(json.dumps(marker | {"archive": marker["archive"] | said}))
        done = self.run(layer, temporary, "import unzip_requirements")
        assert done.returncode == 1
        assert f"{layer / MARKER} does not describe its archive" in done.stderr
        assert names(temporary) == []


# Hostile: the marker's hash is that of a forged index, so nothing but the index's sense protects.

DATA = b"the data of a stream\n" * 30


def forge(path: Path, index: Any, data: bytes) -> Nested:
    """Write frames and an index, whatever it says, and the hash that belongs to it."""
    text = index if isinstance(index, bytes) else json.dumps(index).encode()
    end = archive.MAGIC + (len(text) + 8).to_bytes(4, "little") + text
    path.write_bytes(data + end + len(text).to_bytes(4, "little") + archive.TAG)
    return Nested(path, hashlib.sha256(text).hexdigest(), {})


def frame(data: bytes, raw: int, offset: int = 0) -> list[Any]:
    """Return what an index says of a frame."""
    return [offset, len(data), raw, hashlib.sha256(data).hexdigest()]


def honest(files: list[Any] | None = None) -> tuple[dict[str, Any], bytes]:
    """Return an index that is right but for its files, and its one frame."""
    files = [["file", len(DATA), 0]] if files is None else files
    data = zstandard.compress(DATA)
    sizes = [file[1] for file in files if isinstance(file, list) and type(file[1]) is int]
    return {"version": 1, "bytes": sum(sizes), "frames": [frame(data, len(DATA))], "files": files}, data


PATHS = {
    "parent": "../made",
    "parent-inside": "folder/../../made",
    "parent-at-the-end": "folder/..",
    "only-parent": "..",
    "absolute": "/OUTSIDE/made",
    "double-slash": "//made",
    "empty-part": "folder//made",
    "here": "./made",
    "here-inside": "folder/./made",
    "root": "/",
    "empty": "",
    "slash-at-the-end": "made/",
    "nul": "made\0.py",
    "nul-and-parent": "made\0/../../made",
    "long-path": "a/" * 2048 + "a",
    "long-path-in-utf-8": "é/" * 2000 + "é",
    "deep-path": "a/" * 1500 + "a",
    "half-a-character": "\ud800",
    "number": 7,
    "null": None,
    "list": ["made"],
}

LONG_NAMES = {
    "ascii": "a" * 256,
    "utf-8": "é" * 128,
    "folder": "a" * 256 + "/file",
    "deep": "a/" * 60 + "b" * 256,
}

HUGE = 10**30
FILES: dict[str, list[Any]] = {
    "twice": [["made", 5, 0], ["made", 5, 5]],
    "twice-and-empty": [["made", 0, 0], ["made", 0, 0]],
    "file-then-inside-it": [["made", 5, 0], ["made/file", 5, 5]],
    "inside-it-then-file": [["made/deep/file", 5, 0], ["made", 5, 5]],
    "kind-0": [["made", 5, 0, 0]],
    "kind-2": [["made", 5, 0, 2]],
    "symbolic-link": [["made", 5, 0, "../victim"]],
    "link-then-through-it": [["made", 0, 0, "link:.."], ["made/victim", 5, 0]],
    "hard-link": [["made", 5, 0, {"link": "../victim"}]],
    "device": [["made", 5, 0, [1, 3]]],
    "mode-with-setuid": [["made", 5, 0, 0o4755]],
    "five-values": [["made", 5, 0, 1, 1]],
    "two-values": [["made", 5]],
    "no-list": [7],
    "text": ["made"],
    "object": [{"path": "made", "size": 5, "offset": 0}],
    "overlapping": [["made", 10, 0], ["second", 10, 5]],
    "same-place": [["made", 10, 0], ["second", 10, 0]],
    "backwards": [["made", 10, 20], ["second", 10, 0]],
    "behind-the-stream": [["made", 1, len(DATA)]],
    "beyond-the-stream": [["made", len(DATA) + 1, 0]],
    "huge-size": [["made", HUGE, 0]],
    "huge-offset": [["made", 5, HUGE]],
    "negative-size": [["made", -5, 10]],
    "negative-offset": [["made", 5, -1]],
    "negative-and-right-in-sum": [["made", -5, 0], ["second", 10, 0]],
    "fraction": [["made", 5.0, 0]],
    "true": [["made", True, False]],
    "text-for-a-number": [["made", "5", "0"]],
    "null-for-a-number": [["made", None, 0]],
}


def frames_that_lie() -> dict[str, tuple[list[Any], bytes]]:
    """Return frames that are not what the index says, or where it says, and the bytes there."""
    data, size = zstandard.compress(DATA), len(DATA)
    bomb = zstandard.compress(bytes(256 << 20), 1)
    liar = bytearray(zstandard.compress(bytes(64 << 20)))
    assert liar[4] >> 6 == 2  # its header has the length in four bytes, behind the window's one, if any
    place = 5 if liar[4] & 0x20 else 6
    assert int.from_bytes(liar[place : place + 4], "little") == 64 << 20
    liar[place : place + 4] = size.to_bytes(4, "little")
    half = zstandard.compress(DATA[: size // 2])
    silent = zstandard.ZstdCompressor(write_content_size=False).compress(DATA)
    skipped = archive.MAGIC + (8).to_bytes(4, "little") + bytes(8)
    long = data + archive.MAGIC + (9 << 20).to_bytes(4, "little") + bytes(9 << 20)
    first = frame(data, size)
    return {
        "bomb": ([frame(bomb, size)], bomb),
        "bomb-as-large-as-may-be": ([frame(bomb, FRAME_LIMIT)], bomb),
        "bomb-that-is-declared": ([frame(bomb, 256 << 20)], bomb),
        "bomb-with-a-forged-header": ([frame(bytes(liar), size)], bytes(liar)),
        "smaller": ([frame(data, size + 1)], data),
        "larger": ([frame(data, size - 1)], data),
        "two-in-one": ([frame(half + half, size)], half + half),
        "one-and-a-hidden-one": ([frame(data + half, size)], data + half),
        "too-long": ([frame(long, size)], long),
        "no-length": ([frame(silent, size)], silent),
        "nothing-to-decompress": ([frame(skipped, size)], skipped),
        "no-frame": ([frame(DATA, size)], DATA),
        "one-byte": ([frame(b"(", size)], b"("),
        "another-hash": ([[*first[:3], "0" * 64]], data),
        "no-hash": ([[*first[:3], None]], data),
        "hash-with-capitals": ([[*first[:3], first[3].upper()]], data),
        "overlapping": ([first, frame(data, size)], data + data),
        "gap": ([first, frame(data, size, len(data) + 1)], data + b"0" + data),
        "not-from-the-start": ([frame(data, size, 1)], b"0" + data),
        "not-to-the-end": ([first], data + b"0"),
        "over-the-end": ([[0, len(data) + 1, *first[2:]]], data),
        "negative-offset": ([[-1, *first[1:]]], data),
        "negative-length": ([[0, -1, *first[2:]]], data),
        "negative-raw": ([[*first[:2], -size, first[3]]], data),
        "huge-offset": ([[HUGE, *first[1:]]], data),
        "huge-length": ([[0, HUGE, *first[2:]]], data),
        "huge-raw": ([[*first[:2], HUGE, first[3]]], data),
        "nothing": ([[0, 0, 0, ""]], b""),
        "fraction": ([[0.0, *first[1:]]], data),
        "text": ([["0", *first[1:]]], data),
        "three-values": ([first[:3]], data),
        "five-values": ([[*first, 1]], data),
        "no-list": ([7], data),
        "none": ([], b""),
    }


LIES = frames_that_lie()

INDEXES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "later-version": lambda index: index | {"version": 2},
    "version-in-text": lambda index: index | {"version": "1"},
    "version-without-end": lambda index: index | {"version": HUGE},
    "no-version": lambda index: {key: index[key] for key in index if key != "version"},
    "no-files": lambda index: {key: index[key] for key in index if key != "files"},
    "no-frames": lambda index: {key: index[key] for key in index if key != "frames"},
    "no-bytes": lambda index: {key: index[key] for key in index if key != "bytes"},
    "files-in-text": lambda index: index | {"files": "files"},
    "files-null": lambda index: index | {"files": None},
    "frames-in-an-object": lambda index: index | {"frames": {"0": 1}},
    "more-bytes": lambda index: index | {"bytes": index["bytes"] + 1},
    "no-number-of-bytes": lambda index: index | {"bytes": None},
    "list": lambda index: [index],
    "null": lambda _: None,
    "text": lambda _: "index",
    "no-json": lambda _: b"{",
    "nothing": lambda _: b"",
    "two": lambda index: json.dumps(index).encode() * 2,
    "not-in-utf-8": lambda index: json.dumps(index).encode().replace(b"file", b"fi\xffe"),
    "latin-1": lambda index: json.dumps(index).replace('"file"', '"fil\xe9"').encode("latin-1"),
    "deep": lambda _: b"[" * 100_000,
    "deep-and-whole": lambda _: b"[" * 100_000 + b"]" * 100_000,
    "not-a-number": lambda index: json.dumps(index).encode().replace(b'"bytes": ', b'"bytes": NaN, "was": '),
    "infinite": lambda index: json.dumps(index).encode().replace(b'["file", ', b'["file", Infinity, '),
    "endless-number": lambda index: (
        json.dumps(index).encode().replace(b'"version": 1', b'"version": ' + b"1" * 9000)
    ),
}


class TestHostile:
    """Archives that are consistent and made to do harm."""

    @pytest.fixture
    def refused(self, temporary, tmp_path):
        """Assert that a forged archive is refused, and touches nothing."""

        def refused(index: Any, data: bytes) -> None:
            forged = forge(tmp_path / "forged.tar.zst", index, data)
            before = contents(tmp_path)
            with pytest.raises(UnpackError) as caught:
                forged.unpack(temporary)
            assert str(caught.value).startswith(f"{forged.archive}: ")
            assert str(caught.value).encode().endswith(DAMAGED.encode())
            assert contents(tmp_path) == before

        return refused

    def test_the_forger_can_be_honest(self, temporary, tmp_path):
        """What the other tests forge is refused for its lie, and nothing else."""
        files = [["a/run", 5, 0, 1], ["...", 0, 5], ["a/..b\n~", 10, 5], ["C:\\é", 1, len(DATA) - 1]]
        forged = forge(tmp_path / "forged.tar.zst", *honest(files))
        assert not forged.unpack(temporary).reused
        folder = forged.final(temporary)
        found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
        assert found == {path for path, *_ in files}
        for path, size, offset, *executable in files:
            assert (folder / path).read_bytes() == DATA[offset : offset + size]
            assert bool((folder / path).stat().st_mode & 0o100) == bool(executable)

    @pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
    @pytest.mark.parametrize("size", [0, len(DATA)])
    def test_a_path(self, refused, tmp_path, path, size):
        """A path that leads out, has no name, or is no path is not followed."""
        if isinstance(path, str):
            path = path.replace("OUTSIDE", str(tmp_path / "outside")[1:])
        refused(*honest([[path, size, 0]]))

    @pytest.mark.parametrize("path", LONG_NAMES.values(), ids=LONG_NAMES)
    def test_a_long_name(self, temporary, tmp_path, path):
        """How long a name may be is the file system's to say."""
        forged = forge(tmp_path / "forged.tar.zst", *honest([["first", 5, 0], [path, 5, 5]]))
        with pytest.raises(UnpackError, match=r"it could not be unpacked to .* File name too long"):
            forged.unpack(temporary)
        assert names(temporary) == []

    @pytest.mark.parametrize("files", FILES.values(), ids=FILES)
    def test_files(self, refused, files):
        """There are files only, each once, in their order, and where there is data."""
        refused(*honest(files))

    @pytest.mark.parametrize("lie", LIES)
    def test_frames(self, refused, lie):
        """A frame is where it is said to be, and as long; more is not even decompressed."""
        frames, data = LIES[lie]
        refused(honest()[0] | {"frames": frames}, data)

    @pytest.mark.parametrize("change", INDEXES.values(), ids=INDEXES)
    def test_an_index(self, refused, change):
        """What is no index is told as such."""
        index, data = honest()
        refused(change(index), data)

    def test_an_index_that_is_too_long(self, temporary, tmp_path):
        """It is refused for its length; it is not even read."""
        text = b" " * (archive.INDEX_LIMIT + 1)
        forged = forge(tmp_path / "forged.tar.zst", text, b"")
        with pytest.raises(UnpackError, match="there is no index at its end"):
            forged.unpack(temporary)

    def test_a_bomb_takes_no_memory(self, tmp_path, temporary):
        """A process that may have little more memory than it has refuses a frame of 256 MiB."""
        frames, data = LIES["bomb-as-large-as-may-be"]
        forged = forge(tmp_path / "forged.tar.zst", honest()[0] | {"frames": frames}, data)
        limit = "import resource; resource.setrlimit(resource.RLIMIT_DATA, (96 << 20, 96 << 20))\n"
        command = [limit + PROGRAM if word == PROGRAM else word for word in forged.command(temporary)]
        done = subprocess.run(command, input="\n", capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert f"does not hold {FRAME_LIMIT} bytes" in done.stderr
        assert names(temporary) == []

    def test_the_tar_stream_is_not_believed(self, temporary, tmp_path):
        """Links and paths that stand in the stream, as tar would follow them, do nothing."""
        import io
        import tarfile

        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as tar:
            for name, kind, target in (
                ("link", tarfile.SYMTYPE, str(tmp_path / "outside")),
                ("link/made", tarfile.REGTYPE, ""),
                ("../made", tarfile.REGTYPE, ""),
                ("hard", tarfile.LNKTYPE, "../victim"),
                ("device", tarfile.CHRTYPE, ""),
            ):
                member = tarfile.TarInfo(name)
                member.type, member.linkname = kind, target
                tar.addfile(member)
        raw = stream.getvalue()
        data = zstandard.compress(raw)
        index = honest()[0] | {"frames": [frame(data, len(raw))], "files": [["link/made", 4, 0]], "bytes": 4}
        forged = forge(tmp_path / "forged.tar.zst", index, data)
        before = contents(tmp_path / "outside")
        forged.unpack(temporary)
        folder = forged.final(temporary)
        assert set(contents(folder)) == {"link", "link/made"}
        assert (folder / "link/made").read_bytes() == raw[:4]
        shutil.rmtree(folder)
        assert contents(tmp_path / "outside") == before

    def test_random_lies(self, temporary, tmp_path):
        """Whatever an index says, it is refused, or its files are made inside, and nothing else is."""
        dice = random.Random(SEED)  # noqa: S311
        values = [*PATHS.values(), -1, 0, 1, 5, HUGE, 0.5, True, {}, [], "a", "a/b", "b", len(DATA)]
        made = 0
        for attempt in range(400):
            index, data = honest([["a", 5, 0], ["b/c", 10, 5], ["b/d", 0, 15, 1]])
            index = copy.deepcopy(index)
            for _ in range(dice.randint(1, 2)):
                mutate(index, dice, values)
            forged = forge(tmp_path / "forged.tar.zst", index, data)
            try:
                forged.unpack(temporary)
            except UnpackError:
                assert names(temporary) == [], f"seed {SEED}, attempt {attempt}: {index}"
                continue
            made += 1
            folder = forged.final(temporary)
            found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
            assert found == {file[0] for file in index["files"]}, f"seed {SEED}, attempt {attempt}: {index}"
            shutil.rmtree(folder)
            assert contents(tmp_path / "outside").keys() == {"tmp", "victim"}
        assert 0 < made < 400


def mutate(index: dict[str, Any], dice: random.Random, values: list[Any]) -> None:
    """Change one value, anywhere in an index; the sum of all sizes stays right now and then."""
    place: Any = index
    key: Any = dice.choice([*index, "files", "files", "files"])
    while isinstance(place[key], list) and place[key] and dice.random() < 0.9:
        place = place[key]
        key = dice.randrange(len(place))
    place[key] = dice.choice(values)
    try:
        index["bytes"] = sum(file[1] for file in index["files"])
    except (TypeError, IndexError, KeyError):
        return
