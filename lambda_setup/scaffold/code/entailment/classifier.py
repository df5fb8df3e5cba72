"""Texts and labels of your own in, how well each label fits out: transformers' zero-shot classification."""

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

from msgspec import Meta

from lambda_inference import BaseRequest, Deadline, Model, Prediction
from lambda_inference.texts import TextRequest
from network import Network

WINDOW = 32
"""Texts whose pairs with labels are sorted by length together."""

Label = Annotated[str, Meta(min_length=1, max_length=200)]


class ZeroShotRequest(TextRequest, kw_only=True):
    """Texts to classify, and the labels to choose from."""

    labels: Annotated[list[Label], Meta(min_length=1, max_length=100, description="1 to 100 labels")]
    hypothesis_template: Annotated[
        str, Meta(pattern=r"\{\}", max_length=500, description="a string with {} in the place of the label")
    ] = "This example is {}."
    multi_label: Annotated[bool, Meta(description="true or false: whether labels exclude each other")] = False


class Classifier:
    """How well labels fit texts, by whether a text entails a sentence with the label."""

    Request: ClassVar[type[BaseRequest]] = ZeroShotRequest

    def __init__(self) -> None:
        self._network = Network()

    def load(self, model: Model) -> None:
        """Load a model, which is in memory and never on disk."""
        self._network.load(model)
        settings = self._network.settings
        self._network.tokenizer.enable_truncation(settings["longest"], strategy="only_first")
        self._entails = [one.lower().startswith("entail") for one in settings["labels"]].index(True)

    def predict(self, request: ZeroShotRequest, deadline: Deadline) -> Iterator[Prediction]:
        """Yield a prediction a text, in input order, its labels sorted by their scores."""
        sentences = [request.hypothesis_template.replace("{}", label) for label in request.labels]
        for start, texts in deadline.batches(request.data, WINDOW):
            pairs = [(text, sentence) for text in texts for sentence in sentences]
            rows = self._network.run(self._network.tokenizer.encode_batch(pairs), deadline)
            logits = self._network.numpy.stack([row[0] for row in rows])
            shaped = logits.reshape(len(texts), len(sentences), -1)
            for index, (text, row) in enumerate(zip(texts, shaped, strict=True), start):
                scores = self._score(row, alone=request.multi_label or len(sentences) == 1)
                best = (-scores).argsort(kind="stable")
                labels = [{"label": request.labels[one], "score": float(scores[one])} for one in best]
                yield Prediction({"index": index, "text": text, **labels[0], "labels": labels})

    def _score(self, logits: Any, *, alone: bool) -> Any:
        """Return the labels' scores: each against its contradiction, or all against each other."""
        against = logits[:, [-1 if self._entails == 0 else 0, self._entails]] if alone else logits.T
        powers = self._network.numpy.exp(against - against.max(-1, keepdims=True))
        shares = powers / powers.sum(-1, keepdims=True)
        return shares[:, 1] if alone else shares[self._entails]
