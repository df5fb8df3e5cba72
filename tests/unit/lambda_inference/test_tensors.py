"""Tensors over a model's bytes: the same as torch's own reading gives, in the same memory."""

import io
import json
import os
import zipfile
from argparse import Namespace
from collections.abc import Mapping
from types import MappingProxyType

import pytest
import torch

from lambda_inference import tensors
from lambda_inference._errors import Unavailable


def saved(content, **options) -> bytes:
    """Return what torch saves."""
    file = io.BytesIO()
    torch.save(content, file, **options)
    return file.getvalue()


def rewritten(data: bytes, compression: int, cut: Mapping[str, int] = MappingProxyType({})) -> bytes:
    """Return a checkpoint with its records written anew, of some only so many bytes."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(file, "w", compression) as new:
        for member in old.infolist():
            (_, _, name) = member.filename.partition("/")
            new.writestr(member.filename, old.read(member)[: cut.get(name)])
    return file.getvalue()


def content():
    """Return a checkpoint of many kinds: shared, transposed, empty and half-precision tensors among them."""
    weights = torch.randn(5, 7)
    return {
        "model": {"a": weights, "b": weights.t()[2:4], "c": torch.arange(3).half(), "d": torch.empty(0)},
        "e": torch.tensor(True),
        "opt": Namespace(layers=2),
    }


def same(found, expected) -> bool:
    """Return whether two checkpoints are equal."""
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(same(found[name], expected[name]) for name in expected)
    return torch.equal(found, expected) if isinstance(expected, torch.Tensor) else found == expected


def inside(tensor: torch.Tensor, data: memoryview) -> bool:
    """Return whether a tensor lies in some bytes."""
    start = torch.frombuffer(data, dtype=torch.uint8).data_ptr()
    return start <= tensor.data_ptr() < start + len(data)


def test_checkpoint_lies_where_it_was_read():
    """Every tensor is what was saved, in the file's own bytes, and keeps them alive."""
    expected = content()
    data = memoryview(bytearray(saved(expected)))

    found = tensors.load_checkpoint(data.toreadonly(), [Namespace])

    assert same(found, expected)
    assert inside(found["model"]["a"], data)
    assert found["model"]["a"].data_ptr() % 64 == torch.frombuffer(data, dtype=torch.uint8).data_ptr() % 64
    del data
    assert same(found, expected)


def test_the_format_before_is_read_with_a_copy():
    """What torch saved before 1.6 is the same."""
    expected = content()
    data = saved(expected, _use_new_zipfile_serialization=False)
    assert same(tensors.load_checkpoint(memoryview(data), [Namespace]), expected)


def test_a_compressed_checkpoint_is_refused():
    """Torch writes none, and what a few bytes become may fill the memory."""
    with pytest.raises(Unavailable, match="cannot be read"):
        tensors.load_checkpoint(memoryview(rewritten(saved(content()), zipfile.ZIP_DEFLATED)), [Namespace])


class Runs:
    """What runs a command when it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_runs_something_is_refused(tmp_path, zipped):
    """It is neither loaded nor run, in either format."""
    data = saved({"a": Runs(f"touch {tmp_path / 'ran'}")}, _use_new_zipfile_serialization=zipped)
    with pytest.raises(Unavailable, match="more than weights"):
        tensors.load_checkpoint(memoryview(data))
    assert not (tmp_path / "ran").exists()


def test_another_class_is_refused():
    """What a caller does not admit, the options of OpenNMT-py's checkpoints among it."""
    with pytest.raises(Unavailable, match="more than weights"):
        tensors.load_checkpoint(memoryview(saved(content())))


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04" + bytes(100), b"no checkpoint", b"\x80\x02."])
def test_no_checkpoint_is_told(data):
    """Other bytes are refused by name, whatever they look like."""
    with pytest.raises(Unavailable, match="publish"):
        tensors.load_checkpoint(memoryview(data))


def test_what_an_allowed_class_says_is_told(monkeypatch):
    """A class of the function may name the fault itself."""

    def load(*_, **__):
        raise Unavailable("the options name a layer that is not there")

    monkeypatch.setattr(torch, "load", load)
    with pytest.raises(Unavailable, match=r"^the options name a layer"):
        tensors.load_checkpoint(memoryview(b"any"), [Namespace])


@pytest.mark.parametrize("end", [0.3, 0.6, 0.95, 0.999])
def test_a_cut_checkpoint_is_refused(end):
    """Nothing is made of half a file."""
    data = saved(content())
    with pytest.raises(Unavailable, match="cannot be read"):
        tensors.load_checkpoint(memoryview(data)[: int(len(data) * end)], [Namespace])


