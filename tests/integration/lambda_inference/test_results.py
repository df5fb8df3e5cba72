"""Results: whole, written once, the same however often and however rudely they are asked for."""

import gzip
import json
import threading

import numpy as np
import pytest
from support.events import case
from support.project import MODEL
from support.proxy import Gate, Proxy

from lambda_setup.deployment.local.application import RESULT_BUCKET
from lambda_setup.viewer.result import read_arrays, read_records


@pytest.fixture(scope="module")
def thousand() -> list[str]:
    """1,000 sentences of software documentation."""
    with gzip.open(MODEL / "test.en.gz", "rt", encoding="utf-8") as file:
        test = [line.strip() for line in file]
    return (test * 2)[:1000]


def keys(stack, name: str) -> list[str]:
    """Return the keys of a request's objects."""
    found = stack.client.list_objects_v2(Bucket=RESULT_BUCKET, Prefix=f"prediction_outputs/{name}/")
    return sorted(one["Key"].rpartition("/")[2] for one in found.get("Contents", []))


@pytest.mark.check
def test_more_than_a_response_can_hold_is_one_call(stack, tmp_path, thousand):
    """1,000 sentences with 5 hypotheses and attention each come back as keys."""
    with stack.function(timeout=600) as function:
        response = function.invoke(
            {"data": thousand, "n_best": 5, "return_attention": True, "id": "thousand"}
        )
    assert response["statusCode"] == 200, response
    predictions, arrays = sorted(stack.save(response, tmp_path), key=lambda path: path.suffix)
    records = list(read_records(predictions))
    assert [record["index"] for record in records] == list(range(1000))
    assert [record["source"] for record in records] == thousand
    assert all(len(record["hypotheses"]) == 5 for record in records)
    file = np.load(arrays, allow_pickle=False)
    assert file["values"].dtype == np.float32
    assert file["index"].dtype == np.int32
    assert file["index"].shape == (5000, 4)
    assert file["index"][:, 2:].astype(np.int64).prod(axis=1).sum() == len(file["values"])
    maps = read_arrays(arrays)
    for record in records:
        for hypothesis, weights in zip(record["hypotheses"], maps[record["index"]], strict=True):
            assert weights.shape == (len(hypothesis["tokens"]), len(record["source_tokens"]))
            np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-3)
    size = sum(len(json.dumps(record)) for record in records) + 4 * len(file["values"])
    assert size > 6_291_556


def test_inline_over_the_limit_says_what_to_do(function):
    """What does not fit inline is a 413 that names the field and the other way."""
    body = function.invoke(case("invalid/inline_too_large").event)["body"]
    assert body["error"]["field"] == "result"
    assert '"s3"' in body["error"]["message"]


@pytest.mark.check
def test_auto_over_the_limit_goes_to_s3_without_arrays_in_its_records(function, stack, tmp_path):
    """The result that auto stores is the one that s3 stores."""
    event = case("invalid/inline_too_large").event
    saved = [
        stack.save(function.invoke(event | {"result": way, "id": f"way-{way}"}), tmp_path)
        for way in ("auto", "s3")
    ]
    auto, s3 = ({path.name: path.read_bytes() for path in paths} for paths in saved)
    assert auto == s3
    assert len(auto) == 2


def test_same_id_and_request_write_once(function, stack):
    """A repetition returns the same keys and writes nothing."""
    event = case("event").event | {"id": "twice"}
    first = function.invoke(event)
    before = stack.client.head_object(Bucket=RESULT_BUCKET, Key=first["body"]["s3_key"])
    second = function.invoke(event)
    after = stack.client.head_object(Bucket=RESULT_BUCKET, Key=first["body"]["s3_key"])
    timings = {"timings_ms"}
    assert {k: v for k, v in first["body"].items() if k not in timings} == {
        k: v for k, v in second["body"].items() if k not in timings
    }
    assert before["LastModified"] == after["LastModified"]
    assert len(keys(stack, "twice")) == 2


def test_data_as_a_json_string_is_the_same_request(function):
    """The two forms of data are one request, and so is the way the answer is to come."""
    first = function.invoke({"data": ["The table has been changed."], "id": "forms"})
    second = function.invoke({"data": '["The table has been changed."]', "id": "forms", "result": "s3"})
    assert first["body"]["s3_key"] == second["body"]["s3_key"]


def test_same_id_for_another_request_is_a_conflict(function):
    """What differs in anything that decides the answer is another request."""
    event = {"data": ["Preview of the original image."], "id": "taken"}
    assert function.invoke(event)["statusCode"] == 200
    for change in ({"beam": 4}, {"n_best": 2}, {"return_attention": True}, {"data": ["Preview"]}):
        response = function.invoke(event | change)
        assert (response["statusCode"], response["body"]["error"]["code"]) == (409, "Conflict"), change


def test_same_moment_makes_one_result(stack):
    """Two functions that get one request at once return one result."""
    event = case("event").event | {"id": "at-once"}
    responses = []
    with stack.function() as one, stack.function() as other:
        for each in (one, other):
            each.invoke({"warmup": True})
        threads = [
            threading.Thread(target=lambda each=each: responses.append(each.invoke(event)))
            for each in (one, other)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [response["statusCode"] for response in responses] == [200, 200]
    first, second = (response["body"] for response in responses)
    assert (first["s3_key"], first["attention_key"]) == (second["s3_key"], second["attention_key"])
    assert len(keys(stack, "at-once")) == 2


def test_killed_between_the_two_writes_leaves_one_whole_result(stack, tmp_path):
    """Until the commit there is no result; the retry completes it and leaves nothing over."""
    event = case("event").event | {"id": "killed"}
    gate = Gate()
    with (
        Proxy(stack.s3.endpoint) as proxy,
        proxy.failing(gate, on="PUT /results/prediction_outputs/killed/predictions.jsonl.gz"),
        stack.function(env={"AWS_ENDPOINT_URL_S3": proxy.endpoint}) as function,
    ):
        lost = threading.Thread(target=function.invoke, args=[event])
        lost.start()
        assert gate.reached.wait(60)
        before = keys(stack, "killed")
        function.kill()
        lost.join()
    assert len(before) == 1
    assert before[0].startswith("attention-")
    assert keys(stack, "killed") == before
    with stack.function() as function:
        response = function.invoke(event)
    assert response["statusCode"] == 200
    assert keys(stack, "killed") == [before[0], "predictions.jsonl.gz"]
    [predictions] = [path for path in stack.save(response, tmp_path) if path.suffix == ".gz"]
    assert [record["index"] for record in read_records(predictions)] == list(range(20))


def test_a_commit_whose_answer_was_lost_is_not_written_again(stack):
    """When the function dies after the commit, the retry elsewhere finds it and returns its keys."""
    event = case("event").event | {"id": "committed"}
    with stack.function() as function:
        first = function.invoke(event)
        function.kill()
    with stack.function() as function:
        second = function.invoke(event)
    assert first["body"]["s3_key"] == second["body"]["s3_key"]
    assert first["body"]["attention_key"] == second["body"]["attention_key"]
    assert len(keys(stack, "committed")) == 2
