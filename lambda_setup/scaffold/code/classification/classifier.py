"""Texts in, the label of each out, as transformers' pipeline for text classification."""

from collections.abc import Iterator
from typing import Annotated, ClassVar

from msgspec import Meta

from lambda_inference import BaseRequest, Deadline, Model, Prediction
from lambda_inference.texts import TextRequest
from network import Network

WINDOW = 512
"""Texts that are sorted by length together."""


class ClassificationRequest(TextRequest, kw_only=True):
    """Texts to classify."""

    top_k: Annotated[int, Meta(ge=1, le=1000, description="the number of labels to list, 1 to 1,000")] = 1


class Classifier:
    """The labels of texts, each with its score."""

    Request: ClassVar[type[BaseRequest]] = ClassificationRequest

    def __init__(self) -> None:
        self._network = Network()

    def load(self, model: Model) -> None:
        """Load a model, which is in memory and never on disk."""
        self._network.load(model)

    def predict(self, request: ClassificationRequest, deadline: Deadline) -> Iterator[Prediction]:
        """Yield a prediction a text, in input order: its best label, and with ``top_k`` the best ones."""
        names = self._network.settings["labels"]
        for start, texts in deadline.batches(request.data, WINDOW):
            rows = self._network.run(self._network.tokenizer.encode_batch(texts), deadline)
            for index, (text, (scores,)) in enumerate(zip(texts, rows, strict=True), start):
                best = (-scores).argsort(kind="stable")[: request.top_k]
                labels = [{"label": names[one], "score": float(scores[one])} for one in best]
                listed = {"labels": labels} if request.top_k > 1 else {}
                yield Prediction({"index": index, "text": text, **labels[0], **listed})
