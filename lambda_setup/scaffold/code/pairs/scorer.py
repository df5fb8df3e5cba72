"""Pairs of texts in, a score each out: how well the second answers or resembles the first.

A network that scores single texts takes those, too.
"""

from collections.abc import Iterator
from typing import Annotated, ClassVar

from msgspec import Meta

from lambda_inference import BaseRequest, Deadline, Model, Prediction
from lambda_inference.texts import MAX_CHARS, MAX_ITEMS, check_unicode
from network import Network

WINDOW = 512
"""Pairs that are sorted by length together."""

Text = Annotated[str, Meta(max_length=MAX_CHARS)]
Pairs = Annotated[
    list[Text | Annotated[list[Text], Meta(min_length=2, max_length=2)]],
    Meta(
        min_length=1,
        max_length=MAX_ITEMS,
        description=f"a list of 1 to {MAX_ITEMS:,} pairs of strings of at most {MAX_CHARS:,} characters, "
        'such as [["a question", "a text"]], or of single strings',
    ),
]


class PairRequest(BaseRequest, kw_only=True):
    """Pairs to score."""

    data: Pairs

    def __post_init__(self) -> None:
        for index, item in enumerate(self.data if isinstance(self.data, list) else []):
            for text in [item] if isinstance(item, str) else item:
                check_unicode(text, f"data[{index}]")


class Scorer:
    """A score for each pair, as sentence-transformers' CrossEncoder gives it."""

    Request: ClassVar[type[BaseRequest]] = PairRequest

    def __init__(self) -> None:
        self._network = Network()

    def load(self, model: Model) -> None:
        """Load a model, which is in memory and never on disk."""
        self._network.load(model)

    def predict(self, request: PairRequest, deadline: Deadline) -> Iterator[Prediction]:
        """Yield a prediction a pair, in input order."""
        for start, items in deadline.batches(request.data, WINDOW):
            sent = [item if isinstance(item, str) else tuple(item) for item in items]
            rows = self._network.run(self._network.tokenizer.encode_batch(sent), deadline)
            for index, (item, (scores,)) in enumerate(zip(items, rows, strict=True), start):
                key = "text" if isinstance(item, str) else "texts"
                yield Prediction({"index": index, key: item, "score": float(scores[0])})
