"""The manifest of a batch: which objects hold the answers to a corpus, in its order, and what failed.

::

    inputs/batches/<digest>/index.json              the ranges, a request's id and source each
    prediction_outputs/<id>/predictions.jsonl.gz    a range's answers; their metadata say how many
    prediction_outputs/<id>/error.json              why a range has none
    prediction_outputs/batches/<run>/manifest.jsonl a line of counts, then a line a range

It says only what the objects say, so that the same objects make the same manifest.
"""

import json
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from lambda_inference import _results, inputs
from lambda_inference._errors import BadRequest, Unavailable
from lambda_inference._requests import ID_PATTERN, Source
from lambda_inference._results import PREFIX, ResultStore
from lambda_inference._storage import Missing

MAX_INDEX = 500_000_000
"""Bytes of an index."""
_THREADS = 256
"""Requests at once: S3 answers one in a tenth of a second or two, and one processor 4,000 a second."""


class Shard(Struct):
    """One entry of an index: a range, what its result is called, and how many lines it has."""

    id: Annotated[str, Meta(pattern=ID_PATTERN)]
    lines: int
    source: Source


class Batch(Struct):
    """A run, as the state machine is told of it.

    Attributes:
        run: its name.
        index: the key of its index.
        request: what is asked of every line, the model's version included.
        corpus: what is known of the corpus.

    """

    run: Annotated[str, Meta(pattern=ID_PATTERN)]
    index: str
    request: dict[str, Any]
    corpus: dict[str, Any]


def manifest_key(run: str) -> str:
    """Return the key of a run's manifest."""
    return f"{PREFIX}/batches/{run}/manifest.jsonl"


def write(payload: Any) -> dict[str, Any]:
    """Write a run's manifest unless it is there already, and return the key and the counts.

    Raises:
        BadRequest: the payload is no batch, or its index cannot be read.
        Unavailable: S3 did not answer, or refused.

    """
    from concurrent.futures import ThreadPoolExecutor

    try:
        batch = msgspec.convert(payload, Batch)
    except msgspec.ValidationError as error:
        raise BadRequest(
            f"manifest takes the input of the state machine: {error}", field="manifest"
        ) from None
    index = inputs.read(batch.index, "manifest.index", MAX_INDEX)
    try:
        shards = msgspec.json.decode(index, type=list[Shard])
    except msgspec.DecodeError as error:
        raise BadRequest(f"manifest.index is damaged: {error}", field="manifest.index") from None
    store = ResultStore.from_environment()
    with ThreadPoolExecutor(_THREADS) as pool:
        entries = list(pool.map(lambda shard: _entry(store, shard, batch), shards))
    answered = [entry for entry in entries if "error" not in entry]
    counts = {
        "ranges": len(entries),
        "done": sum(entry["count"] - entry["failed"] for entry in answered),
        "failed": sum(entry["failed"] for entry in answered)
        + sum(entry["lines"] for entry in entries if "error" in entry),
        "failed_ranges": len(entries) - len(answered),
        "retried": sum(entry["attempt"] > 0 for entry in answered),
        "predict_ms": round(sum(entry["predict_ms"] for entry in answered)),
    }
    head = {
        "run": batch.run,
        "corpus": batch.corpus,
        "request": batch.request,
        "model": answered[0]["model"] if answered else None,
        **counts,
    }
    for entry in answered:
        del entry["model"], entry["engine"]
    data = msgspec.json.Encoder().encode_lines([head, *entries])
    key = manifest_key(batch.run)
    if _there(store, key) != data:
        store.bucket.replace(key, data, "application/jsonl")
    return {"s3_bucket": store.bucket.name, "s3_key": key, **counts}


def _entry(store: ResultStore, shard: Shard, batch: Batch) -> dict[str, Any]:
    """Return a range's line of the manifest: the object with its answers, or why there is none."""
    where = {"start": shard.source.start, "end": shard.source.end, "lines": shard.lines}
    commit = _results.commit_key(shard.id)
    try:
        found = msgspec.json.decode(store.bucket.metadata(commit)["result"])
    except (Missing, Unavailable) as fault:
        if isinstance(fault, Unavailable) and not fault.refused:
            raise
        return {**where, "error": _reason(store, shard.id)}
    version = batch.request.get("model_version")
    if version and found["model"]["version"] != version:
        message = f"s3://{store.bucket.name}/{commit} was answered by version {found['model']['version']}"
        return {**where, "error": {"code": "OtherVersion", "message": message}}
    return {**where, "s3_key": commit, **found}


def _reason(store: ResultStore, name: str) -> dict[str, str]:
    """Return why a range has no result, as the state machine wrote it down."""
    try:
        told = msgspec.json.decode(store.bucket.read(f"{PREFIX}/{name}/error.json")[0])
        if isinstance(told, str):
            told = json.loads(told)
        code, cause = told["Error"], told["Cause"]
    except (Missing, Unavailable, ValueError, TypeError, KeyError) as fault:
        if isinstance(fault, Unavailable) and not fault.refused:
            raise
        return {"code": "NotRun", "message": "the run ended before this range was answered; run it again"}
    try:  # a fault's message is the response, as direct callers get it
        message = json.loads(json.loads(cause)["errorMessage"])["body"]["error"]["message"]
    except (ValueError, TypeError, KeyError):
        message = cause
    return {"code": code, "message": message}


def _there(store: ResultStore, key: str) -> bytes | None:
    try:
        return bytes(store.bucket.read(key)[0])
    except Missing:
        return None
    except Unavailable as fault:
        if fault.refused:
            return None
        raise
