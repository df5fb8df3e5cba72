"""Networks in ONNX, opened by ONNX Runtime from the model's memory, for predictors."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from lambda_inference._models import Model
from lambda_inference.threads import thread_count

__all__ = ["open_network"]

_DTYPES = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 9: "bool",
    10: "float16", 11: "float64", 12: "uint32", 13: "uint64",
}  # fmt: skip
"""Numbers of ONNX's types, and numpy's names."""
# Numbers of fields in onnx.proto.
_GRAPH, _INITIALIZER = 7, 5
_DIMS, _DATA_TYPE, _NAME, _EXTERNAL_DATA = 1, 2, 8, 13
_KEY, _VALUE = 1, 2
_LONGEST = 64
"""Bits of a number."""


def open_network(model: Model) -> Any:
    """Return an ``onnxruntime.InferenceSession`` of a model's one ``*.onnx``.

    The graph is taken as it is, so optimise it when you export it. Weights in files ``*.data`` are named to
    ONNX Runtime one by one: from whole files it would copy each twice, and a start would wait for it.

    Raises:
        Unavailable: the model has no ``*.onnx``, or several.

    """
    import numpy as np
    import onnxruntime

    graph = bytes(model.only(".onnx"))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = thread_count()
    # The cores are others' too, and a waiting thread would keep one.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    files = {name: data for name, data in model.files.items() if name.endswith(".data")}
    weights = {}
    # ONNX Runtime says better what is wrong with a network.
    with suppress(LookupError, ValueError, TypeError, ArithmeticError):
        weights = {
            name: onnxruntime.OrtValue.ortvalue_from_numpy(np.frombuffer(data, dtype).reshape(shape))
            for name, dtype, shape, data in _list_weights(graph, files)
        }
    options.add_external_initializers(list(weights), list(weights.values()))
    # The others, such as those of a branch.
    options.add_external_initializers_from_files_in_memory(
        list(files), list(files.values()), list(map(len, files.values()))
    )
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _list_weights(
    network: bytes, files: dict[str, memoryview]
) -> Iterator[tuple[str, str, list[int], memoryview]]:
    """Yield the weights of a network that lie in files: name, numpy's type, shape and bytes."""
    graphs = (graph for number, graph in _parse(memoryview(network)) if number == _GRAPH)
    tensors = (tensor for graph in graphs for number, tensor in _parse(graph) if number == _INITIALIZER)
    for tensor in tensors:
        name, dtype, shape, place = "", "", [], {}
        for number, value in _parse(tensor):
            if number == _DIMS:
                shape += [value] if isinstance(value, int) else _unpack(value)
            elif number == _DATA_TYPE:
                dtype = _DTYPES.get(value, "")
            elif number == _NAME:
                name = str(value, "utf-8")
            elif number == _EXTERNAL_DATA:
                entry = dict(_parse(value))
                place[str(entry[_KEY], "utf-8")] = str(entry[_VALUE], "utf-8")
        if dtype and (data := files.get(place.get("location", ""))) is not None and 0 not in shape:
            start = int(place.get("offset", 0))
            size = int(place.get("length", len(data) - start))
            yield name, dtype, shape, data[start : start + size]


def _parse(message: memoryview) -> Iterator[tuple[int, Any]]:
    """Yield the fields of a message of Protocol Buffers, each its number and its value: an int, or bytes."""
    at = 0
    while at < len(message):
        key, at = _read_number(message, at)
        kind = key & 7
        value: Any
        if kind == 0:
            value, at = _read_number(message, at)
        else:
            size = {1: 8, 5: 4}.get(kind, 0)
            if kind == 2:  # noqa: PLR2004 - a length stands before the bytes
                size, at = _read_number(message, at)
            value, at = message[at : at + size], at + size
        yield key >> 3, value


def _read_number(message: memoryview, at: int) -> tuple[int, int]:
    """Return the number at a place, in groups of 7 bits, and the place behind it."""
    number = shift = 0
    while True:
        byte = message[at]
        number |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:  # noqa: PLR2004 - the last group
            return number, at
        if shift > _LONGEST:
            raise ValueError("a number is too long")


def _unpack(message: memoryview) -> list[int]:
    """Return the numbers of a packed list."""
    numbers, at = [], 0
    while at < len(message):
        number, at = _read_number(message, at)
        numbers.append(number)
    return numbers
