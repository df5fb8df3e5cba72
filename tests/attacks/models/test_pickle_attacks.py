"""Attacks on publishing: files of a model that would run code when something loads them.

The README beside this file says what each attack is, and what the answer must be.
"""

import argparse
import functools
import io
import operator
import os
import pickle
import struct
import warnings
import zipfile
import zlib
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from support.applications import create_bucket

from lambda_setup.__main__ import main
from lambda_setup.models import pickles

BUCKET = "attacked"
MARKER = "marker"
"""A file that the attacks make in the current folder, should any of them be loaded."""
SYSTEM = f"{os.system.__module__}.system"


class Calls:
    """Pickled, it is a call."""

    def __init__(self, function, *arguments) -> None:
        self._call = function, arguments

    def __reduce__(self):
        return self._call


EVIL = Calls(os.system, f"touch {MARKER}")


def dumped(what, protocol: int = 2) -> bytes:
    """Return a pickle."""
    return pickle.dumps(what, protocol)


def zipped(*members: tuple[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """Return a checkpoint as torch writes it, of any members."""
    file = io.BytesIO()
    with (
        zipfile.ZipFile(file, "w", compression) as archive,
        warnings.catch_warnings(action="ignore"),
    ):  # of names twice
        for name, data in (*members, ("archive/version", b"3\n")):
            archive.writestr(name, data)
    return file.getvalue()


def saved(what, *, legacy: bool = False) -> bytes:
    """Return what torch saves."""
    file = io.BytesIO()
    torch.save(what, file, _use_new_zipfile_serialization=not legacy)
    return file.getvalue()


def pushed(text: str) -> bytes:
    """Return the operation that puts a string on a pickle's stack."""
    return b"X" + struct.pack("<I", len(text)) + text.encode()


def nested(depth: int, step: bytes) -> bytes:
    """Return a checkpoint whose one key is a tuple in tuples, so deep."""
    return zipped(("archive/data.pkl", b"\x80\x02})" + step * depth + b"K\x01s."))


@pytest.fixture(scope="module")
def client(stack):
    """Yield a real S3 server with an empty bucket."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in stack.s3.environment().items():
            patch.setenv(name, value)
        create_bucket(stack, BUCKET)
        yield stack.client


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """Return a model's folder, which is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder: Path, name: str, data: bytes) -> Path:
    """Write a model of one file."""
    (folder / name).write_bytes(data)
    (folder / "model.toml").write_text(
        f'name = "a"\nengine = "opennmt"\nprecision = "float32"\nfiles = ["{name}"]\n[libraries]\n'
    )
    return folder / name


def assert_refused(client, folder: Path, capsys, name: str, told: str) -> None:
    """Publish the model, which must end with one line, nothing uploaded, and nothing run."""
    assert main(["model", "publish", str(folder), "--bucket", BUCKET]) == 2
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
    assert line.startswith(f"error: {name} ")
    assert told in line
    assert "Contents" not in client.list_objects_v2(Bucket=BUCKET)
    assert not (folder / MARKER).exists()


def test_the_attacks_work(folder):
    """Loaded as pickles are loaded, they run what they name; so it means something that here they do not."""
    pickle.loads(dumped(EVIL))  # noqa: S301 - our own, which touches a file
    assert (folder / MARKER).exists()


@pytest.mark.sample(4)
@pytest.mark.parametrize("protocol", range(6))
def test_raw(client, folder, capsys, protocol):
    """A pickle of any protocol is known by what it holds, also where it looks like text."""
    write(folder, "words.txt", dumped(EVIL, protocol))
    assert_refused(client, folder, capsys, "words.txt", f"it names {SYSTEM}")


NAMES = f"it names {SYSTEM}"
MEMOISED = b"\x80\x04" + pushed("system") + b"\x94" + pushed(os.system.__module__) + b"h\x00\x93"


@pytest.mark.sample(5)
@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("enes.model", dumped(EVIL, 4), NAMES),
        ("words.pkl", dumped(["harmless"]), "does not load as tensors"),
        ("notes.txt", dumped(EVIL, 0)[:-1] + b"\xff", NAMES),
        ("weights.pt", saved(EVIL), NAMES),
        ("weights.bin", saved({"model": torch.ones(3), "opt": argparse.Namespace(a=EVIL)}), NAMES),
        ("weights.pt", saved({"model": torch.ones(3), "opt": [EVIL]}, legacy=True), NAMES),
        ("forest.joblib", dumped(EVIL, 4)[:-1] + np.ones(9).tobytes(), NAMES),
        ("forest.joblib", zlib.compress(dumped(EVIL, 4)), "does not load as tensors"),
        ("weights.dat", dumped(Calls(eval, f"open({MARKER!r}, 'w')")), "it names builtins.eval"),
        ("weights.pt", saved(functools.partial(os.system, f"touch {MARKER}")), "functools.partial"),
        ("weights.pt", saved(Calls(operator.methodcaller("mkdir", MARKER), Path())), "operator.methodcaller"),
        ("weights.dat", MEMOISED + pushed(f"touch {MARKER}") + b"\x85R.", NAMES),
        ("weights.pt", zipped(("archive/data.pkl", dumped(1)), ("archive/data.pkl", dumped(EVIL))), NAMES),
        (
            "weights.pt",
            zipped(("archive/data.pkl", dumped(1)), compression=zipfile.ZIP_DEFLATED),
            "it is compressed",
        ),
        ("weights.pt", zipped(("archive/data.pkl", dumped(EVIL)), ("archive/data.pkl", dumped(1))), NAMES),
        (
            "weights.pt",
            zipped(("archive/data.pkl", dumped(1)), ("archive/DATA.PKL", dumped(2))),
            "and archive/DATA.PKL",
        ),
        ("policy.zip", zipped(("archive/data.pkl", dumped(1)), ("policy.pkl", dumped(EVIL))), NAMES),
        (
            "model.pt",
            zipped(("archive/code/a.py", b""), ("archive/constants.pkl", dumped(1))),
            "constants.pkl",
        ),
        ("weights.pt", b"", "does not load as tensors alone"),
        ("weights.pt", saved(torch.nn.Linear(2, 2)), "torch.nn.modules.linear.Linear"),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else value,
)
def test_disguised(client, folder, capsys, name, data, told):
    """Whatever it is called, wrapped in or made of, it is refused by name, and told what it would call."""
    write(folder, name, data)
    assert_refused(client, folder, capsys, name, told)


@pytest.mark.sample(4)
@pytest.mark.parametrize(
    "data",
    [
        nested(80, b"q\x00h\x00\x86"),
        nested(1_000_000, b"\x85"),
        zipped(("archive/data.pkl", b"\x80\x02cbuiltins\nbytearray\n(\x8a\x06" + b"\0" * 5 + b"\x01tR.")),
        zipped(("archive/data.pkl", b"\x80\x02r\xff\xff\xff\x7f.")),
    ],
    ids=["a key whose hash takes forever", "deep", "a terabyte", "a memo of two thousand million"],
)
def test_bombs(client, folder, capsys, monkeypatch, data):
    """What takes all the time, stack or memory there is costs a few seconds, and is refused."""
    monkeypatch.setattr(pickles, "SECONDS", 6)
    write(folder, "weights.pt", data)
    assert_refused(client, folder, capsys, "weights.pt", "does not load as tensors alone")


class Shape(OrderedDict):
    """A class that no engine admits."""


@pytest.mark.sample(2)
@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("weights.pt", saved({"a": torch.ones(3), "opt": argparse.Namespace(a={"b": [1, None, "c"]})})),
        ("weights.pt", saved(OrderedDict(a=torch.ones(3, dtype=torch.float16)), legacy=True)),
        ("pytorch_model.bin", saved({"a": torch.ones(3)})),
        ("words.txt", b"cat\ndog\nRed\nblue.\n"),
        ("words.txt", b"(in brackets\nthere is room\nReally.\n"),
        ("card.md", b"counting\nsheep\n(tR"[:-3] + b"0.\n"),
        ("weights.safetensors", struct.pack("<Q", 2) + b"{}"),
        ("arrays.npz", zipped(("a.npy", b"any"))),
        ("empty.txt", b""),
    ],
)
def test_harmless(folder, name, data):
    """Tensors, options, text and other formats pass."""
    pickles.check([write(folder, name, data)])


def test_without_torch(folder, monkeypatch):
    """Where torch is missing, that is said, and how to get it; what is no pickle does not need it."""
    runner = folder / "runner.py"
    hidden = "import sys; sys.modules['torch'] = None\n"
    runner.write_text(hidden + Path(pickles._RUNNER).read_text())
    monkeypatch.setattr(pickles, "_RUNNER", runner)
    pickles.check([write(folder, "words.txt", b"cat\n")])
    with pytest.raises(pickles.UnsafePickle, match="is not installed; run: pip install torch"):
        pickles.check([write(folder, "weights.pt", saved({"a": torch.ones(3)}))])
