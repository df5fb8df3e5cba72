"""Small networks in ONNX, in the forms that people have: run where onnx is.

``python onnx_networks.py FORM FILE`` writes one.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT, HALF, INT64, BYTE, BOOL = (
    TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT64, TensorProto.UINT8, TensorProto.BOOL
)  # fmt: skip
random = np.random.default_rng(1)


def weight(name: str, *shape: int, kind: Any = np.float32) -> Any:
    """Return an initial value."""
    return numpy_helper.from_array(random.normal(0, 0.5, shape).astype(kind), name)


def constant(name: str, value: Any, kind: Any) -> Any:
    """Return a constant."""
    return numpy_helper.from_array(np.array(value, kind), name)


def node(kind: str, inputs: str, outputs: str, **attributes: Any) -> Any:
    """Return a node, whose inputs and outputs are names in one text."""
    return helper.make_node(kind, inputs.split(), outputs.split(), **attributes)


def tokens() -> Any:
    """Return a network of tokens and their mask: vectors of tokens, their sum, and its largest place."""
    nodes = [
        node("Gather", "table tokens", "vectors"), node("Cast", "mask", "weights", to=FLOAT),
        node("Unsqueeze", "weights last", "columns"), node("Mul", "vectors columns", "kept"),
        node("ReduceSum", "kept middle", "text/vector", keepdims=0),
        node("ArgMax", "text/vector", "best", axis=1, keepdims=0),
    ]  # fmt: skip
    values = [weight("table", 50, 8), constant("last", [2], np.int64), constant("middle", [1], np.int64)]
    inputs = {"tokens": (INT64, ["items", "length"]), "mask": (INT64, ["items", "length"])}
    outputs = {"kept": (FLOAT, ["items", "length", 8]), "text/vector": (FLOAT, ["items", 8])}
    return nodes, values, inputs, outputs | {"best": (INT64, ["items"])}


def pixels(size: Any = 224, kind: int = FLOAT) -> Any:
    """Return a network of an image's pixels: their classes and a mask."""
    nodes = [
        node("Cast", "image", "numbers", to=FLOAT), node("Conv", "numbers filter", "maps", strides=[8, 8]),
        node("GlobalAveragePool", "maps", "mean"), node("Flatten", "mean", "flat"),
        node("Softmax", "flat", "classes"), node("Greater", "maps zero", "mask"),
    ]  # fmt: skip
    values = [weight("filter", 5, 3, 8, 8), constant("zero", 0, np.float32)]
    return nodes, values, {"image": (kind, ["items", 3, size, size])}, {
        "classes": (FLOAT, ["items", 5]), "mask": (BOOL, ["items", 5, "rows", "columns"])
    }  # fmt: skip


def linear(items: Any = "items", kind: int = FLOAT, name: str = "scores", last: str = "") -> Any:
    """Return a layer for rows of numbers."""
    numbers = np.float16 if kind == HALF else np.float32
    values = [weight("weights", 4, 100, kind=numbers)]
    nodes = [node("MatMul", "rows weights", "hidden" if last else name)]
    if last:
        nodes.append(node(last, "hidden", name))
    return nodes, values, {"rows": (kind, [items, 4])}, {name: (kind, [items, 100])}


def quantised() -> Any:
    """Return a layer with weights of 8 bits, whose inputs are quantised when they come."""
    nodes = [
        node("DynamicQuantizeLinear", "rows", "bytes scale zero"),
        node("MatMulInteger", "bytes weights zero", "sums"), node("Cast", "sums", "numbers", to=FLOAT),
        node("Mul", "numbers scale", "scores"),
    ]  # fmt: skip
    values = [constant("weights", random.integers(-90, 90, (4, 3)), np.int8)]
    return nodes, values, {"rows": (FLOAT, ["items", 4])}, {"scores": (FLOAT, ["items", 3])}


def collision() -> Any:
    """Return two outputs whose names differ in a sign alone."""
    nodes = [node("Relu", "rows", "a.b"), node("Neg", "rows", "a/b")]
    return nodes, [], {"rows": (FLOAT, ["items", 4])}, {one: (FLOAT, ["items", 4]) for one in ("a.b", "a/b")}


FORMS = {
    "tokens": tokens,
    "pixels": pixels,
    "bytes": lambda: pixels(32, BYTE),
    "open-pixels": lambda: pixels("size"),
    "huge": lambda: pixels(1024),
    "half": lambda: linear(kind=HALF),
    "single": lambda: linear(items=1),
    "fixed": lambda: linear(items=8),
    "error": lambda: linear(name="error"),
    "infinite": lambda: linear(last="Log"),
    "quantised": quantised,
    "collision": collision,
}


def main(form: str, path: Path) -> None:
    """Write a network."""
    nodes, values, inputs, outputs = FORMS[form]()
    made = [
        [helper.make_tensor_value_info(name, *one) for name, one in some.items()]
        for some in (inputs, outputs)
    ]
    graph = helper.make_graph(nodes, form, *made, values)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, path)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
