"""The manifest of a batch: what it says of results, of ranges without one, and that it says it once."""

import functools
import json

import obstore
import pytest
from obstore.store import MemoryStore

from lambda_inference import BadRequest, Prediction, Unavailable, _batches, _storage
from lambda_inference._results import Origin, ResultStore

VERSION = "a" * 64


@pytest.fixture
def bucket(monkeypatch):
    """Return a bucket in memory, in the place of S3."""
    memory = MemoryStore()
    monkeypatch.setenv("RESULT_BUCKET", "results-of-batches")
    monkeypatch.setattr(_storage.Bucket, "_connect", lambda _: memory)
    return memory


def piece(number, lines=3):
    """Return an index's entry."""
    source = {"key": "inputs/c.txt", "start": 10 * number, "end": 10 * number + 10}
    return {"id": f"r-{number}", "lines": lines, "source": source}


def answer(number, failed=0, attempt=0, version=VERSION, **extra):
    """Write a range's result, as the function does."""
    origin = Origin(
        f"r-{number}",
        "digest",
        "en-es",
        version,
        "e",
        {"failed": failed, "attempt": attempt, "predict_ms": 5.4, **extra},
    )
    ResultStore.from_environment().write(origin, [Prediction({"index": index}) for index in range(3)])


def run(bucket, pieces, **others):
    """Write the manifest and return it."""
    obstore.put(bucket, "inputs/i.json", json.dumps(pieces).encode())
    batch = {
        "run": "run",
        "index": "inputs/i.json",
        "request": {"model_version": VERSION},
        "corpus": {"a": 1},
    }
    body = _batches.write_manifest(batch | others)
    lines = bytes(obstore.get(bucket, body["s3_key"]).bytes()).decode().splitlines()
    return body, [json.loads(line) for line in lines]


def test_it_names_every_result_in_the_order_of_the_corpus(bucket):
    """A line a range, and the counts before them."""
    for number in (2, 0, 1):
        answer(number, failed=number, attempt=number)
    body, (head, *entries) = run(bucket, [piece(number) for number in range(3)])
    assert body["s3_key"] == "prediction_outputs/batches/run/manifest.jsonl"
    assert [entry["s3_key"] for entry in entries] == [
        f"prediction_outputs/r-{number}/predictions.jsonl.gz" for number in range(3)
    ]
    assert [(entry["start"], entry["count"], entry["failed"], entry["attempt"]) for entry in entries] == [
        (0, 3, 0, 0), (10, 3, 1, 1), (20, 3, 2, 2)
    ]  # fmt: skip
    counts = {"ranges": 3, "done": 6, "failed": 3, "failed_ranges": 0, "retried": 2, "predict_ms": 16}
    assert {name: head[name] for name in counts} == counts == {name: body[name] for name in counts}
    assert head["model"] == {"name": "en-es", "version": VERSION}
    assert head["corpus"] == {"a": 1}


def test_truncated_outputs_are_summed(bucket):
    """A range without any says nothing of it."""
    answer(0)
    answer(1, truncated=2)
    body, (head, first, second) = run(bucket, [piece(0), piece(1)])
    assert (body["truncated"], head["truncated"], second["truncated"]) == (2, 2, 2)
    assert "truncated" not in first


