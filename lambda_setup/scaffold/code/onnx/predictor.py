"""Numbers and strings in, a network's outputs out; their names, types and shapes are the network's."""

import os
import re
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

from msgspec import Meta

from lambda_inference import Array, BadRequest, BaseRequest, Deadline, Model, Prediction
from lambda_inference.threads import thread_count

MAX_ITEMS = int(os.environ.get("MAX_ITEMS", "10000"))
BATCH = 64
"""Items that are computed together, where their shapes are the same."""
SHORT = 64
"""Numbers of the longest output that stands in the record; longer ones are arrays."""
TYPES = {
    "tensor(float)": ("float32", "iuf"),
    "tensor(double)": ("float64", "iuf"),
    "tensor(int32)": ("int32", "iu"),
    "tensor(int64)": ("int64", "iu"),
    "tensor(bool)": ("bool", "b"),
    "tensor(string)": ("object", "U"),
}
"""Types of inputs, each with numpy's, and the kinds of values that are taken for it."""
CODES: dict[str, Any] = {"float32": "f", "float64": "d", "int32": "i", "int64": "q", "uint8": "B"}


class NetworkRequest(BaseRequest, kw_only=True):
    """Items, each a value for every input."""

    data: Annotated[
        list[dict[str, Any]],
        Meta(
            min_length=1,
            max_length=MAX_ITEMS,
            description=f"a list of 1 to {MAX_ITEMS:,} objects with a value for each input of the network",
        ),
    ]


class Network:
    """A network in ONNX Runtime, whose inputs and outputs have the items as their first dimension."""

    Request: ClassVar[type[BaseRequest]] = NetworkRequest

    def __init__(self) -> None:
        # Imported while the model is on its way from S3.
        import numpy as np
        import onnxruntime

        self._numpy, self._runtime = np, onnxruntime

    def load(self, model: Model) -> None:
        """Load the network and its weights, which are in memory and never on disk."""
        options = self._runtime.SessionOptions()
        options.intra_op_num_threads = thread_count()
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # The graph was optimised when it was exported.
        options.graph_optimization_level = self._runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
        names = [name for name in model.files if name.endswith(".data")]
        weights = [model.files[name] for name in names]
        options.add_external_initializers_from_files_in_memory(names, weights, list(map(len, weights)))
        graph = bytes(model.only(".onnx"))
        self._session = self._runtime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self._inputs = {one.name: one for one in self._session.get_inputs()}
        self._outputs = self._session.get_outputs()
        # Some networks are exported for one item at a time.
        self._batch = 1 if any(one.shape[0] == 1 for one in self._inputs.values()) else BATCH

    def predict(self, request: NetworkRequest, deadline: Deadline) -> Iterator[Prediction]:
        """Yield a prediction an item, in input order."""
        for start, items in deadline.batches(request.data, self._batch):
            rows = [self._read(item, index) for index, item in enumerate(items, start)]
            groups: dict[Any, list[int]] = {}
            for place, row in enumerate(rows):
                groups.setdefault(tuple(array.shape for array in row.values()), []).append(place)
            found: dict[int, list[Any]] = {}
            for places in groups.values():
                feed = {name: self._numpy.stack([rows[one][name] for one in places]) for name in self._inputs}
                outputs = self._session.run(None, feed)
                found |= {place: [one[row] for one in outputs] for row, place in enumerate(places)}
            for place in range(len(items)):
                yield self._describe(start + place, found[place])

    def _read(self, item: dict[str, Any], index: int) -> dict[str, Any]:
        """Return an item's values as arrays; BadRequest if they are not the network's inputs."""
        field = f"data[{index}]"
        if item.keys() != self._inputs.keys():
            raise BadRequest(f"{field} takes a value for {', '.join(self._inputs)}", field=field)
        row = {}
        for name, one in self._inputs.items():
            kind, takes = TYPES[one.type]
            shape = [size if isinstance(size, int) else "n" for size in one.shape[1:]]
            try:
                value = self._numpy.array(item[name])
            except ValueError:  # lists of different lengths
                value = self._numpy.array(None)
            right = len(value.shape) == len(shape) and all(
                size in {"n", got} for size, got in zip(shape, value.shape, strict=True)
            )
            if not right or value.dtype.kind not in takes:
                takes = f"{kind.replace('object', 'str')} of shape {shape}"
                raise BadRequest(f"{field}: {name} takes {takes}; got shape {[*value.shape]}", field=field)
            row[name] = value.astype(kind)
        return row

    def _describe(self, index: int, outputs: list[Any]) -> Prediction:
        """Return the prediction of an item: short outputs in its record, the others as arrays."""
        record, arrays = {"index": index}, {}
        for one, value in zip(self._outputs, map(self._numpy.asarray, outputs), strict=True):
            name, shape = re.sub(r"\W", "_", one.name), one.shape[1:]
            short = not shape or (len(shape) == 1 and isinstance(shape[0], int) and shape[0] <= SHORT)
            if short or str(value.dtype) not in CODES:
                record[name] = value.tolist()
            else:
                arrays[name] = [Array(value.tobytes(), CODES[str(value.dtype)], value.shape)]
        return Prediction(record, arrays)
