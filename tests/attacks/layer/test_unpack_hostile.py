"""Attacks on a nested layer: hostile archives.

The README in the folder above says what each attack is, and what the answer must be.
"""

import copy
import hashlib
import json
import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard
from support.unpacking import (
    DAMAGED,
    FRAME_LIMIT,
    PROGRAM,
    SEED,
    Nested,
    contents,
    names,
)

from lambda_inference._unpack import UnpackError
from layer.builder.pack import archive

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
    "longest-path-and-one": ("a" * 127 + "/") * 31 + "a" * 128,
    "deep-path": "a/" * 1500 + "a",
    "deepest-path-and-one": "a/" * 64 + "a",
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
        files = [
            ["a/run", 5, 0, 1],
            ["...", 0, 5],
            ["a/" * 63 + "..b\n~", 10, 5],
            ["C:\\é", 1, len(DATA) - 1],
        ]
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
