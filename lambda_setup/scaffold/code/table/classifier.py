"""Rows of numbers in, a label and a probability for each label out, by a network in ONNX Runtime."""

import os
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta, Struct

from lambda_inference import BadRequest, BaseRequest, Deadline, Model, Prediction
from lambda_inference.threads import thread_count

MAX_ITEMS = int(os.environ.get("MAX_ITEMS", "10000"))
BATCH = 1024
"""Rows that are computed between two checks of the deadline."""


class RowsRequest(BaseRequest, kw_only=True):
    """Rows to classify; the model determines their length."""

    data: Annotated[
        list[list[Annotated[float, Meta(ge=-1e6, le=1e6)]]],
        Meta(
            min_length=1,
            max_length=MAX_ITEMS,
            description=f"a list of 1 to {MAX_ITEMS:,} rows, each a list of numbers from -1,000,000 to "
            "1,000,000",
        ),
    ]


class Labels(Struct, frozen=True):
    """A model's ``labels.json``: the names of a row's numbers and of the network's classes."""

    features: list[str]
    labels: list[str]


class Classifier:
    """A network with one input, float32 rows, and a probability for each label as its first output."""

    Request: ClassVar[type[BaseRequest]] = RowsRequest

    def __init__(self) -> None:
        # Imported while the model is on its way from S3.
        import numpy as np
        import onnxruntime

        self._numpy, self._runtime = np, onnxruntime

    def load(self, model: Model) -> None:
        """Load a model, which is in memory and never on disk."""
        self._labels = msgspec.json.decode(model.only("labels.json"), type=Labels)
        options = self._runtime.SessionOptions()
        options.intra_op_num_threads = thread_count()
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        network = model.only(".onnx").obj
        self._session: Any = self._runtime.InferenceSession(
            network, options, providers=["CPUExecutionProvider"]
        )
        self._input = self._session.get_inputs()[0].name

    def predict(self, request: RowsRequest, deadline: Deadline) -> Iterator[Prediction]:
        """Yield each row's prediction, in input order."""
        labels, count = self._labels.labels, len(self._labels.features)
        for index, row in enumerate(request.data):
            if len(row) != count:
                field = f"data[{index}]"
                raise BadRequest(f"{field} takes {count} numbers; got {len(row)}", field=field)
        for start, batch in deadline.batches(request.data, BATCH):
            rows = self._numpy.array(batch, self._numpy.float32)
            for index, found in enumerate(self._session.run(None, {self._input: rows})[0].tolist(), start):
                best = max(range(len(labels)), key=found.__getitem__)
                probabilities = dict(zip(labels, found, strict=True))
                yield Prediction({"index": index, "label": labels[best], "probabilities": probabilities})
