"""Attacks by a model: whoever may write to the bucket publishes a version that is right in all its hashes.

The README beside this file lists them, and what must happen.
"""

import functools
import io
import itertools
import os
import pickle
import pickletools
import random
import struct
import subprocess
import zipfile
from argparse import Namespace
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.project import MODEL
from support.second_model import EVENT, folder_with, load, metrics
from support.swapping import memory

NOISE = random.Random(20261121).randbytes(100_000)  # noqa: S311 - nothing secret
SHIPPED = (MODEL / "en-es.pt").read_bytes()
TOKENIZER = (MODEL / "enes.model").read_bytes()


# What is attacked, and how it has to end.


@pytest.fixture(scope="module")
def running(two_versions):
    """Yield a function that serves all tests of this module."""
    with two_versions.function() as function:
        yield function


@pytest.fixture
def warm(versions, running):
    """Return the same function, serving the first version."""
    assert versions.served(running.invoke(EVENT)) == versions.first
    return running


@pytest.fixture
def publish(versions, tmp_path):
    """Publish a checkpoint, and perhaps a tokenizer, point the channel to them, and return their version."""
    numbers = itertools.count()

    def published(checkpoint: bytes, tokenizer: bytes = TOKENIZER) -> str:
        folder = folder_with(checkpoint, tmp_path / f"model-{next(numbers)}")
        (folder / "enes.model").write_bytes(tokenizer)
        return versions.publish(folder)

    return published


def assert_refused(versions, warm, publish, *files: bytes) -> None:
    """Publish a model that the function must refuse, and see the same process serve the old one."""
    before = warm._runtime()
    with versions.logged() as lines:
        publish(*files)
        for _ in range(2):
            assert versions.served(warm.invoke(EVENT)) == versions.first
    assert "ModelRefused" in metrics(lines)
    assert warm._runtime() == before


# A pickle that runs code.


