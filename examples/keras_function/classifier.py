"""Rows of numbers in, a label and a probability for each label out, whichever engine computes them."""

import os
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, ClassVar, Protocol

import msgspec
from msgspec import Meta, Struct

from lambda_inference import (
    BadRequest,
    BaseRequest,
    Deadline,
    Model,
    Prediction,
    Unavailable,
    load_engine_module,
)
from lambda_inference.threads import thread_count

MAX_ITEMS = int(os.environ.get("MAX_ITEMS", "10000"))
LIMIT = 1e6
"""How far from zero a feature may lie: far outside of it single precision ends."""
BATCH = 1024
"""Rows computed at once; more of them are no faster, and take more memory."""

_TOLERANCE = 1e-3

Rows = Annotated[
    list[list[Annotated[float, Meta(ge=-LIMIT, le=LIMIT)]]],
    Meta(
        min_length=1,
        max_length=MAX_ITEMS,
        description=f"a list of 1 to {MAX_ITEMS:,} rows, each a list of numbers from {-LIMIT:,.0f} to "
        f"{LIMIT:,.0f}",
    ),
]


class ClassificationRequest(BaseRequest, kw_only=True):
    """What a request may say, beside the fields of every request; how long a row is, the model says."""

    data: Rows


class Labels(Struct, frozen=True):
    """A model's ``labels.json``: the names of a row's features and of what the network tells apart."""

    features: Annotated[list[str], Meta(min_length=1)]
    labels: Annotated[list[str], Meta(min_length=2)]


class Engine(Protocol):
    """What computes: one module of this folder each, whose ``load(model, threads)`` returns one."""

    def probabilities(self, rows: Sequence[Sequence[float]]) -> list[list[float]]:
        """Return each row's probability for each label."""


class Classifier:
    """A Keras classifier of rows; the same answer whatever stands beside a row."""

    Request: ClassVar[type[BaseRequest]] = ClassificationRequest

    def __init__(self) -> None:
        # The heavy imports happen here, while the model is on its way.
        self._engine_module: Any = load_engine_module()

    def load(self, model: Model) -> None:
        """Take up a model with a ``labels.json`` beside the engine's own files, and try it with one row.

        Raises:
            Unavailable: it is not what its ``labels.json`` says, or no classifier.

        """
        name = model.manifest.name
        try:
            self._labels = msgspec.json.decode(model.only("labels.json"), type=Labels)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Unavailable(f"labels.json of {name} is none: {error}; publish it again") from None
        self._engine: Engine = self._engine_module.load(model, thread_count())
        (found,) = self._engine.probabilities([[0.0] * len(self._labels.features)])
        # With a NaN among them this sum is none either.
        if len(found) != len(self._labels.labels) or not abs(sum(found) - 1) < _TOLERANCE:
            raise Unavailable(
                f"{name} answers with {len(found)} numbers whose sum is {sum(found):.3f}, and its labels "
                f"are {len(self._labels.labels)}, each with a probability; publish it again"
            )

    def predict(self, request: ClassificationRequest, deadline: Deadline) -> Iterator[Prediction]:
        """Yield a prediction a row in input order."""
        rows, features, labels = request.data, self._labels.features, self._labels.labels
        for index, row in enumerate(rows):
            if len(row) != len(features):
                raise BadRequest(
                    f"data[{index}] takes as many numbers as the model has features, {len(features)}; "
                    f"got {len(row)}",
                    field=f"data[{index}]",
                )
        for start, batch in deadline.batches(rows, BATCH):
            found = self._engine.probabilities(batch)
            for index, probabilities in enumerate(found, start):
                best = max(range(len(labels)), key=probabilities.__getitem__)
                record = {
                    "index": index,
                    "label": labels[best],
                    "probabilities": dict(zip(labels, probabilities, strict=True)),
                }
                yield Prediction(record, counts={"Rows": 1})
