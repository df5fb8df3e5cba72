"""Questions and texts in, the passage that answers each out: extractive question answering."""

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

from msgspec import Meta, Struct

from lambda_inference import BaseRequest, Deadline, Model, Prediction
from lambda_inference.texts import MAX_CHARS, MAX_ITEMS
from network import Network

WINDOW = 64
"""Questions whose texts are read together."""
LONGEST, STRIDE = 384, 128
"""Tokens that are read at once, with the question, and those that two pieces of a text share."""

Text = Annotated[str, Meta(min_length=1, max_length=MAX_CHARS)]


class Question(Struct, forbid_unknown_fields=True):
    """A question, and the text that answers it."""

    question: Text
    context: Text


Questions = Annotated[
    list[Question],
    Meta(min_length=1, max_length=MAX_ITEMS, description='a list of {"question": "…", "context": "…"}'),
]


class ReadingRequest(BaseRequest, kw_only=True):
    """Questions to answer."""

    data: Questions
    max_answer_len: Annotated[int, Meta(ge=1, le=512, description="tokens of an answer, 1 to 512")] = 15


class Reader:
    """The passage of a text that answers a question best."""

    Request: ClassVar[type[BaseRequest]] = ReadingRequest

    def __init__(self) -> None:
        self._network = Network()

    def load(self, model: Model) -> None:
        """Load a model, which is in memory and never on disk."""
        self._network.load(model)
        longest = min(LONGEST, self._network.settings["longest"])
        self._network.tokenizer.enable_truncation(
            longest, stride=min(STRIDE, longest // 2), strategy="only_second"
        )

    def predict(self, request: ReadingRequest, deadline: Deadline) -> Iterator[Prediction]:
        """Yield a prediction a question, in input order; places are characters of its text."""
        for start, questions in deadline.batches(request.data, WINDOW):
            asked = [(one.question, one.context) for one in questions]
            found = self._network.tokenizer.encode_batch(asked)
            pieces = [
                (place, one) for place, whole in enumerate(found) for one in (whole, *whole.overflowing)
            ]
            rows = self._network.run([piece for _, piece in pieces], deadline)
            best = [(-1.0, 0, 0)] * len(questions)
            for (place, piece), logits in zip(pieces, rows, strict=True):
                best[place] = max(best[place], self._find_passage(piece, logits, request.max_answer_len))
            for index, (one, (score, first, end)) in enumerate(zip(questions, best, strict=True), start):
                answer = {"answer": one.context[first:end], "score": score, "start": first, "end": end}
                yield Prediction({"index": index, **answer})

    def _find_passage(self, piece: Any, logits: list[Any], longest: int) -> tuple[float, int, int]:
        """Return the score of a piece's best passage, and its first character and the one after it."""
        np = self._network.numpy
        allowed = np.array([one == 1 for one in piece.sequence_ids])
        allowed[0] = True  # "no answer", which takes its share
        shares = []
        for one in logits:
            powers = np.exp(one[: len(allowed)] - one[: len(allowed)][allowed].max()) * allowed
            shares.append(powers / powers.sum())
            shares[-1][0] = 0
        scores = np.tril(np.triu(np.outer(*shares)), longest - 1)
        first, last = np.unravel_index(scores.argmax(), scores.shape)
        return float(scores[first, last]), piece.offsets[first][0], piece.offsets[last][1]