class Call:
    """What is a function's call, once it is unpickled."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._call = (function, arguments)

    def __reduce__(self) -> Any:
        return self._call


CALLS: dict[str, Callable[[Path], Any]] = {
    "posix.system": lambda marker: Call(os.system, f"touch {marker}"),
    "exec": lambda marker: Call(exec, f"open({str(marker)!r}, 'w')"),
    "eval": lambda marker: Call(eval, f"open({str(marker)!r}, 'w')"),
    "open": lambda marker: Call(open, str(marker), "w"),
    "subprocess": lambda marker: Call(subprocess.getoutput, f"touch {marker}"),
    "a method": lambda marker: Call(Path.touch, marker),
    "functools.partial": lambda marker: Call(functools.partial(os.system, f"touch {marker}")),
    "map": lambda marker: Call(list, Call(map, os.system, [f"touch {marker}"])),
    "torch's own": lambda marker: Call(
        torch.storage._load_from_bytes, legacy(Call(os.system, f"touch {marker}"))
    ),
}


def zipped(what: Any) -> bytes:
    """Return what torch.save writes today."""
    file = io.BytesIO()
    torch.save(what, file)
    return file.getvalue()


def legacy(what: Any) -> bytes:
    """Return what torch.save wrote before version 1.6."""
    file = io.BytesIO()
    torch.save(what, file, _use_new_zipfile_serialization=False)
    return file.getvalue()


def in_options(what: Any) -> dict[str, Any]:
    """Return the shipped checkpoint with something more among its options."""
    checkpoint = load()
    checkpoint["opt"].more = what
    return checkpoint


WAYS: dict[str, Callable[[Any], bytes]] = {
    "in the options": lambda call: zipped(in_options(call)),
    "alone": zipped,
    "in the options, legacy": lambda call: legacy(in_options(call)),
    "alone, legacy": legacy,
    "a plain pickle": pickle.dumps,
}


class TestCode:
    """Nothing that a checkpoint names is run."""

    @pytest.mark.sample(17)
    @pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
    @pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
    def test_warm(self, versions, warm, publish, tmp_path, call, way):
        """The old version goes on serving, and nothing has been run."""
        marker = tmp_path / "ran"
        assert_refused(versions, warm, publish, way(call(marker)))
        assert not marker.exists()

    @pytest.mark.sample(7)
    @pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
    def test_cold(self, versions, publish, tmp_path, way):
        """Without an old version it is a 503 that says so, until the channel moves back."""
        marker = tmp_path / "ran"
        publish(way(Call(os.system, f"touch {marker}")))
        with versions.function() as function:
            response = function.invoke(EVENT)
            assert (response["statusCode"], response["body"]["error"]["code"]) == (503, "Unavailable")
            assert "more than weights" in response["body"]["error"]["message"]
            versions.point(versions.first)
            assert versions.served(function.invoke(EVENT)) == versions.first
        assert not marker.exists()

    @pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
    def test_is_an_attack(self, tmp_path, call):
        """Each of them does run when its file is trusted."""
        marker = tmp_path / "ran"
        # As nothing here is ever loaded, to see that it would run: the pickle is our own.
        torch.load(io.BytesIO(zipped(call(marker))), weights_only=False)
        assert marker.exists()

    @pytest.mark.check
    def test_another_name(self, versions, warm, publish, tmp_path):
        """What is refused under the name it was saved with is refused under its other ones."""
        marker = tmp_path / "ran"
        data = legacy(in_options(Call(os.system, f"touch {marker}")))
        for name in (b"cos\nsystem\n", b"cargparse\n_sys.modules\n", b"cargparse\n_os.system\n"):
            assert b"cposix\nsystem\n" in data
            assert_refused(versions, warm, publish, data.replace(b"cposix\nsystem\n", name))
        assert not marker.exists()


# Tensors that reach beyond their bytes.


class Tensor:
    """What is a tensor with any place and shape, once it is unpickled."""

    def __init__(self, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> None:
        self._shape = (offset, size, stride)

    def __reduce__(self) -> Any:
        numbers = torch.zeros(8000, dtype=torch.float16)
        storage = torch.storage.TypedStorage(
            wrap_storage=numbers.untyped_storage(), dtype=numbers.dtype, _internal=True
        )
        return torch._utils._rebuild_tensor_v2, (storage, *self._shape, False, OrderedDict())


SHAPES = {
    "longer": Tensor(0, (8001,), (1,)),
    "far longer": Tensor(0, (10**9,), (1,)),
    "without end": Tensor(0, (2**62,), (1,)),
    "overflowing": Tensor(0, (2**33, 2**33), (1, 1)),
    "one behind its end": Tensor(1, (8000,), (1,)),
    "far behind its end": Tensor(10**12, (8000,), (1,)),
    "before its beginning": Tensor(-1, (8000,), (1,)),
    "far before its beginning": Tensor(-(2**40), (8000,), (1,)),
    "wide steps": Tensor(0, (8000,), (2,)),
    "huge steps": Tensor(0, (8000,), (2**50,)),
    "overflowing steps": Tensor(0, (8000,), (2**61,)),
    "steps back": Tensor(7999, (8000,), (-1,)),
    "no step, without end": Tensor(0, (10**6, 10**6), (0, 0)),
    "negative": Tensor(0, (-8000,), (1,)),
}


class TestTensors:
    """A tensor is within its storage, and a storage within its record."""

    @pytest.mark.sample(9)
    @pytest.mark.parametrize("save", [zipped, legacy])
    @pytest.mark.parametrize("tensor", SHAPES.values(), ids=SHAPES)
    def test_shape(self, versions, warm, publish, tensor, save):
        """A tensor that is not within its storage is refused."""
        checkpoint = load()
        checkpoint["generator"]["bias"] = tensor
        assert_refused(versions, warm, publish, save(checkpoint))

    @pytest.mark.sample(7)
    @pytest.mark.parametrize("numbers", [2_048_001, 2**31 - 1, 2**40, 2**62, 0, 1, -1, -(2**31), -(2**62)])
    def test_storage(self, versions, warm, publish, numbers):
        """A storage that is more than its record, less than its tensor, or less than nothing is refused."""
        pickled = with_storage(members(SHIPPED)["archive/data.pkl"], numbers)
        assert_refused(versions, warm, publish, rezipped({"archive/data.pkl": pickled}))

    @pytest.mark.sample(3)
    @pytest.mark.parametrize("size", [0, 1, 4_095_999])
    def test_record(self, versions, warm, publish, size):
        """A record that is less than its storage is refused."""
        assert_refused(versions, warm, publish, rezipped({"archive/data/0": bytes(size)}))

    def test_last_record(self, versions, warm, publish):
        """It is refused too where nothing comes behind it but the end of the file."""
        last = [name for name in members(SHIPPED) if "/data/" in name][-1]
        assert_refused(versions, warm, publish, rezipped({last: b""}))

    def test_no_record(self, versions, warm, publish):
        """So is one that is not there."""
        assert_refused(versions, warm, publish, rezipped({"archive/data/0": None}))


def members(data: bytes) -> dict[str, bytes]:
    """Return what a zip file holds."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rezipped(changes: dict[str, bytes | None], method: int = zipfile.ZIP_STORED) -> bytes:
    """Return the shipped checkpoint with some members changed, or gone."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in (members(SHIPPED) | changes).items():
            if content is not None:
                archive.writestr(name, content, method if name in changes else zipfile.ZIP_STORED)
    return file.getvalue()


def with_storage(pickled: bytes, numbers: int) -> bytes:
    """Return a checkpoint's pickle in which the first storage has so many numbers."""
    before: list[tuple[str, int]] = []
    for opcode, _, place in pickletools.genops(pickled):
        if opcode.name == "BINPERSID":  # of a tuple, whose last item is the storage's length
            start, end = before[-2][1], before[-1][1]
            return pickled[:start] + pickle.dumps(numbers, 2)[2:-1] + pickled[end:]
        before.append((opcode.name, place))
    raise AssertionError("there is no storage")


