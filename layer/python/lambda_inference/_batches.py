"""The manifest of a batch: the objects that hold a corpus's answers, in its order, and its failures.

::

    inputs/batches/<digest>/index.json              the shards: the id and source of a request each
    prediction_outputs/<id>/predictions.jsonl.gz    a shard's answers; their metadata have the count
    prediction_outputs/<id>/error.json              why a shard has no answers
    prediction_outputs/batches/<run>/manifest.jsonl a line of counts, then one line for each shard

A manifest depends on the objects alone, so that the same objects make the same manifest.
"""

import json
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from lambda_inference import _results, inputs
from lambda_inference._errors import BadRequest
from lambda_inference._requests import ID_PATTERN, Source
from lambda_inference._results import PREFIX, ResultStore

MAX_INDEX = 500_000_000
"""Bytes of an index."""
_THREADS = 256
"""Concurrent requests: S3 answers one in 0.1 to 0.2 s, and one core handles 4,000 a second."""


class Shard(Struct):
    """One entry of an index: a byte range of the corpus, its result's id, and its number of lines."""

    id: Annotated[str, Meta(pattern=ID_PATTERN)]
    lines: int
    source: Source


class Batch(Struct):
    """A run of the state machine, as its input describes it.

    Attributes:
        run: its name.
        index: the key of its index.
        request: the fields of every line's request, with the model's version.
        corpus: facts about the corpus.

    """

    run: Annotated[str, Meta(pattern=ID_PATTERN)]
    index: str
    request: dict[str, Any]
    corpus: dict[str, Any]


def manifest_key(run: str) -> str:
    """Return the key of a run's manifest."""
    return f"{PREFIX}/batches/{run}/manifest.jsonl"


def write_manifest(payload: Any) -> dict[str, Any]:
    """Write a run's manifest unless it exists already, and return its key and its counts.

    Raises:
        BadRequest: the payload is not a batch, or its index cannot be read.
        Unavailable: S3 did not answer, or denied access.

    """
    from concurrent.futures import ThreadPoolExecutor

    try:
        batch = msgspec.convert(payload, Batch)
        msgspec.json.encode(batch)
    except msgspec.ValidationError as error:
        raise BadRequest(
            f"manifest takes the input of the state machine: {error}", field="manifest"
        ) from None
    except (UnicodeEncodeError, RecursionError) as error:
        raise BadRequest(f"manifest holds what is not JSON: {error}", field="manifest") from None
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
        "truncated": sum(entry.get("truncated", 0) for entry in answered),
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
    if bytes(store.bucket.find(key) or b"") != data:
        store.bucket.replace(key, data, "application/jsonl")
    return {"s3_bucket": store.bucket.name, "s3_key": key, **counts}


def _entry(store: ResultStore, shard: Shard, batch: Batch) -> dict[str, Any]:
    """Return a shard's line of the manifest: the object with its answers, or its error."""
    where = {"start": shard.source.start, "end": shard.source.end, "lines": shard.lines}
    commit = _results.commit_key(shard.id)
    metadata = store.bucket.find_metadata(commit)
    if metadata is None:
        # A key or a clock that S3 refuses looks so, too; a GET says it, and the manifest is tried again.
        store.bucket.find(commit)
        return {**where, "error": _read_error(store, shard.id)}
    result = msgspec.json.decode(metadata["result"])
    version = batch.request.get("model_version")
    if version and result["model"]["version"] != version:
        message = f"s3://{store.bucket.name}/{commit} was answered by version {result['model']['version']}"
        return {**where, "error": {"code": "OtherVersion", "message": message}}
    return {**where, "s3_key": commit, **result}


def _read_error(store: ResultStore, name: str) -> dict[str, str]:
    """Return the error of a shard without a result, as the state machine stored it."""
    data = store.bucket.find(f"{PREFIX}/{name}/error.json")
    try:
        error = msgspec.json.decode(data or b"")
        if isinstance(error, str):
            error = json.loads(error)
        code, cause = str(error["Error"]), str(error["Cause"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return {"code": "NotRun", "message": "the run ended before this range was answered; run it again"}
    try:  # the message of a raised fault is the whole response
        message = str(json.loads(json.loads(cause)["errorMessage"])["body"]["error"]["message"])
    except (ValueError, TypeError, KeyError, RecursionError):
        message = cause
    # JSON may hold a lone surrogate, which the manifest cannot.
    return {"code": _replace_surrogates(code), "message": _replace_surrogates(message)}


def _replace_surrogates(text: str) -> str:
    return text.encode(errors="replace").decode()
