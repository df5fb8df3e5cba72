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
"""Largest absolute value of a feature, far within single precision."""
BATCH = 1024
"""Rows in a batch; more are not faster, and take more memory."""

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
    """Rows to classify; the model determines their length."""

    data: Rows


class Labels(Struct, frozen=True):
    """A model's ``labels.json``: the names of a row's features and of the network's classes."""

    features: Annotated[list[str], Meta(min_length=1)]
    labels: Annotated[list[str], Meta(min_length=2)]


class Engine(Protocol):
    """A network: the ``load(model, threads)`` of each module ``engine_*.py`` returns one."""

    def probabilities(self, rows: Sequence[Sequence[float]]) -> list[list[float]]:
        """Return each row's probability for each label."""


class Classifier:
    """A Keras classifier of rows, whose answers do not depend on the batch."""

    Request: ClassVar[type[BaseRequest]] = ClassificationRequest

    def __init__(self) -> None:
        # The heavy imports happen here, while the model is downloaded.
        self._engine_module: Any = load_engine_module()

    def load(self, model: Model) -> None:
        """Load a model: ``labels.json`` and the engine's own files; then test it with one row.

        Raises:
            Unavailable: the model does not fit its ``labels.json``, or is not a classifier.

        """
        name = model.manifest.name
        try:
            self._labels = msgspec.json.decode(model.only("labels.json"), type=Labels)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Unavailable(f"invalid labels.json of {name}: {error}; publish it again") from None
        self._engine: Engine = self._engine_module.load(model, thread_count())
        (result,) = self._engine.probabilities([[0.0] * len(self._labels.features)])
        # A NaN makes the comparison false, too.
        if len(result) != len(self._labels.labels) or not abs(sum(result) - 1) < _TOLERANCE:
            raise Unavailable(
                f"{name} answers with {len(result)} numbers whose sum is {sum(result):.3f}; expected a "
                f"probability for each of its {len(self._labels.labels)} labels; publish it again"
            )

    def predict(self, request: ClassificationRequest, deadline: Deadline) -> Iterator[Prediction]:
        """Yield each row's prediction, in input order."""
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
