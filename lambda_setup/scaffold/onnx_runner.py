"""A network in ONNX: its inputs and outputs, an example, and what the network answers to it.

Run as ``python onnx_runner.py FILE TARGET`` in an environment with ONNX. Writes ``network.onnx`` and
``network.onnx.data`` into TARGET, and to standard output JSON: ``data`` of the example, its ``predictions``
by the original network, ``loss``, the largest difference, and ``libraries``; or ``reason`` alone.
"""

import json
import re
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import onnxruntime

from lambda_setup.scaffold.optimise import GRAPH, open_session, optimise

TYPES = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(bool)": np.bool_,
    "tensor(string)": np.object_,
}
OUTPUTS = {*TYPES, "tensor(uint8)"}
SHORT = 64
"""As in the function's predictor."""
ITEMS, FREE = 2, 4
"""Items of the example, and the size of a dimension that the network leaves open."""


def make_example(one: Any, items: int) -> Any:
    """Return values for an input: small numbers that differ, ones, or a word."""
    shape = (items, *(size if isinstance(size, int) else FREE for size in one.shape[1:]))
    kind = TYPES[one.type]
    if kind is np.object_:
        return np.full(shape, "example", object)
    if kind in {np.float32, np.float64}:
        return (np.arange(np.prod(shape)).reshape(shape) % 17 / 16).astype(kind)
    return np.ones(shape, kind)


def check(session: Any) -> None:
    """Refuse a network whose inputs or outputs have no way into a request; ValueError names them."""
    for one in session.get_inputs():
        if one.type not in TYPES:
            raise ValueError(f"its input {one.name} is a {one.type}; expected {', '.join(TYPES)}")
        if not one.shape or (isinstance(one.shape[0], int) and one.shape[0] != 1):
            raise ValueError(
                f"its input {one.name} has shape {one.shape}; the first dimension has to be the items', open "
                "or 1: export it so, by dynamic_shapes or dynamic_axes"
            )
    for one in session.get_outputs():
        if one.type not in OUTPUTS:
            raise ValueError(f"its output {one.name} is a {one.type}; expected {', '.join(sorted(OUTPUTS))}")


def clean(name: str) -> str:
    """Return an output's name as records and files have it."""
    return re.sub(r"\W", "_", name)


def is_array(one: Any) -> bool:
    """Return whether an output is an array in an answer, not a part of its record."""
    shape = one.shape[1:]
    short = not shape or (len(shape) == 1 and isinstance(shape[0], int) and shape[0] <= SHORT)
    return not short and one.type not in {"tensor(bool)", "tensor(string)"}


def run(path: Path, target: Path) -> dict[str, Any]:
    """Export a network, and return what the module says; ValueError for one that has no way."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    original = open_session(path, options)
    check(original)
    inputs = original.get_inputs()
    items = 1 if any(one.shape[0] == 1 for one in inputs) else ITEMS
    feed = {one.name: make_example(one, items) for one in inputs}
    right = original.run(None, feed)
    names = [one.name for one in original.get_outputs()]
    for name, output in zip(names, right, strict=True):
        if not np.shape(output) or len(output) != items:
            raise ValueError(f"its output {name} has shape {np.shape(output)} for {items} items")
    optimise(path, target)
    found = open_session(target / GRAPH).run(None, feed)
    pairs = [(one, two) for one, two in zip(found, right, strict=True) if one.dtype.kind == "f"]
    loss = max((float(np.abs(one - two).max()) for one, two in pairs), default=0.0)
    rows = [
        {clean(name): np.asarray(one[item]).tolist() for name, one in zip(names, right, strict=True)}
        for item in range(items)
    ]
    predictions = [{"index": item, **row} for item, row in enumerate(rows)]
    data = [{name: values[item].tolist() for name, values in feed.items()} for item in range(items)]
    return {
        "data": data,
        "predictions": predictions,
        "loss": loss,
        "arrays": [clean(one.name) for one in original.get_outputs() if is_array(one)],
        "libraries": {"onnxruntime": version("onnxruntime")},
    }


def main(path: Path, target: Path) -> int:
    """Export a network; return 0, also if it cannot be."""
    try:
        result = run(path, target)
    except Exception as error:  # noqa: BLE001 - ONNX Runtime's have no base class of their own
        result = {"reason": " ".join(str(error).split())}
    print(json.dumps(result), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
