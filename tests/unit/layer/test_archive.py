"""A nested layer's archive: the same tree makes the same bytes, and everybody can read them."""

import hashlib
import json
import os
import random
import tarfile

import pytest
import zstandard

from lambda_inference._unpack import unpack
from layer.builder.errors import ArchiveError
from layer.builder.pack import archive
from layer.builder.pack.archive import pack

FILES = {
    "package/__init__.py": b"",
    "package/module.py": b"print()\n" * 100,
    "package/data/ünïcode — name.txt": "é".encode(),
    "package/data/.hidden": b"0",
    "z" * 200 + "/" + "y" * 200: b"a path that an old tar has no room for",
    "a\nb": b"a name of two lines",
    "library.so": random.Random(7).randbytes(archive.FRAME) + bytes(archive.FRAME),  # noqa: S311
    "exactly-a-block": bytes(tarfile.BLOCKSIZE),
}


@pytest.fixture
def write(tmp_path):
    """Write a tree and return its folder."""

    def write(files=FILES, name="tree"):
        for path, data in files.items():
            file = tmp_path / name / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
        return tmp_path / name

    return write


@pytest.fixture
def index():
    """Read an archive's index as its format is written down, and where it begins."""

    def index(path):
        data = path.read_bytes()
        assert data[-4:] == b"LYRX"
        length = int.from_bytes(data[-8:-4], "little")
        start = len(data) - length - 16
        assert data[start : start + 4] == b"\x5e\x2a\x4d\x18"
        assert int.from_bytes(data[start + 4 : start + 8], "little") == length + 8
        text = data[start + 8 : -8]
        return json.loads(text), start, hashlib.sha256(text).hexdigest()

    return index


