"""A network in ONNX: its inputs and outputs, an example, and what the network answers to it.

Run as ``python onnx_runner.py FILE TARGET`` in an environment with ONNX. The example is ``example.json``
beside the file, or made of the inputs' shapes. Writes ``network.onnx`` and ``network.onnx.data`` into TARGET,
and to standard output JSON: ``data`` of the example, its ``predictions`` by the original network, ``loss``,
the largest difference, and ``libraries``; or ``reason`` alone.
"""

import json
import re
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import onnx
import onnxruntime

from lambda_setup.scaffold.optimise import GRAPH, LEVELS, open_session, optimise

TYPES = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int8)": np.int8,
    "tensor(uint8)": np.uint8,
    "tensor(int16)": np.int16,
    "tensor(uint16)": np.uint16,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(bool)": np.bool_,
    "tensor(string)": np.object_,
}
OUTPUTS = {*TYPES, "tensor(uint32)"}
SHORT = 64
"""As in the function's predictor."""
ITEMS, LARGE = 2, 4096
"""Items of the example, of which there is one alone where it has more numbers than this."""
SIZES = (4, 32, 224)
"""Sizes that are tried for a dimension that the network leaves open."""
TOLERANCE = 1e-3
"""Between outputs of the optimised network and the original's, relative to the largest."""
MOST = 6_000_000
"""Bytes of a request that Lambda takes."""
RESERVED = {"index", "error", "s3"}
"""Names that outputs cannot have: of an item's number, of what failed, and of where a result is."""
EXAMPLE = "example.json"
WAY = f'put an example of yours beside it, as {EXAMPLE}: {{"data": [{{INPUT: numbers, …}}, …]}}'


def make_example(one: Any, items: int, free: int) -> Any:
    """Return values for an input: small numbers that differ, ones, or a word."""
    shape = (items, *(size if isinstance(size, int) else free for size in one.shape[1:]))
    kind = TYPES[one.type]
    if kind is np.object_:
        return np.full(shape, "example", object)
    if np.issubdtype(kind, np.floating):
        return (np.arange(np.prod(shape)).reshape(shape) % 17 / 16).astype(kind)
    return np.ones(shape, kind)


def read_example(path: Path, inputs: list[Any]) -> dict[str, Any]:
    """Return the values of an example file for each input; ValueError if they do not fit."""
    found = json.loads(path.read_text(encoding="utf-8"))
    data = found.get("data") if isinstance(found, dict) else None
    names = [one.name for one in inputs]
    if not isinstance(data, list) or not data or any(set(item) != set(names) for item in data):
        raise ValueError(
            f'{path.name} beside it holds another thing than {{"data": [{{INPUT: numbers, …}}, …]}} with a '
            f"value for each of {', '.join(names)}; fix it, or move it away"
        )
    return {one.name: np.array([item[one.name] for item in data], TYPES[one.type]) for one in inputs}


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
        if one.type.startswith("seq(map("):
            raise ValueError(
                f"its output {one.name} is a {one.type}, as skl2onnx writes it; export it with "
                'options={"zipmap": False}'
            )
        if one.type not in OUTPUTS:
            raise ValueError(f"its output {one.name} is a {one.type}; expected {', '.join(sorted(OUTPUTS))}")
    names = [clean(one.name) for one in session.get_outputs()]
    if taken := sorted(name for name in {*names} if names.count(name) > 1 or name in RESERVED):
        raise ValueError(
            f"two of its outputs, or an output and a field of every record, are called {taken[0]}; export it "
            "with other names, such as by output_names of torch.onnx.export"
        )


def clean(name: str) -> str:
    """Return an output's name as records and files have it."""
    return re.sub(r"\W", "_", name)


def is_array(one: Any) -> bool:
    """Return whether an output is an array in an answer, not a part of its record."""
    shape = one.shape[1:]
    short = not shape or (len(shape) == 1 and isinstance(shape[0], int) and shape[0] <= SHORT)
    return not short and one.type != "tensor(string)"


def run_items(session: Any, feed: dict[str, Any]) -> list[Any]:
    """Return a network's outputs for items: together, or one by one where it was exported so."""
    if all(one.shape[0] != 1 for one in session.get_inputs()):
        return [np.asarray(one) for one in session.run(None, feed)]
    count = len(next(iter(feed.values())))
    rows = [
        session.run(None, {name: one[row : row + 1] for name, one in feed.items()}) for row in range(count)
    ]
    return [np.concatenate([np.atleast_1d(one) for one in parts]) for parts in zip(*rows, strict=True)]


