"""What the original network answers, by transformers' own pipelines where it has one for the task."""

from typing import Any

import torch
from transformers import pipeline

LONGEST, STRIDE = 384, 128
"""As in the function's reader of passages."""


def ask(network: Any, tokenizer: Any, inputs: dict[str, torch.Tensor], request: dict[str, Any]) -> list[Any]:
    """Return the predictions of an exported network's original, as its function has to give them.

    Args:
        network: the ``Exported`` that holds it.
        tokenizer: the original one.
        inputs: of the request's data, encoded.
        request: the example event.

    """
    tokenizer.model_max_length = network.asked["longest"]
    answers = _ASK[network.asked["task"]](network, tokenizer, inputs, request)
    return [{"index": index, **answer} for index, answer in enumerate(answers)]


def _embed(network: Any, _: Any, inputs: dict[str, torch.Tensor], request: dict[str, Any]) -> list[Any]:
    vectors = network(**inputs)[0].tolist()
    return [{"text": text, "vector": vector} for text, vector in zip(request["data"], vectors, strict=True)]


def _classify(network: Any, tokenizer: Any, _: Any, request: dict[str, Any]) -> list[Any]:
    ask = pipeline("text-classification", model=network.model, tokenizer=tokenizer)
    found = ask(request["data"], top_k=request["top_k"], truncation=True)
    return [
        {"text": text, **labels[0], "labels": labels}
        for text, labels in zip(request["data"], found, strict=True)
    ]


def _choose(network: Any, tokenizer: Any, _: Any, request: dict[str, Any]) -> list[Any]:
    ask = pipeline("zero-shot-classification", model=network.model, tokenizer=tokenizer)
    options = {name: request[name] for name in ("hypothesis_template", "multi_label") if name in request}
    answers = []
    for found in ask(request["data"], request["labels"], **options):
        labels = [
            {"label": label, "score": score}
            for label, score in zip(found["labels"], found["scores"], strict=True)
        ]
        answers.append({"text": found["sequence"], **labels[0], "labels": labels})
    return answers


def _score(network: Any, tokenizer: Any, _: Any, request: dict[str, Any]) -> list[Any]:
    ask = pipeline("text-classification", model=network.model, tokenizer=tokenizer)
    function = "none" if network.asked["activation"] == "Identity" else "sigmoid"
    sent = [one if isinstance(one, str) else {"text": one[0], "text_pair": one[1]} for one in request["data"]]
    found = ask(sent, truncation=True, function_to_apply=function)
    return [
        {"text" if isinstance(item, str) else "texts": item, "score": one["score"]}
        for item, one in zip(request["data"], found, strict=True)
    ]


def _tag(network: Any, tokenizer: Any, _: Any, request: dict[str, Any]) -> list[Any]:
    ask = pipeline("token-classification", model=network.model, tokenizer=tokenizer)
    answers = []
    for text in request["data"]:
        entities = [
            {
                "label": one["entity"],
                "score": float(one["score"]),
                "text": text[one["start"] : one["end"]],
                "start": one["start"],
                "end": one["end"],
            }
            for one in ask(text)
        ]
        answers.append({"text": text, "entities": entities})
    return answers


def _read(network: Any, tokenizer: Any, _: Any, request: dict[str, Any]) -> list[Any]:
    """Return the best passages, as transformers 4's pipeline for question answering chose them."""
    answers = []
    longest = min(LONGEST, network.asked["longest"])
    for one in request["data"]:
        found = tokenizer(
            one["question"], one["context"], truncation="only_second", return_tensors="pt",
            stride=min(STRIDE, longest // 2), max_length=longest, padding=True, return_offsets_mapping=True,
            return_overflowing_tokens=True,
        )  # fmt: skip
        names = [name for name in tokenizer.model_input_names if name in found]
        spans = []
        for piece, logits in enumerate(zip(*network(**{name: found[name] for name in names}), strict=True)):
            allowed = torch.tensor([part == 1 for part in found.sequence_ids(piece)])
            allowed[0] = True
            first, last = (side.masked_fill(~allowed, -1e4).softmax(-1) for side in logits)
            first[0] = last[0] = 0
            length = request.get("max_answer_len", 15)
            scores = torch.outer(first, last).triu().tril(length - 1)
            start, end = divmod(int(scores.argmax()), len(last))
            places = found["offset_mapping"][piece]
            spans.append((float(scores[start, end]), int(places[start][0]), int(places[end][1])))
        score, start, end = max(spans)
        answers.append({"answer": one["context"][start:end], "score": score, "start": start, "end": end})
    return answers


_ASK = {
    "embedding": _embed,
    "classification": _classify,
    "entailment": _choose,
    "pairs": _score,
    "tokens": _tag,
    "answers": _read,
}
