"""Networks in ONNX from memory: which weights are named to ONNX Runtime, and what is left to it."""

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lambda_inference import Manifest, Model, Unavailable
from lambda_inference.networks import open_network


def number(value: int) -> bytes:
    """Return a number in groups of 7 bits, the last one first."""
    return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + number(value >> 7)


def field(key: int, value: int | bytes) -> bytes:
    """Return a field of a message of Protocol Buffers."""
    if isinstance(value, int):
        return number(key << 3) + number(value)
    return number(key << 3 | 2) + number(len(value)) + value


def tensor(name: str, dtype: int, shape: list[int], *, packed: bool = False, **place: object) -> bytes:
    """Return an initializer whose numbers lie in a file."""
    dims = [field(1, b"".join(map(number, shape)))] if packed else [field(1, size) for size in shape]
    entries = [
        field(13, field(1, key.encode()) + field(2, str(value).encode())) for key, value in place.items()
    ]
    return b"".join([*dims, field(2, dtype), field(8, name.encode()), *entries, field(14, 1)])


def network(*tensors: bytes) -> bytes:
    """Return a network with initializers, and with fields that are skipped."""
    # Read as fields, what is skipped would be one that is longer than the network.
    wide = (
        number(20 << 3 | 1) + b"\x12\xff\xff\xff\xff\xff\xff\x7f" + number(21 << 3 | 5) + b"\x12\xff\xff\x7f"
    )
    skipped = field(1, field(4, b"Add")) + wide
    return field(1, 9) + field(7, skipped + b"".join(field(5, one) for one in tensors)) + field(8, b"opset")


@pytest.fixture
def runtime(monkeypatch):
    """Return what ONNX Runtime is told."""
    told: dict[str, Any] = {}
    entries: dict[str, str] = {}
    options = SimpleNamespace(
        add_session_config_entry=entries.__setitem__,
        add_external_initializers=lambda names, values: told.update(zip(names, values, strict=True)),
        add_external_initializers_from_files_in_memory=lambda *files: told.update(files=files),
    )
    fake = SimpleNamespace(
        SessionOptions=lambda: options,
        GraphOptimizationLevel=SimpleNamespace(ORT_DISABLE_ALL=0),
        OrtValue=SimpleNamespace(ortvalue_from_numpy=lambda array: array),
        InferenceSession=lambda graph, given, providers: (graph, given is options, entries, providers),
    )
    monkeypatch.setitem(sys.modules, "onnxruntime", fake)
    return told


def model(**files: bytes) -> Model:
    """Return a model of files, whose names are given with _ for the dot."""
    manifest = Manifest(name="x", engine="x", precision="float32", libraries={}, files=[])
    return Model(manifest, "x", {name.replace("_", "."): memoryview(data) for name, data in files.items()})


def test_weights_are_views_of_the_models_memory(runtime):
    """Of any type that numpy has, wherever they lie in their file."""
    numbers = np.arange(6, dtype=np.float32)
    data = b"pad." + numbers.tobytes() + np.arange(-200, 0, dtype=np.int64).tobytes()
    graph = network(
        tensor("floats", 1, [2, 3], location="w.data", offset=4, length=24),
        tensor("integers", 7, [200], packed=True, location="w.data", offset=28),
        tensor("bfloat16", 16, [2], location="w.data", length=4),
        tensor("empty", 1, [0], location="w.data", length=0),
        tensor("elsewhere", 1, [1], location="other.data", length=4),
        tensor("inside", 1, [1]),
    )
    given = model(n_onnx=graph, w_data=data)
    assert open_network(given) == (
        graph, True, {"session.intra_op.allow_spinning": "0"}, ["CPUExecutionProvider"],
    )  # fmt: skip
    names, files, sizes = runtime.pop("files")
    assert (names, [bytes(file) for file in files], sizes) == (["w.data"], [data], [len(data)])
    assert {name: (one.dtype.name, one.tolist()) for name, one in runtime.items()} == {
        "floats": ("float32", [[0, 1, 2], [3, 4, 5]]),
        "integers": ("int64", [*range(-200, 0)]),
    }
    assert np.shares_memory(runtime["floats"], np.frombuffer(given.files["w.data"], np.uint8))


@pytest.mark.parametrize(
    "graph",
    [
        b"not a network",
        network(tensor("short", 1, [2, 3], location="w.data", length=8)),
        network(tensor("odd", 1, [2], location="w.data", offset="x")),
        network(tensor("whole", 1, [2], location="w.data"))[:-9],
        network(field(8, 5)),
        network(field(2, b"float") + field(13, 5)),
        field(7, 5),
        b"\x3a" + b"\xff" * 9_000_000,
        network(tensor("huge", 1, [2**70], location="w.data")),
        b"",
    ],
)
def test_what_is_damaged_is_left_to_onnx_runtime(runtime, graph):
    """It gets the network as it is, and its message says what is wrong."""
    assert open_network(model(n_onnx=graph, w_data=b"12345678"))[0] == graph
    assert set(runtime) <= {"files", "whole"}


def test_a_model_without_a_network(runtime):
    """The message says what to name."""
    with pytest.raises(Unavailable, match=r"holds 0 files \*\.onnx"):
        open_network(model(w_data=b""))
    assert not runtime
