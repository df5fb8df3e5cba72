"""Numbers and strings in, a network's outputs out; their names, types and shapes are the network's."""

import re
from collections.abc import Iterator, Sequence
from math import prod
from typing import Any, ClassVar

from lambda_inference import Array, BadRequest, BaseRequest, Deadline, Model, Prediction
from lambda_inference.networks import open_network
from request import NetworkRequest, read_item

BATCH = 64
"""Items that are computed together, where their shapes are the same."""
SHORT = 64
"""Numbers of the longest output that stands in the record; longer ones are arrays."""
CODES: dict[str, Any] = {"float32": "f", "float64": "d", "int32": "i", "int64": "q", "uint8": "B"}
WIDER = {"float16": "float32", "int8": "int32", "int16": "int32", "uint16": "int32", "uint32": "int64",
         "bool": "uint8"}  # fmt: skip
"""Types of outputs that arrays have none of, and the ones that hold all their values."""


FLOATS = ("tensor(float)", "tensor(double)", "tensor(float16)")


class Network:
    """A network in ONNX Runtime, whose inputs and outputs have the items as their first dimension."""

    Request: ClassVar[type[BaseRequest]] = NetworkRequest

    def __init__(self) -> None:
        # Imported while the model is on its way from S3.
        import numpy as np
        from onnxruntime.capi import onnxruntime_pybind11_state as errors

        self._numpy = np
        self._refusals = (errors.InvalidArgument, errors.Fail, errors.RuntimeException)

    def load(self, model: Model) -> None:
        """Load the network and its weights, which are in memory and never on disk."""
        self._session = open_network(model)
        self._inputs = {one.name: one for one in self._session.get_inputs()}
        self._outputs = self._session.get_outputs()
        # Some networks are exported for one item at a time.
        self._batch = 1 if any(one.shape[0] == 1 for one in self._inputs.values()) else BATCH

    def predict(self, request: NetworkRequest, deadline: Deadline) -> Iterator[Prediction]:
        """Yield a prediction an item, in input order."""
        for start, items in deadline.batches(request.data, self._batch):
            rows = [
                read_item(self._numpy, self._inputs, item, f"data[{index}]")
                for index, item in enumerate(items, start)
            ]
            groups: dict[Any, list[int]] = {}
            for place, row in enumerate(rows):
                groups.setdefault(tuple(array.shape for array in row.values()), []).append(place)
            found: dict[int, list[Any]] = {}
            for places in groups.values():
                feed = {name: self._numpy.stack([rows[one][name] for one in places]) for name in self._inputs}
                outputs = self._run(feed, [f"data[{start + place}]" for place in places])
                found |= {place: [one[row] for one in outputs] for row, place in enumerate(places)}
            for place in range(len(items)):
                yield self._describe(start + place, found[place])

    def count_array_bytes(self, _: NetworkRequest) -> int:
        """Return the bytes of an item's long outputs, as far as the network says how long they are."""
        shapes = [
            one.shape[1:] for one in self._outputs if one.type in FLOATS and not _is_short(one.shape[1:])
        ]
        numbers: int = sum(prod(shape) for shape in shapes if all(isinstance(size, int) for size in shape))
        return 4 * numbers

    def _run(self, feed: dict[str, Any], fields: list[str]) -> list[Any]:
        """Return the network's outputs; BadRequest if it refuses its inputs' values or shapes."""
        try:
            found: list[Any] = self._session.run(None, feed)
        except self._refusals as error:
            if "allocat" in str(error):  # there is too little memory
                raise
            which = fields[0] if len(fields) == 1 else f"one of {fields[0]} to {fields[-1]}"
            reason = str(error).rpartition("Status Message: ")[2].strip()[-200:]
            raise BadRequest(f"{which} is refused by the network: {reason}", field=fields[0]) from error
        return found

    def _describe(self, index: int, outputs: list[Any]) -> Prediction:
        """Return the prediction of an item: short outputs in its record, the others as arrays."""
        record, arrays = {"index": index}, {}
        for one, value in zip(self._outputs, map(self._numpy.asarray, outputs), strict=True):
            name = re.sub(r"\W", "_", one.name)
            if _is_short(one.shape[1:]) or value.dtype.kind in "OSU":
                record[name] = value.tolist()
            else:
                wide = value.astype(WIDER.get(str(value.dtype), value.dtype), copy=False)
                arrays[name] = [Array(wide.tobytes(), CODES[str(wide.dtype)], wide.shape)]
        return Prediction(record, arrays)


def _is_short(shape: Sequence[Any]) -> bool:
    """Return whether an item's output stands in its record."""
    return not shape or (len(shape) == 1 and isinstance(shape[0], int) and shape[0] <= SHORT)
