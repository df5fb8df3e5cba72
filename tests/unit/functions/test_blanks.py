"""Predictors of starting points: what they make of a network's numbers, as transformers does."""

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lambda_inference import Deadline
from lambda_inference._requests import parse
from lambda_setup.scaffold import blank

MODULES = ("app", "network", "embedder", "classifier", "tagger", "scorer", "reader")


class Tokenizer:
    """A tokenizer whose tokens are characters, between a special one at each end."""

    def enable_truncation(self, *_: Any, **__: Any) -> None:
        """Do nothing: no text is long."""

    def encode_batch(self, texts: list[Any]) -> list[Any]:
        """Return the texts' tokens; of a pair, those of the first, a special one, and the second's."""
        return [self.encode(text if isinstance(text, tuple) else (text,)) for text in texts]

    def encode(self, texts: tuple[str, ...]) -> Any:
        """Return the tokens of one text or pair."""
        parts: list[int | None] = [None]
        offsets = [(0, 0)]
        for number, text in enumerate(texts):
            parts += [*[number] * len(text), None]
            offsets += [*((place, place + 1) for place in range(len(text))), (0, 0)]
        special = [int(part is None) for part in parts]
        return SimpleNamespace(
            ids=special, sequence_ids=parts, offsets=offsets, special_tokens_mask=special, overflowing=[]
        )


@pytest.fixture
def ask(monkeypatch):
    """Return what asks a task's predictor whose network gives one output a text, or several."""

    def answer(task: str, request: Any, rows: list[list[Any]], labels: list[str] | None = None) -> list[Any]:
        for name in MODULES:
            monkeypatch.delitem(sys.modules, name, raising=False)
        for folder in (blank.CODE / "shared", blank.CODE / task):
            monkeypatch.syspath_prepend(str(folder))
        import network

        def load(self: Any, _: Any) -> None:
            self.settings, self.tokenizer = {"labels": labels or [], "longest": 512}, Tokenizer()

        monkeypatch.setattr(network.Network, "__init__", lambda self: setattr(self, "numpy", np))
        monkeypatch.setattr(network.Network, "load", load)
        arrays = [[np.array(one, np.float32) for one in row] for row in rows]
        monkeypatch.setattr(network.Network, "run", lambda _self, _encodings, _deadline: arrays)
        import app

        predictor = app.lambda_handler.predictor_type()
        predictor.load(None)
        found = predictor.predict(parse(request, predictor.Request), Deadline.after(60))
        for name in MODULES:
            monkeypatch.delitem(sys.modules, name, raising=False)
        return list(found)

    return answer


def test_vectors_are_arrays(ask):
    """A text's vector is beside its record."""
    [one] = ask("embedding", {"data": ["ab"]}, [[[0.5, 1.0]]])
    assert one.record == {"index": 0, "text": "ab"}
    assert one.arrays["vector"][0].tolist() == [0.5, 1.0]
    assert one.counts == {"Tokens": 4}


@pytest.mark.parametrize("top_k", [1, 2])
def test_labels_are_sorted(ask, top_k):
    """The best stands in the record, as transformers' pipeline has it, and more are listed if asked for."""
    request = {"data": ["x"], "top_k": top_k}
    [one] = ask("classification", request, [[[0.25, 0.5, 0.125]]], ["a", "b", "c"])
    first, second = {"label": "b", "score": 0.5}, {"label": "a", "score": 0.25}
    listed = {"labels": [first, second]} if top_k > 1 else {}
    assert one.record == {"index": 0, "text": "x", **first, **listed}


def test_tokens_outside_are_left_out(ask):
    """A labelled token has its place in the text; special ones and those outside have none."""
    scores = [[0.0, 1.0], [0.75, 0.25], [0.25, 0.75], [0.0, 1.0]]
    [one] = ask("tokens", {"data": ["ab"]}, [[scores]], ["O", "B-X"])
    entity = {"label": "B-X", "score": 0.75, "text": "b", "start": 1, "end": 2}
    assert one.record == {"index": 0, "text": "ab", "entities": [entity]}


def test_pairs_have_a_score(ask):
    """One for each pair, in order."""
    found = ask("pairs", {"data": [["a", "b"], ["c", "d"]]}, [[[0.5]], [[0.25]]])
    assert [one.record for one in found] == [
        {"index": 0, "texts": ["a", "b"], "score": 0.5},
        {"index": 1, "texts": ["c", "d"], "score": 0.25},
    ]


@pytest.mark.parametrize(("labels", "multi"), [(["x", "y"], False), (["x", "y"], True), (["x"], False)])
@pytest.mark.parametrize("classes", [["contradiction", "neutral", "entailment"], ["ENTAILMENT", "not"]])
def test_zero_shot_scores(ask, labels, multi, classes):
    """Entailment against the other labels', or against contradiction, as transformers' pipeline has it."""
    logits = np.array([[1.0, 0.5, 2.0], [0.25, 3.0, -1.0]], np.float32)[: len(labels), : len(classes)]
    entails = 0 if classes[0] == "ENTAILMENT" else 2
    if multi or len(labels) == 1:
        powers = np.exp(logits[:, [-1 if entails == 0 else 0, entails]])
        scores = (powers / powers.sum(-1, keepdims=True))[:, 1]
    else:
        powers = np.exp(logits[:, entails])
        scores = powers / powers.sum()
    request = {"data": ["t"], "labels": labels, "multi_label": multi}
    [one] = ask("entailment", request, [[row] for row in logits], classes)
    found = {label["label"]: label["score"] for label in one.record["labels"]}
    assert found == pytest.approx(dict(zip(labels, scores.tolist(), strict=True)))
    assert one.record["score"] == max(found.values())


def test_passages_are_of_the_text(ask):
    """The best start and end of the context, neither of the question, and no longer than asked for."""
    # Tokens: [special] q [special] a b c [special]
    start = [0.0, 9.0, 0.0, 1.0, 4.0, 0.0, 0.0]
    end = [0.0, 9.0, 0.0, 0.0, 1.0, 4.0, 9.0]
    request = {"data": [{"question": "q", "context": "abc"}]}
    [one] = ask("answers", request, [[start, end]])
    allowed = [0, 3, 4, 5]
    share = np.exp(4.0) / np.exp([start[place] for place in allowed]).sum()
    assert one.record == {
        "index": 0, "answer": "bc", "score": pytest.approx(float(share**2)), "start": 1, "end": 3
    }  # fmt: skip
    [short] = ask("answers", request | {"max_answer_len": 1}, [[start, end]])
    assert (short.record["answer"], short.record["start"]) == ("b", 1)