def answer(session: Any, example: Path) -> tuple[dict[str, Any], list[Any]]:
    """Return an example and the network's answer to it; ValueError if it answers none."""
    inputs = session.get_inputs()
    if example.is_file():
        feed = read_example(example, inputs)
        return feed, run_items(session, feed)
    for free in SIZES:
        most = max((make_example(one, 1, free).size for one in inputs), default=0)
        single = most > LARGE or any(one.shape[0] == 1 for one in inputs)
        feed = {one.name: make_example(one, 1 if single else ITEMS, free) for one in inputs}
        try:
            return feed, run_items(session, feed)
        except Exception as error:  # noqa: BLE001 - ONNX Runtime's have no base class of their own
            reason = " ".join(str(error).split())[-300:]
    raise ValueError(
        f"it answers none of the examples that were made of its inputs' shapes ({reason}); {WAY}"
    )


def check_answer(names: list[str], right: list[Any], items: int) -> None:
    """Refuse outputs that are not the items', or are not numbers; ValueError names one."""
    for name, output in zip(names, right, strict=True):
        if not np.shape(output) or len(output) != items:
            raise ValueError(f"its output {name} has shape {np.shape(output)} for {items} items")
        if output.dtype.kind == "f" and not np.isfinite(output).all():
            raise ValueError(f"its output {name} of an example is not finite; {WAY}")


def compare(names: list[str], found: list[Any], right: list[Any]) -> float:
    """Return the largest difference; ValueError names an output that the optimised network gets wrong."""
    loss = 0.0
    for name, one, two in zip(names, found, right, strict=True):
        if two.dtype.kind != "f":
            if not np.array_equal(one, two):
                raise ValueError(f"the optimised network's output {name} is another one")
        elif two.size:
            difference = float(np.abs(one.astype(np.float64) - two.astype(np.float64)).max())
            if not difference <= TOLERANCE * max(1.0, float(np.abs(two).max())):
                raise ValueError(f"the optimised network's output {name} is off by {difference:.2g}")
            loss = max(loss, difference)
    return loss


def optimise_equally(path: Path, target: Path, feed: dict[str, Any], right: list[Any]) -> float:
    """Optimise a network as far as it answers the same, and return how far it is off."""
    for level in LEVELS:
        optimise(path, target, level)
        session = open_session(target / GRAPH)
        names = [one.name for one in session.get_outputs()]
        try:
            return compare(names, run_items(session, feed), right)
        except ValueError:  # such as a quantised one, whose rounding moves
            if level == LEVELS[-1]:
                raise
    return 0.0


def find_precision(path: Path) -> str:
    """Return int8 of a quantised network, whose answers depend on the processor, and float32 of others."""
    kinds = {node.op_type for node in onnx.load(path, load_external_data=False).graph.node}
    quantised = any("Quantize" in kind or "Integer" in kind or kind.startswith("QLinear") for kind in kinds)
    return "int8" if quantised else "float32"


def check_size(data: list[Any]) -> None:
    """Refuse items of which not one fits into a request; ValueError says how large one is."""
    size = len(json.dumps({"data": data[:1]}))
    if size > MOST:
        raise ValueError(
            f"an item of its inputs is {size / 1e6:.0f} MB of JSON, and a request has 6 MB at most. Begin "
            "with --from image-fastai, whose function reads its inputs from S3"
        )


def run(path: Path, target: Path) -> dict[str, Any]:
    """Export a network, and return what the module says; ValueError for one that has no way."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    original = open_session(path, options)
    check(original)
    feed, right = answer(original, path.with_name(EXAMPLE))
    items = len(next(iter(feed.values())))
    names = [one.name for one in original.get_outputs()]
    check_answer(names, right, items)
    loss = optimise_equally(path, target, feed, right)
    large = {clean(one.name) for one in original.get_outputs() if is_array(one)}
    # Truth values in an array are numbers.
    shown = {
        clean(name): one.astype(np.uint8) if one.dtype.kind == "b" and clean(name) in large else one
        for name, one in zip(names, right, strict=True)
    }
    rows = [{name: one[item].tolist() for name, one in shown.items()} for item in range(items)]
    predictions = [{"index": item, **row} for item, row in enumerate(rows)]
    data = [{name: values[item].tolist() for name, values in feed.items()} for item in range(items)]
    check_size(data)
    return {
        "data": data,
        "predictions": predictions,
        "loss": loss,
        "arrays": sorted(large),
        "precision": find_precision(path),
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