def read(folder):
    """Return the files of a folder and their bytes."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


class TestDeterminism:
    """The same tree and level give the same archive."""

    def test_times_order_and_modes_that_do_not_matter(self, write, tmp_path):
        """When files were written, in which order, and who may read them, changes no byte."""
        first = write()
        second = write(dict(reversed(FILES.items())), "second")
        for path in second.rglob("*"):
            os.utime(path, (1, 1))
        (second / "package" / "module.py").chmod(0o600)
        (second / "package").chmod(0o700)
        facts = pack(first, tmp_path / "first.tar.zst")
        assert pack(second, tmp_path / "second.tar.zst") == facts
        assert (tmp_path / "first.tar.zst").read_bytes() == (tmp_path / "second.tar.zst").read_bytes()

    @pytest.mark.parametrize("cores", [1, 5])
    def test_cores(self, write, tmp_path, monkeypatch, cores):
        """On any number of cores the frames and their order are the same."""
        tree = write()
        facts = pack(tree, tmp_path / "here.tar.zst")
        monkeypatch.setattr(os, "cpu_count", lambda: cores)
        assert pack(tree, tmp_path / "there.tar.zst") == facts
        assert (tmp_path / "here.tar.zst").read_bytes() == (tmp_path / "there.tar.zst").read_bytes()

    @pytest.mark.parametrize(
        "change",
        [
            lambda tree: (tree / "package" / "module.py").write_bytes(b"print(1)"),
            lambda tree: (tree / "package" / "module.py").chmod(0o755),
            lambda tree: (tree / "a\nb").rename(tree / "b"),
            lambda tree: (tree / "new").touch(),
        ],
        ids=["content", "executable", "name", "file"],
    )
    def test_what_matters(self, write, tmp_path, change):
        """Whatever the unpacked tree would show changes the hash that the marker has."""
        tree = write()
        before = pack(tree, tmp_path / "before.tar.zst")
        change(tree)
        assert pack(tree, tmp_path / "after.tar.zst").index_sha256 != before.index_sha256


class TestRoundTrip:
    """What was packed is what is unpacked."""

    def test_files(self, write, tmp_path):
        """Every file comes back: empty, hidden, oddly named, and over several frames."""
        facts = pack(write(), tmp_path / "layer.tar.zst")
        done = unpack(tmp_path / "layer.tar.zst", facts.index_sha256, temporary=tmp_path)
        assert read(done.folder) == FILES
        assert done.bytes == facts.tree_bytes

    def test_executables(self, write, tmp_path):
        """A file stays one that can be run; who else may write to it does not come along."""
        tree = write({"run": b"", "read": b"", "writable": b""})
        (tree / "run").chmod(0o750)
        (tree / "writable").chmod(0o666)
        facts = pack(tree, tmp_path / "layer.tar.zst")
        mask = os.umask(0)
        try:
            folder = unpack(tmp_path / "layer.tar.zst", facts.index_sha256, temporary=tmp_path).folder
        finally:
            os.umask(mask)
        modes = {path.name: path.stat().st_mode & 0o7777 for path in folder.iterdir()}
        assert modes == {"run": 0o755, "read": 0o644, "writable": 0o644}

    def test_empty_folders_stay_behind(self, write, tmp_path):
        """A folder comes with its files; one without any does not."""
        tree = write({"a/b/file": b""})
        (tree / "a" / "empty" / "deeper").mkdir(parents=True)
        facts = pack(tree, tmp_path / "layer.tar.zst")
        folder = unpack(tmp_path / "layer.tar.zst", facts.index_sha256, temporary=tmp_path).folder
        assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*")) == [
            "a",
            "a/b",
            "a/b/file",
        ]

    def test_nothing(self, tmp_path):
        """An empty tree is packed and unpacked as such."""
        (tmp_path / "tree").mkdir()
        facts = pack(tmp_path / "tree", tmp_path / "layer.tar.zst")
        assert (facts.tree_bytes, facts.files) == (0, 0)
        assert read(unpack(tmp_path / "layer.tar.zst", facts.index_sha256, temporary=tmp_path).folder) == {}

    def test_as_an_ordinary_archive(self, write, tmp_path):
        """Whoever reads .tar.zst files reads this one, index or not."""
        tree = write()
        (tree / "library.so").chmod(0o755)
        pack(tree, tmp_path / "layer.tar.zst")
        with (
            (tmp_path / "layer.tar.zst").open("rb") as file,
            zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True) as stream,
            tarfile.open(fileobj=stream, mode="r|") as tar,
        ):
            members = {member.name: (tar.extractfile(member).read(), member.mode) for member in tar}
        assert {name: data for name, (data, _) in members.items()} == FILES
        assert {name for name, (_, mode) in members.items() if mode & 0o100} == {"library.so"}


class TestIndex:
    """The index says where everything is."""

    def test_facts(self, write, tmp_path, index):
        """What the layer's report and marker are told is what is there."""
        facts = pack(write(), tmp_path / "layer.tar.zst")
        told, _, sha256 = index(tmp_path / "layer.tar.zst")
        assert facts.index_sha256 == sha256
        assert facts.bytes == (tmp_path / "layer.tar.zst").stat().st_size
        assert facts.tree_bytes == told["bytes"] == sum(map(len, FILES.values()))
        assert facts.files == len(told["files"]) == len(FILES)

    def test_frames(self, write, tmp_path, index):
        """Each frame is one of zstd's own, with its hash, and they fill the archive up to the index."""
        pack(write(), tmp_path / "layer.tar.zst")
        data = (tmp_path / "layer.tar.zst").read_bytes()
        told, start, _ = index(tmp_path / "layer.tar.zst")
        place = 0
        for offset, length, raw, sha256 in told["frames"]:
            assert offset == place
            frame = data[offset : offset + length]
            assert hashlib.sha256(frame).hexdigest() == sha256
            assert len(zstandard.decompress(frame)) == raw == zstandard.frame_content_size(frame)
            place += length
        assert place == start
        assert [raw for _, _, raw, _ in told["frames"][:-1]] == [archive.FRAME] * 2
        assert 0 < told["frames"][-1][2] <= archive.FRAME

    def test_files(self, write, tmp_path, index):
        """Each file is where the index says, in the tar stream that the frames are."""
        tree = write()
        (tree / "library.so").chmod(0o755)
        pack(tree, tmp_path / "layer.tar.zst")
        data = (tmp_path / "layer.tar.zst").read_bytes()
        told, _, _ = index(tmp_path / "layer.tar.zst")
        stream = b"".join(
            zstandard.decompress(data[offset : offset + length]) for offset, length, _, _ in told["frames"]
        )
        assert {path: stream[place : place + size] for path, size, place, *_ in told["files"]} == FILES
        assert [path for path, _, _, *mark in told["files"] if mark == [1]] == ["library.so"]
        assert told["files"] == sorted(told["files"], key=lambda file: file[2])

    def test_big_files_come_first(self, write, tmp_path, index):
        """The most work is begun first; beyond that, order is by name."""
        pack(write(), tmp_path / "layer.tar.zst")
        names = [path for path, *_ in index(tmp_path / "layer.tar.zst")[0]["files"]]
        assert names == ["library.so", *sorted(FILES.keys() - {"library.so"})]


