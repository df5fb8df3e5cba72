"""Items of starting points whose requests are a network's own inputs: what is taken, and what is refused."""

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lambda_inference import BadRequest, Deadline
from lambda_inference._requests import parse
from lambda_setup.scaffold import blank

MODULES = ("request", "predictor", "network")


@pytest.fixture
def load(monkeypatch):
    """Return what imports a starting point's module."""

    def load_module(task: str, name: str) -> Any:
        for one in MODULES:
            monkeypatch.delitem(sys.modules, one, raising=False)
        monkeypatch.syspath_prepend(str(blank.CODE / task))
        return __import__(name)

    yield load_module
    for one in MODULES:
        sys.modules.pop(one, None)


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("float", [1, 2.5], "float32"),
        ("float16", [1, 65504], "float16"),
        ("double", [1e300, 1], "float64"),
        ("uint8", [0, 255], "uint8"),
        ("int64", [2**62, -1], "int64"),
        ("bool", [True, False], "bool"),
        ("string", ["a", "b"], "object"),
    ],
)
def test_values_become_arrays(load, kind, value, expected):
    """Of the network's own types."""
    inputs = {"x": SimpleNamespace(type=f"tensor({kind})", shape=["items", 2])}
    found = load("onnx", "request").read_item(np, inputs, {"x": value}, "data[0]")["x"]
    assert (str(found.dtype), found.tolist()) == (expected, value)


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        ("uint8", [0, 256], "uint8; got a number beyond its range"),
        ("uint8", [0, -1], "uint8; got a number beyond its range"),
        ("int32", [0, 2**40], "int32; got a number beyond its range"),
        ("float", [0, 1e300], "float32; got a number beyond its range"),
        ("int64", [0, 1.5], r"int64 of shape \[2\]; got shape \[2\]"),
        ("int64", [0, 2**70], r"int64 of shape \[2\]"),
        ("float", [True, False], r"float32 of shape \[2\]"),
        ("float", [1, 2, 3], r"float32 of shape \[2\]; got shape \[3\]"),
        ("float", [[1], 2], r"float32 of shape \[2\]; got shape \[\]"),
    ],
)
def test_values_that_a_network_would_read_as_others(load, kind, value, message):
    """They are refused: nothing is rounded or wrapped around without a word."""
    inputs = {"x": SimpleNamespace(type=f"tensor({kind})", shape=["items", 2])}
    with pytest.raises(BadRequest, match=rf"data\[0\]: x takes {message}"):
        load("onnx", "request").read_item(np, inputs, {"x": value}, "data[0]")


NETWORK = """
import torch

class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.table = torch.nn.Embedding(4, 100)

    def forward(self, tokens, scale):
        hidden = self.table(tokens) * scale.unsqueeze(-1).unsqueeze(-1)
        return {"sum": hidden.sum(-1), "vector": hidden.sum(1).half(), "large": hidden.sum(1) > 0}
"""


@pytest.fixture
def module(load, tmp_path, monkeypatch):
    """Return a function of torch, with a module that looks tokens up."""
    import torch

    (tmp_path / "network.py").write_text(NETWORK)
    monkeypatch.syspath_prepend(str(tmp_path))
    made = load("torch", "predictor").Module()
    made._network, made._inputs = made._kind().eval(), {"tokens": ("int64", 1), "scale": ("float32", 0)}
    torch.nn.init.ones_(made._network.table.weight)

    def ask(*data: Any) -> list[Any]:
        return list(made.predict(parse({"data": list(data)}, made.Request), Deadline.after(60)))

    return ask


def test_outputs_of_types_that_arrays_have_none_of(module):
    """Half precision becomes float32, and truth values numbers; short outputs stand in the record."""
    [one] = module({"tokens": [1, 2], "scale": 0.5})
    assert one.record == {"index": 0, "sum": [50.0, 50.0]}
    assert {kind: array.dtype for kind, [array] in one.arrays.items()} == {"vector": "f", "large": "B"}
    assert one.arrays["vector"][0].tolist() == [1.0] * 100
    assert one.arrays["large"][0].tolist() == [1] * 100


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"tokens": [1.5], "scale": 1}, r"data\[0\]: tokens takes whole numbers, in a list"),
        ({"tokens": [2**70], "scale": 1}, r"data\[0\]: tokens takes whole numbers, in a list"),
        ({"tokens": [1], "scale": True}, r"data\[0\]: scale takes a number"),
        ({"tokens": [[1], 2], "scale": 1}, r"data\[0\]: tokens takes whole numbers, in a list"),
        ({"tokens": [1], "scale": [1]}, r"data\[0\]: scale takes a number"),
        ({"tokens": [1]}, r"data\[0\] takes a value for tokens, scale"),
        ({"tokens": [9], "scale": 1}, r"data\[0\] is refused by the module: index out of range"),
    ],
)
def test_values_that_a_module_refuses(module, item, message):
    """They are the request's error, as every value that the network cannot take."""
    with pytest.raises(BadRequest, match=message):
        module(item)


def test_the_bytes_of_long_outputs_are_known_before_a_prediction(load):
    """Of those whose length the network says: an inline answer that cannot fit is refused at once."""
    outputs = [
        ("float", ["items", 384]), ("double", ["items", 2, 100]), ("float", ["items", 64]),
        ("float", ["items", "tokens", 8]), ("int64", ["items", 500]), ("float", ["items"]),
    ]  # fmt: skip
    network = load("onnx", "predictor").Network.__new__(load("onnx", "predictor").Network)
    network._outputs = [SimpleNamespace(type=f"tensor({kind})", shape=shape) for kind, shape in outputs]
    assert network.count_array_bytes(None) == 4 * (384 + 200)
