"""A corpus through the state machine on this machine: the real function, S3 and interpreter."""

import contextlib
import json
import threading

import pytest
from integration.application.test_permissions import needs
from support.events import case
from support.permissions import Need, grants
from support.project import MODEL
from support.proxy import Proxy
from support.template import Stack as Deployed

from lambda_setup.__main__ import main
from lambda_setup.batch import run, store
from lambda_setup.commands import batch as command
from lambda_setup.deployment.local import RESULT_BUCKET, application
from lambda_setup.deployment.local.emulator import Emulator
from lambda_setup.deployment.local.stepfunctions import StepFunctions

TEXTS = ["Open the file", "Save", "", "Select all of the text", "Close the window", "Print %d pages"]
LINES = [TEXTS[number % len(TEXTS)] for number in range(60)]
POISONED = {
    7: b"x" * 10_001,
    31: b"\xff\xfe not UTF-8",
    59: max(case("invalid/data_item_too_many_tokens").event["data"], key=len).encode(),
}
CORPUS = b"\n".join(POISONED.get(number, line.encode()) for number, line in enumerate(LINES)) + b"\n"
REQUEST = {"beam": 2, "n_best": 2}


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """Everything running on this machine, and what the state machine asks of S3."""
    exchanges = []
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as stack:

        class Watched(StepFunctions):
            """Reaches S3 by a proxy."""

            def __init__(self, *, env, log):
                proxy = stack.enter_context(Proxy(env["AWS_ENDPOINT_URL_S3"], exchanges))
                super().__init__(env={**env, "AWS_ENDPOINT_URL_S3": proxy.endpoint}, log=log)

        patch.setattr(store, "STORE", tmp_path_factory.mktemp("batches"))
        patch.setattr(application, "StepFunctions", Watched)
        here = stack.enter_context(store.open_local_deployment(MODEL, 2))
        bucket = store.ResultBucket(here.client, RESULT_BUCKET)
        patch.setattr(command, "_open_deployment", lambda _: contextlib.nullcontext(here))
        patch.setattr(command, "_open_bucket", lambda _: contextlib.nullcontext(bucket))
        patch.setattr(run, "_POLL_SECONDS", 0.2)
        yield here, exchanges


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Return a file with three lines that cannot be answered."""
    path = tmp_path_factory.mktemp("corpus") / "corpus.txt"
    path.write_bytes(CORPUS)
    return path


def batch(corpus, name, lines=8):
    """Run a batch and return its exit code."""
    return main(["batch", "run", str(corpus), "--name", name, "--local", "--lines", str(lines),
                 "--request", json.dumps(REQUEST)])  # fmt: skip


def objects(here):
    """Return what lies in the result bucket, with what changes when it is written again."""
    pages = here.client.get_paginator("list_objects_v2").paginate(Bucket=RESULT_BUCKET)
    return {
        one["Key"]: (one["ETag"], one["LastModified"]) for page in pages for one in page.get("Contents", [])
    }


def manifest(here, name):
    """Return a run's manifest."""
    key = f"prediction_outputs/batches/{name}/manifest.jsonl"
    body = here.client.get_object(Bucket=RESULT_BUCKET, Key=key)["Body"].read()
    return [json.loads(line) for line in body.splitlines()]


def fetched(name, folder):
    """Return the lines that ``batch fetch`` writes."""
    assert main(["batch", "fetch", name, "--local", "--out", str(folder / "out.jsonl")]) == 0
    return [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def first(here, corpus):  # noqa: ARG001 - everything has to run
    """Return a run in which a function dies while it answers its second range: the exit code."""
    answered, died, send = set(), [], Emulator.send

    def dying(emulator, body):
        if emulator in answered and not died:
            died.append(emulator)
            emulator.freeze()
            threading.Timer(0.5, emulator.kill).start()
        answered.add(emulator)
        return send(emulator, body)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Emulator, "send", dying)
        return batch(corpus, "first")