class TestRefused:
    """What cannot be packed is told, and no archive is left that lacks it."""

    @pytest.fixture
    def refused(self, tmp_path):
        """Assert that a tree is refused, and that an archive of before is still there."""

        def refused(tree, match):
            (tmp_path / "archives").mkdir()
            target = tmp_path / "archives" / "layer.tar.zst"
            target.write_bytes(b"of before")
            with pytest.raises(ArchiveError, match=match):
                pack(tree, target)
            assert target.read_bytes() == b"of before"
            assert list(target.parent.iterdir()) == [target]

        return refused

    @pytest.mark.parametrize("target", ["file", "folder", "missing"])
    def test_links(self, write, refused, target):
        """No link is followed, wherever it leads."""
        tree = write({"file": b"", "folder/file": b""})
        (tree / "link").symlink_to(target)
        refused(tree, "link is neither a file nor a folder")

    def test_pipes(self, write, refused):
        """Nothing that is no file is opened."""
        tree = write({"file": b""})
        os.mkfifo(tree / "pipe")
        refused(tree, "pipe is neither a file nor a folder")

    def test_names_that_are_no_text(self, write, refused):
        """A name that JSON cannot hold is told as its bytes."""
        tree = write({"file": b""})
        (tree / os.fsdecode(b"fi\xffe")).touch()
        refused(tree, r"fi\\xffe' is not named in UTF-8; rename it")

    def test_no_tree(self, tmp_path, refused):
        """A folder that is not there is no empty tree."""
        refused(tmp_path / "missing", "missing cannot be read.*No such file")

    def test_too_deep(self, write, refused):
        """A path that the unpacker does not take is refused here, not at a cold start."""
        refused(write({"a/" * archive.DEPTH_LIMIT + "file": b""}), "more than 64 parts")

    def test_as_deep_as_may_be(self, write, tmp_path):
        """The limit itself is taken by both."""
        files = {"a/" * (archive.DEPTH_LIMIT - 1) + "file": b"deep"}
        facts = pack(write(files), tmp_path / "layer.tar.zst")
        folder = unpack(tmp_path / "layer.tar.zst", facts.index_sha256, temporary=tmp_path).folder
        assert read(folder) == files

    def test_an_index_that_is_too_long(self, write, refused, monkeypatch):
        """More files than the unpacker takes are refused here, too."""
        monkeypatch.setattr(archive, "INDEX_LIMIT", 500)
        refused(write(), "8 files are too many for one archive")

    @pytest.mark.parametrize("size", [0, 5, 2000])
    def test_a_file_that_changes(self, write, refused, monkeypatch, size):
        """A file that is longer or shorter than it was is no file of the tree that was listed."""
        tree = write({"file": bytes(1000)})
        listed = archive._list_files

        def change(folder):
            files = listed(folder)
            (tree / "file").write_bytes(bytes(size))
            return files

        monkeypatch.setattr(archive, "_list_files", change)
        refused(tree, "file changed while it was packed; pack again")
