"""Texts in, a vector each out."""

from collections.abc import Iterator
from typing import ClassVar

from lambda_inference import Array, BaseRequest, Deadline, Model, Prediction
from lambda_inference.texts import TextRequest
from network import Network

WINDOW = 512
"""Texts that are sorted by length together."""


class Embedder:
    """The vectors of texts, as the network pools and scales them."""

    Request: ClassVar[type[BaseRequest]] = TextRequest

    def __init__(self) -> None:
        self._network = Network()

    def load(self, model: Model) -> None:
        """Load a model, which is in memory and never on disk."""
        self._network.load(model)

    def predict(self, request: TextRequest, deadline: Deadline) -> Iterator[Prediction]:
        """Yield a prediction a text, in input order, each with one array ``vector``."""
        prompt = self._network.settings.get("prompt", "")
        for start, texts in deadline.batches(request.data, WINDOW):
            encodings = self._network.tokenizer.encode_batch([prompt + text for text in texts])
            rows = self._network.run(encodings, deadline)
            for index, (text, encoding, (vector,)) in enumerate(
                zip(texts, encodings, rows, strict=True), start
            ):
                array = Array(vector.tobytes(), "f", vector.shape)
                counts = {"Tokens": len(encoding.ids)}
                yield Prediction({"index": index, "text": text}, {"vector": [array]}, counts)

    def count_array_bytes(self, _: TextRequest) -> int:
        """Return the bytes of a vector, by which inline answers that cannot fit are refused at once."""
        size = self._network.shapes[0][-1]
        return 4 * size if isinstance(size, int) else 0