def test_the_manifest_is_complete(here, first):
    """It names every range in order, what failed, what was tried again, and the one version of the model."""
    head, *entries = manifest(here[0], "first")
    assert first == 0
    assert (head["done"], head["failed"], head["ranges"], head["failed_ranges"]) == (57, 3, 8, 0)
    assert head["retried"] == sum(entry["attempt"] > 0 for entry in entries) == 1
    assert head["model"] == {"name": "en-es", "version": here[0].manifest.version}
    assert head["request"] == REQUEST | {"model_version": here[0].manifest.version, "errors": "raise"}
    assert [entry["start"] for entry in entries] == [0, *(entry["end"] for entry in entries[:-1])]
    assert entries[-1]["end"] == head["corpus"]["bytes"] == len(CORPUS)
    assert [entry["count"] for entry in entries] == [8] * 7 + [4]


@pytest.mark.usefixtures("here", "first")
def test_every_line_is_answered_as_a_single_call_answers_it(function, tmp_path):
    """In the corpus' order, with an error in the place of what no call would answer."""
    records = fetched("first", tmp_path)
    assert [record["index"] for record in records] == list(range(60))
    good = [number for number in range(60) if number not in POISONED]
    event = {"data": [LINES[number] for number in good], "result": "inline", **REQUEST}
    single = function.invoke(event)["body"]["predictions"]
    for number, expected in zip(good, single, strict=True):
        assert shape(records[number]) == shape(expected)
    errors = {number: records[number]["error"] for number in POISONED}
    assert {error["code"] for error in errors.values()} == {"BadRequest"}
    assert "10001 characters" in errors[7]["message"]
    assert "not UTF-8" in errors[31]["message"]
    assert "tokens long" in errors[59]["message"]


def shape(record):
    """Return a record with its scores as they compare, and without its place."""
    hypotheses = [
        (one["text"], one["tokens"], pytest.approx(one["score"], abs=1e-4)) for one in record["hypotheses"]
    ]
    return record["source"], hypotheses


@pytest.mark.usefixtures("first")
def test_the_same_run_again_writes_nothing(here, corpus, capsys):
    """Neither corpus nor index nor results nor manifest."""
    before = objects(here[0])
    assert batch(corpus, "first") == 0
    assert objects(here[0]) == before
    assert "complete already" in capsys.readouterr().err


@pytest.mark.usefixtures("first")
def test_another_run_of_the_same_corpus_answers_nothing_twice(here, corpus):
    """It finds every answer, and has a manifest of its own."""
    before = objects(here[0])
    assert batch(corpus, "second", lines=5) == 0
    after = objects(here[0])
    assert {key: after[key] for key in before} == before
    new = after.keys() - before.keys()
    assert new > {"inputs/batches/runs/second.json", "prediction_outputs/batches/second/manifest.jsonl"}
    assert all(key.startswith(("inputs/batches/runs/", "prediction_outputs/batches/second/")) for key in new)
    assert manifest(here[0], "second")[1:] == manifest(here[0], "first")[1:]


@pytest.mark.usefixtures("first")
def test_what_failed_is_answered_when_it_is_begun_again(here, tmp_path):
    """A range that fails has its reason in the manifest, and its lines an error each, until it is mended."""
    [here, _] = here
    path = tmp_path / "other.txt"
    path.write_bytes(b"one\ntwo\nthree\nfour\n")
    send = Emulator.send

    def failing(emulator, body):
        event = json.loads(body)
        if event.get("request", {}).get("source", {}).get("start"):
            return send(emulator, json.dumps({"data": 5, "errors": "raise"}).encode())
        return send(emulator, body)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Emulator, "send", failing)
        assert batch(path, "third", lines=2) == 1
    head, good, bad = manifest(here, "third")
    assert (head["done"], head["failed"], head["failed_ranges"]) == (2, 2, 1)
    assert (good["count"], bad["lines"], bad["error"]["code"]) == (2, 2, "BadRequest")
    assert "data takes a list" in bad["error"]["message"]
    assert main(["batch", "fetch", "third", "--local", "--out", str(tmp_path / "out.jsonl")]) == 1
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [line["index"] for line in lines] == [0, 1, 2, 3]
    assert ["error" in line for line in lines] == [False, False, True, True]
    before = objects(here)[good["s3_key"]]
    assert batch(path, "third", lines=2) == 0
    assert manifest(here, "third")[0]["done"] == 4
    assert objects(here)[good["s3_key"]] == before