def test_what_has_no_result_says_why(bucket):
    """The state machine's note says it, in any of its forms; without one the range was not begun."""
    fault = {"statusCode": 504, "body": {"error": {"code": "OutOfTime", "message": "3 of 5 were done"}}}
    cause = json.dumps({"errorType": "OutOfTime", "errorMessage": json.dumps(fault)})
    noted = {"Error": "OutOfTime", "Cause": cause}
    obstore.put(bucket, "prediction_outputs/r-0/error.json", json.dumps(noted).encode())
    obstore.put(bucket, "prediction_outputs/r-1/error.json", json.dumps(json.dumps(noted)).encode())
    killed = {"Error": "Runtime.ExitError", "Cause": "signal: killed"}
    obstore.put(bucket, "prediction_outputs/r-2/error.json", json.dumps(killed).encode())
    obstore.put(bucket, "prediction_outputs/r-3/error.json", b"{")
    answer(5, version="b" * 64)
    _, (head, *entries) = run(bucket, [piece(number) for number in range(6)])
    assert [(entry["error"]["code"], entry["error"]["message"].split(";")[0]) for entry in entries[:5]] == [
        ("OutOfTime", "3 of 5 were done"),
        ("OutOfTime", "3 of 5 were done"),
        ("Runtime.ExitError", "signal: killed"),
        ("NotRun", "the run ended before this range was answered"),
        ("NotRun", "the run ended before this range was answered"),
    ]
    assert entries[5]["error"]["code"] == "OtherVersion"
    assert (head["failed"], head["failed_ranges"], head["model"]) == (18, 6, None)


def test_an_error_that_is_not_unicode_is_written(bucket):
    """It is somebody's message, and JSON lets it hold half of a pair."""
    noted = r'{"Error": "Runtime\ud800", "Cause": "it said \udfff"}'
    obstore.put(bucket, "prediction_outputs/r-0/error.json", json.dumps(noted).encode())
    _, (_, entry) = run(bucket, [piece(0)])
    assert entry["error"] == {"code": "Runtime?", "message": "it said ?"}


def test_the_same_results_make_one_manifest(bucket):
    """It is written again only when something has changed."""
    answer(0)
    key = run(bucket, [piece(0), piece(1)])[0]["s3_key"]
    first = obstore.head(bucket, key)
    run(bucket, [piece(0), piece(1)])
    assert obstore.head(bucket, key) == first
    answer(1)
    head = run(bucket, [piece(0), piece(1)])[1][0]
    assert (head["done"], head["failed_ranges"]) == (6, 0)


def _nest(depth):
    return functools.reduce(lambda inner, _: [inner], range(depth), [])


@pytest.mark.parametrize(
    ("others", "field"),
    [
        ({"index": "prediction_outputs/i.json"}, "manifest.index"),
        ({"index": "inputs/other.json"}, "manifest.index"),
        ({"run": "../other"}, "manifest"),
        ({"request": None}, "manifest"),
        ({"request": {"data": ["\ud800"]}}, "manifest"),
        ({"corpus": {"\udfff": 1}}, "manifest"),
        ({"run": "\ud800"}, "manifest"),
        ({"request": {"data": _nest(5000)}}, "manifest"),
    ],
)
def test_a_bad_batch_is_refused(bucket, others, field):
    """What is wrong is named."""
    with pytest.raises(BadRequest) as caught:
        run(bucket, [piece(0)], **others)
    assert caught.value.field == field


def test_a_damaged_index_is_refused(bucket):
    """Half of a list is no index."""
    obstore.put(bucket, "inputs/i.json", b'[{"id": "a"')
    with pytest.raises(BadRequest, match="damaged"):
        _batches.write_manifest({"run": "run", "index": "inputs/i.json", "request": {}, "corpus": {}})


def test_a_result_that_may_not_be_looked_at_is_not_missing(bucket, monkeypatch):
    """The answer to a HEAD is denied without a reason; a GET has it, and the manifest is written later."""
    answer(0)
    find = _storage.Bucket.find

    def deny(self, key):
        if key.endswith("predictions.jsonl.gz"):
            raise Unavailable("the clock of this environment is wrong")
        return find(self, key)

    with monkeypatch.context() as patch:
        patch.setattr(_storage.Bucket, "find_metadata", lambda *_: None)
        patch.setattr(_storage.Bucket, "find", deny)
        with pytest.raises(Unavailable, match="clock"):
            run(bucket, [piece(0)])
    assert run(bucket, [piece(0)])[1][0]["failed_ranges"] == 0
