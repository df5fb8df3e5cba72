"""Attacks on a nested layer: damaged archives, traps in the folder, and the whole layer as a function has it.

The README in the folder above says what each attack is, and what the answer must be.
"""

import json
import os
import platform
import random
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.project import ROOT
from support.unpacking import DAMAGED, SEED, changes, contents, index_of, names

from lambda_inference import _unpack
from lambda_inference._unpack import UnpackError
from layer.builder.pack import archive
from layer.builder.pack.layer import ARCHIVE, MARKER, UNZIP


def test_a_file_that_lies_in_two_frames(tmp_path, temporary, monkeypatch):
    """It is written whole, wherever the file before it begins."""
    dice = random.Random(SEED)  # noqa: S311
    (tmp_path / "tree").mkdir()
    for name, size in (("a.bin", 900_000), ("b.bin", 300_000)):
        (tmp_path / "tree" / name).write_bytes(dice.randbytes(size))
    monkeypatch.setattr(archive, "FRAME", 1 << 20)
    packed = archive.pack(tmp_path / "tree", tmp_path / ARCHIVE)
    done = _unpack.unpack(tmp_path / ARCHIVE, packed.index_sha256, temporary=temporary)
    found, expected = ({name: data for name, (data, _) in contents(folder).items()}
                       for folder in (done.folder, tmp_path / "tree"))  # fmt: skip
    assert found == expected


class _NamespacePath(list):
    """A namespace package's path, by its type's name."""


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

    def test_no_file_stays_open(self, nested, temporary):
        """A process may have a thousand, and a layer has more files."""
        before = len(names(Path("/dev/fd")))
        nested.unpack(temporary)
        assert len(names(Path("/dev/fd"))) == before

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

    def test_in_this_process(self, layer, temporary, monkeypatch):
        """It is unpacked once, and is found right behind its layer, before what comes after that."""
        monkeypatch.setattr(tempfile, "tempdir", str(temporary))
        monkeypatch.setattr(_unpack, "_layers", {})
        monkeypatch.setattr(sys, "path", ["/before", str(layer), "/after"])
        unpacked = _unpack.ensure(layer)
        assert sys.path == ["/before", str(layer), str(unpacked.folder), "/after"]
        assert unpacked.folder.parent == temporary
        assert _unpack.ensure(layer) is _unpack.result() is unpacked

    def test_an_import_waits(self, layer, tmp_path):
        """Until the layer is unpacked, if it may be in there, as a part of a namespace may."""
        claimed = _unpack._Layer(layer, layer / ARCHIVE, "")
        (tmp_path / "part.py").touch()
        claimed.done = SimpleNamespace(wait=lambda: setattr(claimed, "unpacked", "the result"))
        claimed._list(frozenset({"packed"}))
        assert claimed.find_spec("other", None) is None
        assert claimed.find_spec("packed.part", [str(tmp_path)]) is None
        assert claimed.unpacked is None
        assert claimed.find_spec("packed.part", _NamespacePath([str(tmp_path)])).name == "packed.part"
        assert claimed.wait() == "the result"

    def test_one_line_fails(self, layer, temporary):
        """An archive that is damaged is told where it is asked for."""
        self.damage(layer)
        done = self.run(layer, temporary, "import unzip_requirements")
        assert done.returncode == 1
        assert "UnpackError: " in done.stderr.splitlines()[-1]
        assert DAMAGED in done.stderr.splitlines()[-1]
        assert names(temporary) == []

    def test_no_decompressor(self, layer, temporary):
        """A layer that was packed without it is told with what to change."""
        done = self.run(
            layer, temporary, "import sys; sys.modules['zstandard'] = None; import unzip_requirements"
        )
        assert "UnpackError: " in done.stderr
        assert f"{layer / ARCHIVE}: zstandard, which unpacks it, is missing beside it; add it" in done.stderr
        assert names(temporary) == []

    def test_no_decompressor_in_the_background(self, layer, monkeypatch):
        """It is told at once, where an import is allowed, and not by the first import of what is packed."""
        monkeypatch.setattr(_unpack, "_layers", {})
        monkeypatch.setattr(sys, "meta_path", sys.meta_path)
        monkeypatch.setitem(sys.modules, "zstandard", None)
        with pytest.raises(UnpackError, match="zstandard, which unpacks it, is missing beside it"):
            _unpack.begin(layer)

    def test_an_unreadable_marker(self, layer):
        """What there is in the marker's place is told, with the system's reason."""
        (layer / MARKER).unlink()
        (layer / MARKER).mkdir()
        with pytest.raises(UnpackError, match=f"{layer / MARKER} cannot be read: .*directory"):
            _unpack.ensure(layer)

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