@pytest.mark.usefixtures("first", "here")
def test_a_name_is_one_runs(tmp_path, capsys):
    """Another corpus under a name that is taken is refused, and nothing is overwritten."""
    other = tmp_path / "other.txt"
    other.write_bytes(CORPUS + b"more\n")
    assert batch(other, "first") == 2
    assert "choose another name" in capsys.readouterr().err


@pytest.mark.usefixtures("here")
def test_a_run_that_is_not_there_cannot_be_fetched(tmp_path, capsys):
    """It says so, and leaves no file."""
    assert main(["batch", "fetch", "none", "--local", "--out", str(tmp_path / "out.jsonl")]) == 2
    assert (
        "there is no s3://results/prediction_outputs/batches/none/manifest.jsonl" in capsys.readouterr().err
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("here")
def test_a_run_that_is_left_is_taken_up_again(here, tmp_path, monkeypatch, capsys):
    """Ctrl-C ends the watching; the same command finds the run, and its version though the channel moved."""
    path = tmp_path / "left.txt"
    path.write_bytes(b"one\ntwo\n")

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(run, "_watch", interrupted)
        assert batch(path, "left", lines=1) == 130
    assert "the same command takes it up again" in capsys.readouterr().err
    [here, _] = here
    with monkeypatch.context() as patch:
        patch.setattr(run, "read_version", lambda _: "0" * 64)
        assert batch(path, "left", lines=1) == 0
    assert manifest(here, "left")[0]["model"]["version"] == here.manifest.version
    assert capsys.readouterr().out.count("lines answered  2") == 1


@pytest.mark.usefixtures("here")
def test_a_dry_run_writes_nothing(here, tmp_path, capsys):
    """It says what would be written and started."""
    path = tmp_path / "dry.txt"
    path.write_bytes(b"one\n")
    before = objects(here[0])
    assert main(["batch", "run", str(path), "--name", "dry", "--local", "--dry-run"]) == 0
    assert objects(here[0]) == before
    told = capsys.readouterr().out
    assert "put s3://results/inputs/corpora/" in told
    assert f"start {here[0].state_machine.arn}" in told


def test_json_lines_are_measured_and_answered(here, tmp_path):
    """Without --lines the function is measured on a sample first; JSON lines are read as such."""
    path = tmp_path / "corpus.jsonl"
    path.write_text('"Save"\n{"text": "Close the window", "id": 7}\n{"text": 5}\n')
    assert main(["batch", "run", str(path), "--name", "json", "--local"]) == 0
    head = manifest(here[0], "json")[0]
    assert (head["done"], head["failed"]) == (2, 1)
    assert [record.get("source") for record in fetched("json", tmp_path)] == [
        "Save",
        "Close the window",
        None,
    ]


@pytest.mark.usefixtures("first")
def test_role(here):
    """Every request of the state machine to S3 is allowed by its role."""
    _, exchanges = here
    stack = Deployed(Batch="on")
    [role] = [
        one for one in stack.all("IAM::Role") if "states" in json.dumps(one["AssumeRolePolicyDocument"])
    ]
    granted = grants(role)
    asked = {
        need for one in exchanges for need in needs(one, {RESULT_BUCKET: stack.environment["RESULT_BUCKET"]})
    }
    assert {need for need in asked if not any(grant.covers(need) for grant in granted)} == set()
    bucket = f"arn:aws:s3:::{stack.environment['RESULT_BUCKET']}"
    assert {need.action for need in asked} == {"s3:GetObject", "s3:PutObject"}
    assert not any(grant.covers(Need("s3:GetObject", f"{bucket}/inputs/corpora/c.txt")) for grant in granted)