# A zip file that lies.


def forged(name: str, place: int, form: str, value: int) -> bytes:
    """Return the shipped checkpoint with a number changed in a member's entry of the central directory."""
    data = bytearray(SHIPPED)
    entry = data.rindex(name.encode()) - 46
    assert data[entry : entry + 4] == b"PK\x01\x02"
    struct.pack_into(form, data, entry + place, value)
    return bytes(data)


def misplaced(name: str, place: int, form: str, value: int) -> bytes:
    """Return the shipped checkpoint with a number changed in a member's own header."""
    data = bytearray(SHIPPED)
    header = data.index(name.encode()) - 30
    assert data[header : header + 4] == b"PK\x03\x04"
    struct.pack_into(form, data, header + place, value)
    return bytes(data)


def bomb(name: str) -> bytes:
    """Return the shipped checkpoint with a member of a few megabytes that becomes a gigabyte."""
    file = io.BytesIO(rezipped({name: None}))
    with (
        zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open(name, "w") as member,
    ):
        for _ in range(1024):
            member.write(bytes(1024 * 1024))
    return file.getvalue()


ZIPS: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "four bytes": lambda: b"PK\x03\x04",
    "an empty zip": lambda: b"PK\x05\x06" + bytes(18),
    "half": lambda: SHIPPED[: len(SHIPPED) // 2],
    "without its end": lambda: SHIPPED[:-22],
    "noise": lambda: NOISE,
    "noise in a zip": lambda: b"PK\x03\x04" + NOISE,
    "text": lambda: b"<html>not found</html>",
    "larger than the file": lambda: forged("archive/data/0", 24, "<I", 2**31),
    "larger in both sizes": lambda: forged("archive/data/0", 20, "<Q", 2**31 << 32 | 2**31),
    "behind the end": lambda: forged("archive/data/0", 42, "<I", 2**31),
    "at the end": lambda: forged("archive/data/0", 42, "<I", len(SHIPPED) - 1),
    "a long name": lambda: misplaced("archive/data/78", 26, "<H", 0xFFFF),
    "a long addition": lambda: misplaced("archive/data/78", 28, "<H", 0xFFFF),
    "a pickle without end": lambda: rezipped({"archive/data.pkl": members(SHIPPED)["archive/data.pkl"][:-1]}),
    "an empty pickle": lambda: rezipped({"archive/data.pkl": b""}),
    "a deep pickle": lambda: rezipped({"archive/data.pkl": b"\x80\x02" + b"]" * 10**6 + b"a" * 10**6 + b"."}),
    "no pickle": lambda: rezipped({"archive/data.pkl": None}),
}


