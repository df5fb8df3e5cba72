"""Twenty thousand lines through the state machine, with bad lines and a death half-way."""

import contextlib
import gzip
import json
import threading

import pytest
from support.events import case
from support.project import MODEL

from lambda_setup.__main__ import main
from lambda_setup.batch import store
from lambda_setup.commands import batch
from lambda_setup.deployment.local import RESULT_BUCKET
from lambda_setup.deployment.local.emulator import Emulator

LINES = 20_000
POISONED = {777: b"x" * 10_001, 12_345: b"\xff\xfe not UTF-8"}
TOO_MANY = 19_998
REQUEST = {"beam": 1}


@pytest.fixture(scope="module")
def sentences():
    """Short sentences of the test split, over and over."""
    with gzip.open(MODEL / "test.en.gz", "rt", encoding="utf-8") as file:
        short = [line.rstrip("\n") for line in file if len(line) < 60]
    return [short[number % len(short)] for number in range(LINES)]


def test_twenty_thousand_lines(sentences, function, tmp_path, monkeypatch):
    """19,997 answers in order, equal to single calls'; three named failures; nothing written twice."""
    poisoned = POISONED | {
        TOO_MANY: max(case("invalid/data_item_too_many_tokens").event["data"], key=len).encode()
    }
    path = tmp_path / "corpus.txt"
    path.write_bytes(
        b"".join(poisoned.get(number, line.encode()) + b"\n" for number, line in enumerate(sentences))
    )
    monkeypatch.setattr(store, "STORE", tmp_path / "store")
    calls, send = [], Emulator.send

    def dying(emulator, body):
        calls.append(body)
        if len(calls) == 10:
            threading.Timer(1, emulator.kill).start()
        return send(emulator, body)

    with store.open_local_deployment(MODEL, 2) as here:
        bucket = store.ResultBucket(here.client, RESULT_BUCKET)
        monkeypatch.setattr(batch, "_open_deployment", lambda _: contextlib.nullcontext(here))
        monkeypatch.setattr(batch, "_open_bucket", lambda _: contextlib.nullcontext(bucket))
        monkeypatch.setattr(Emulator, "send", dying)
        command = ["batch", "run", str(path), "--name", "many", "--local", "--request", json.dumps(REQUEST)]
        assert main(command) == 0
        monkeypatch.setattr(Emulator, "send", send)
        key = "prediction_outputs/batches/many/manifest.jsonl"
        manifest = here.client.get_object(Bucket=RESULT_BUCKET, Key=key)["Body"].read()
        head = json.loads(manifest.partition(b"\n")[0])
        assert (head["done"], head["failed"], head["failed_ranges"], head["retried"]) == (19_997, 3, 0, 1)
        before = objects(here)
        assert main(command) == 0
        assert objects(here) == before
        assert main([*command[:4], "again", *command[5:]]) == 0
        after = objects(here)
        assert {name: after[name] for name in before} == before
        assert main(["batch", "fetch", "many", "--local", "--out", str(tmp_path / "out.jsonl")]) == 0
    records = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [record["index"] for record in records] == list(range(LINES))
    assert [number for number, record in enumerate(records) if "error" in record] == sorted(poisoned)
    single = {}
    different = sorted(set(sentences))
    event = {"data": different, "result": "inline", **REQUEST}
    for text, prediction in zip(different, function.invoke(event)["body"]["predictions"], strict=True):
        single[text] = prediction["hypotheses"]
    for record, text in zip(records, sentences, strict=True):
        if "error" not in record:
            assert record["source"] == text
            for ours, theirs in zip(record["hypotheses"], single[text], strict=True):
                assert ours == theirs | {"score": pytest.approx(theirs["score"], abs=1e-4)}


def objects(here):
    """Return what lies in the result bucket, with what changes when it is written again."""
    pages = here.client.get_paginator("list_objects_v2").paginate(Bucket=RESULT_BUCKET)
    return {
        one["Key"]: (one["ETag"], one["LastModified"]) for page in pages for one in page.get("Contents", [])
    }
