"""Texts in, the labelled tokens of each out, as transformers' pipeline for token classification."""

from collections.abc import Iterator
from typing import Any, ClassVar

from lambda_inference import BaseRequest, Deadline, Model, Prediction
from lambda_inference.texts import TextRequest
from network import Network

WINDOW = 256
"""Texts that are sorted by length together."""
OUTSIDE = "O"
"""Label of the tokens that belong to nothing."""


class Tagger:
    """The tokens of texts that have a label, each with its score and its place."""

    Request: ClassVar[type[BaseRequest]] = TextRequest

    def __init__(self) -> None:
        self._network = Network()

    def load(self, model: Model) -> None:
        """Load a model, which is in memory and never on disk."""
        self._network.load(model)

    def predict(self, request: TextRequest, deadline: Deadline) -> Iterator[Prediction]:
        """Yield a prediction a text, in input order; places are characters, ``end`` the one behind."""
        for start, texts in deadline.batches(request.data, WINDOW):
            encodings = self._network.tokenizer.encode_batch(texts)
            rows = self._network.run(encodings, deadline)
            for index, (text, encoding, (scores,)) in enumerate(
                zip(texts, encodings, rows, strict=True), start
            ):
                entities = list(self._find_entities(text, encoding, scores))
                yield Prediction({"index": index, "text": text, "entities": entities})

    def _find_entities(self, text: str, encoding: Any, scores: Any) -> Iterator[dict[str, Any]]:
        names = self._network.settings["labels"]
        tokens = zip(encoding.special_tokens_mask, encoding.offsets, strict=True)
        for place, (special, (first, end)) in enumerate(tokens):
            best = int(scores[place].argmax())
            if not special and names[best] != OUTSIDE:
                score = float(scores[place][best])
                yield {
                    "label": names[best], "score": score, "text": text[first:end], "start": first, "end": end
                }  # fmt: skip