def test_a_tensor_larger_than_its_record_is_refused():
    """A checkpoint that says of a tensor more than it holds: what lies behind is not the tensor's."""
    changed = rewritten(
        saved({"a": torch.zeros(64), "b": torch.ones(64)}), zipfile.ZIP_STORED, {"data/0": 16}
    )
    with pytest.raises(Unavailable, match="cannot be read"):
        tensors.load_checkpoint(memoryview(changed))


@pytest.mark.parametrize("name", ["archive/version", "archive/data.pkl"])
def test_a_record_larger_than_the_checkpoint_is_refused(monkeypatch, name):
    """Torch would allocate what a record claims, 4 GB here, before it reads a byte."""
    data = bytearray(rewritten(saved({"a": torch.zeros(4)}), zipfile.ZIP_STORED))
    place = data.rindex(name.encode()) - 46  # of its entry in the directory
    assert data[place : place + 4] == b"PK\x01\x02"
    data[place + 24 : place + 28] = b"\xfb\xff\xff\xff"
    monkeypatch.setattr(torch._C, "PyTorchFileReader", lambda _: pytest.fail("torch reads it"))
    with pytest.raises(Unavailable, match="cannot be read"):
        tensors.load_checkpoint(memoryview(bytes(data)))


def safe(header: dict, data: bytes) -> memoryview:
    """Return a file in the safetensors format."""
    text = json.dumps(header).encode()
    return memoryview(bytearray(len(text).to_bytes(8, "little") + text + data))


def test_safetensors_lie_where_they_were_read():
    """Every tensor has its type and shape, in the file's own bytes."""
    whole = torch.arange(6, dtype=torch.float32)
    flags = torch.tensor([True, False])
    raw = bytes(whole.untyped_storage()) + bytes(flags.untyped_storage())
    header = {
        "__metadata__": {"format": "pt"},
        "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
        "b": {"dtype": "BOOL", "shape": [2], "data_offsets": [24, 26]},
        "c": {"dtype": "F16", "shape": [0, 4], "data_offsets": [26, 26]},
    }
    data = safe(header, raw)

    found = tensors.load_safetensors(data)

    assert found.keys() == {"a", "b", "c"}
    assert torch.equal(found["a"], whole.view(2, 3))
    assert torch.equal(found["b"], flags)
    assert found["c"].shape == (0, 4)
    assert inside(found["a"], data)


@pytest.mark.parametrize(
    "said",
    [
        {"dtype": "F32", "shape": [9], "data_offsets": [0, 36]},
        {"dtype": "F32", "shape": [9], "data_offsets": [0, 24]},
        {"dtype": "F32", "shape": [2], "data_offsets": [0, 24]},
        {"dtype": "F32", "shape": [6], "data_offsets": [-24, 24]},
        {"dtype": "Q4", "shape": [6], "data_offsets": [0, 24]},
        {"dtype": "F32", "shape": "6", "data_offsets": [0, 24]},
        {},
    ],
)
def test_safetensors_that_lie_are_refused(said):
    """A shape, a place or a type that is not what the bytes are."""
    with pytest.raises(Unavailable, match="safetensors"):
        tensors.load_safetensors(safe({"a": said}, bytes(24)))


@pytest.mark.parametrize(
    "data", [b"", b"\xff" * 8, b"\x02\x00\x00\x00\x00\x00\x00\x00[]", b"\x01" + bytes(8)]
)
def test_no_safetensors_are_told(data):
    """Other bytes are refused by name."""
    with pytest.raises(Unavailable, match="safetensors"):
        tensors.load_safetensors(memoryview(data))


def test_modules_are_built_without_first_values():
    """No random number is drawn, attention's included, and afterwards modules have first values again."""

    def build() -> torch.nn.Module:
        return torch.nn.Sequential(
            torch.nn.TransformerEncoderLayer(4, 2, 8), torch.nn.Conv1d(2, 2, 1), torch.nn.LSTM(2, 2)
        )

    before = torch.random.get_rng_state()
    with tensors.skip_initialisation():
        network = build()
    assert torch.equal(torch.random.get_rng_state(), before)
    original = build()
    assert not torch.equal(torch.random.get_rng_state(), before)
    network.load_state_dict(original.state_dict())
    assert all(torch.equal(*pair) for pair in zip(network.parameters(), original.parameters(), strict=True))