class TestZip:
    """A file that is not what torch.save writes."""

    @pytest.mark.sample(9)
    @pytest.mark.parametrize("make", ZIPS.values(), ids=ZIPS)
    def test_warm(self, versions, warm, publish, make):
        """It is refused, and the process that refused it goes on serving."""
        assert_refused(versions, warm, publish, make())

    @pytest.mark.sample(3)
    @pytest.mark.parametrize("name", ["empty", "half", "larger in both sizes"])
    def test_cold(self, versions, publish, name):
        """Without an old version it is a 503."""
        publish(ZIPS[name]())
        with versions.function() as function:
            response = function.invoke(EVENT)
            assert (response["statusCode"], response["body"]["error"]["code"]) == (503, "Unavailable")
            versions.point(versions.first)
            assert versions.served(function.invoke(EVENT)) == versions.first

    @pytest.mark.sample(2)
    @pytest.mark.parametrize("name", ["archive/data/0", "archive/data.pkl"])
    def test_bomb(self, versions, warm, publish, name):
        """What becomes a gigabyte does not take one."""
        [process] = warm._runtime()
        Path(f"/proc/{process}/clear_refs").write_text("5")  # the peak begins anew
        before = memory(warm, "VmHWM")
        assert_refused(versions, warm, publish, bomb(name))
        assert memory(warm, "VmHWM") < before + 100

    def test_before_zip(self, versions, warm, publish):
        """What torch saved before 1.6 is read."""
        version = publish(legacy(load()))
        assert versions.served(warm.invoke(EVENT), like=versions.first) == version

    def test_compressed(self, versions, warm, publish):
        """What torch never writes is refused, although it could be read: it might be a bomb."""
        assert_refused(versions, warm, publish, rezipped(members(SHIPPED), zipfile.ZIP_DEFLATED))


# A checkpoint that is none of ours.


def changed(**changes: Any) -> bytes:
    """Return the shipped checkpoint with some of its parts changed, or gone."""
    checkpoint = load() | changes
    return zipped({name: part for name, part in checkpoint.items() if part is not None})


def with_options(**options: Any) -> bytes:
    """Return the shipped checkpoint with other options."""
    return changed(opt=Namespace(**vars(load()["opt"]) | options))


CHECKPOINTS: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: zipped(None),
    "a list": lambda: zipped([1, 2, 3]),
    "no weights": lambda: changed(model=None),
    "no generator": lambda: changed(generator=None),
    "no vocabulary": lambda: changed(vocab=None),
    "no options": lambda: changed(opt=None),
    "fewer words": lambda: changed(vocab=load()["vocab"] | {"tgt": load()["vocab"]["tgt"][:100]}),
    "more words": lambda: changed(vocab=load()["vocab"] | {"src": [str(number) for number in range(9000)]}),
    "wider": lambda: with_options(hidden_size=512, enc_hid_size=512, dec_hid_size=512),
    "4 TB wide": lambda: with_options(hidden_size=10**6, enc_hid_size=10**6, dec_hid_size=10**6),
    "another network": lambda: with_options(encoder_type="brnn", decoder_type="rnn"),
    "an unknown network": lambda: with_options(encoder_type="__import__('os')"),
    "no number": lambda: changed(generator=load()["generator"] | {"bias": "zero"}),
    "sparse": lambda: changed(generator=load()["generator"] | {"bias": sparse()}),
}


def sparse() -> torch.Tensor:
    """Return a sparse tensor whose one number lies far beyond its end."""
    return torch.ops.aten._sparse_coo_tensor_unsafe(torch.tensor([[10**9]]), torch.ones(1), (8000,))


class TestCheckpoint:
    """A checkpoint that no attacker needs to make: one operator is enough."""

    @pytest.mark.sample(9)
    @pytest.mark.parametrize("make", CHECKPOINTS.values(), ids=CHECKPOINTS)
    def test_warm(self, versions, warm, publish, make):
        """What does not make a translator is refused."""
        assert_refused(versions, warm, publish, make())

    @pytest.mark.sample(3)
    @pytest.mark.parametrize("name", ["nothing", "fewer words", "4 TB wide"])
    def test_cold(self, versions, publish, name):
        """Without an old version it is a 503."""
        publish(CHECKPOINTS[name]())
        with versions.function() as function:
            response = function.invoke(EVENT)
            assert (response["statusCode"], response["body"]["error"]["code"]) == (503, "Unavailable")
            versions.point(versions.first)
            assert versions.served(function.invoke(EVENT)) == versions.first

    @pytest.mark.sample(7)
    @pytest.mark.parametrize("tokenizer", [b"", b"text", TOKENIZER[:-1000], NOISE])
    def test_tokenizer(self, versions, warm, publish, tokenizer):
        """What is no SentencePiece model is refused too."""
        assert_refused(versions, warm, publish, SHIPPED, tokenizer)
