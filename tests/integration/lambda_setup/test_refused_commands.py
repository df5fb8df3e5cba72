"""What S3 refuses, as somebody who runs a command hears it: over HTTP, answers as AWS sends them.

Whatever is refused, the command says S3's code, the status, the request's id and what to do, asks no more
than botocore's five times, and loses nothing: the same command goes on once S3 answers.
"""

import contextlib
import gzip
import json
import re
from types import SimpleNamespace

import pytest
from support.applications import create_bucket
from support.proxy import Proxy
from support.refusals import DENIED, ELSEWHERE, KMS, REFUSALS, REQUEST_ID

from lambda_setup.__main__ import main
from lambda_setup.batch import run, store
from lambda_setup.commands import batch, results
from lambda_setup.commands.model import channels
from lambda_setup.deployment import FunctionFacts
from lambda_setup.models import loading, pickles

MODELS, RESULTS = "refused-models", "refused-results"
ADVICE = {
    "301": (f"it is in {ELSEWHERE}", "--region"),
    "400": (f"it is in {ELSEWHERE}", "--region"),
    "403-kms": ("KMS key",),
    "403-clock": ("this machine's clock",),
    "409-aborted": ("somebody else changed it",),
    "409-conflict": ("somebody else changed it",),
    "503": ("fewer requests",),
}
MOST_ATTEMPTS = 5
"""botocore's own, of what passes; and it looks for a bucket's region once."""
MANIFEST = "prediction_outputs/batches/{}/manifest.jsonl"
RECORD = "inputs/batches/runs/first.json"


class Stack:
    """A deployment whose S3 is behind a proxy, and whose state machine is never reached."""

    where = "stack mine"
    account = " --region eu-central-1"
    result_bucket = RESULTS
    parameters = {}  # noqa: RUF012 - nobody writes it
    facts = FunctionFacts(timeout=100, memory=1769, architecture="arm64", workers=1)
    state_machine = SimpleNamespace(arn="arn:aws:states:eu-central-1:123456789012:stateMachine:mine")

    def __init__(self, client):
        self.client = client

    def environment(self):
        """Return where its model is."""
        return {"MODEL_BUCKET": MODELS, "MODEL_NAME": "toy", "MODEL_CHANNEL": "dev"}


@pytest.fixture(scope="module")
def s3(stack):
    """Yield a proxy in front of a real S3, and a client that goes around it."""
    for name in (MODELS, RESULTS):
        create_bucket(stack, name)
    with Proxy(stack.s3.endpoint) as proxy:
        yield proxy, stack


@pytest.fixture
def folder(tmp_path):
    """Return a model that is a word and a file of two parts."""
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "words.txt").write_text("cat\n")
    (tmp_path / "toy" / "weights.dat").write_bytes(b"weights " * (9 << 17))
    (tmp_path / "toy" / "model.toml").write_text(
        'name = "toy"\nengine = "none"\nprecision = "float32"\nfiles = ["words.txt", "weights.dat"]\n'
        "[libraries]\n"
    )
    return tmp_path / "toy"


@pytest.fixture
def command(s3, folder, monkeypatch, capsys, tmp_path):
    """Return a way to run a command of this process on a bucket with a model, a run and a result."""
    proxy, stack = s3
    for name in (MODELS, RESULTS):
        for one in stack.client.list_objects_v2(Bucket=name).get("Contents", []):
            stack.client.delete_object(Bucket=name, Key=one["Key"])
    for name, value in stack.s3.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.endpoint)
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:9")
    monkeypatch.setattr(loading, "check", lambda *_: None)
    monkeypatch.setattr(pickles, "check", lambda *_: None)
    monkeypatch.setattr(channels, "_invoke_candidate", lambda *_: {"statusCode": 200})
    monkeypatch.setattr(run, "_start", lambda *_: "arn")
    monkeypatch.setattr(run, "_watch", lambda *_: put(stack, MANIFEST.format("first"), manifest.encode()))

    def client():
        import boto3

        return boto3.Session().client("s3", region_name="us-east-1")

    monkeypatch.setattr(batch, "_open_deployment", lambda _: contextlib.nullcontext(Stack(client())))
    monkeypatch.setattr(
        batch, "_open_bucket", lambda _: contextlib.nullcontext(store.ResultBucket(client(), RESULTS))
    )
    monkeypatch.setattr(results, "AwsDeployment", lambda *_: Stack(client()))
    (tmp_path / "corpus.txt").write_text("one\ntwo\n")
    assert main(["model", "publish", str(folder), "--bucket", MODELS]) == 0
    hypothesis = {"text": "uno", "tokens": ["uno"], "score": -0.5}
    prediction = {"index": 0, "source": "one", "hypotheses": [hypothesis]}
    record = gzip.compress(json.dumps(prediction).encode() + b"\n")
    numbers = dict.fromkeys(("failed_ranges", "failed", "retried"), 0) | dict.fromkeys(("ranges", "done"), 1)
    head = {**numbers, "run": "done", "model": None, "predict_ms": 1}
    entry = {"s3_key": "prediction_outputs/one/predictions.jsonl.gz", "count": 1, "start": 0, "end": 4}
    manifest = "\n".join(map(json.dumps, (head, entry)))
    put(stack, entry["s3_key"], record)
    put(stack, MANIFEST.format("done"), manifest.encode())

    def execute(*arguments: str):
        capsys.readouterr()
        proxy.exchanges.clear()
        code = main([argument.replace("FOLDER", str(tmp_path)) for argument in arguments])
        return SimpleNamespace(code=code, asked=list(proxy.exchanges), error=capsys.readouterr().err)

    return execute


def put(stack, key, data):
    """Write an object of the result bucket."""
    stack.client.put_object(Bucket=RESULTS, Key=key, Body=data)


def objects(stack):
    """Return what is in both buckets, with what changes when it is written again."""
    return {
        (name, one["Key"]): one["ETag"]
        for name in (MODELS, RESULTS)
        for one in stack.client.list_objects_v2(Bucket=name).get("Contents", [])
    }


PUBLISH = ("model", "publish", "FOLDER/toy", "--name", "new", "--bucket", MODELS)
PROMOTE = ("model", "promote", "toy", "--bucket", MODELS)
RUN = ("batch", "run", "FOLDER/corpus.txt", "--name", "first", "--stack", "mine", "--lines", "1")
FETCH = ("batch", "fetch", "done", "--out", "FOLDER/out.jsonl", "--stack", "mine")
SHOW = ("results", "show", "one", "--stack", "mine")
PLACES = [
    # command, and the request that is refused
    (PUBLISH, "HEAD", "words.txt"),
    (PUBLISH, "PUT", "words.txt"),
    (PUBLISH, "PUT", "channels/dev.json"),
    (PROMOTE, "GET", "channels/dev.json"),
    (PROMOTE, "PUT", "channels/prod.json"),
    (RUN, "GET", "channels/dev.json"),
    (RUN, "GET", RECORD),
    (RUN, "HEAD", "inputs/corpora/"),
    (RUN, "PUT", "inputs/corpora/"),
    (RUN, "PUT", RECORD),
    (RUN, "PUT", "index.json"),
    (FETCH, "GET", "manifest.jsonl"),
    (FETCH, "GET", "predictions.jsonl.gz"),
    (SHOW, "GET", "predictions.jsonl.gz"),
]


def name_place(place) -> str:
    """Return a place as a test's name."""
    arguments, method, where = place
    return f"{'-'.join(arguments[:2])}-{method}-{where.strip('/').rpartition('/')[2]}"


@pytest.mark.sample(33)
@pytest.mark.parametrize("refusal", REFUSALS)
@pytest.mark.parametrize("place", PLACES, ids=map(name_place, PLACES))
def test_a_refusal(s3, command, place, refusal):
    """It is told with what to do, after few attempts, and nothing that was there is another."""
    proxy, stack = s3
    arguments, method, where = place
    answer, before = REFUSALS[refusal], objects(stack)
    with proxy.failing(answer.fault(method), on=re.compile(f"^{method} .*{re.escape(where)}")):
        ended = command(*arguments)

    assert before.items() <= objects(stack).items()
    if (method, answer.status, arguments) == ("HEAD", 403, RUN):
        # To a role that may not list, a corpus that is not there is refused like this: it is uploaded.
        assert ended.code == 0, ended
        return
    assert ended.code == 2, ended
    assert f"HTTP {answer.status}, request {REQUEST_ID}" in ended.error
    assert (answer.code if method != "HEAD" else "") in ended.error
    advice = ADVICE[refusal] if method != "HEAD" or answer.status != 403 else ("to a HEAD", "KMS key")
    for text in advice:
        assert text in ended.error
    refused = [one for one in ended.asked if one.status == answer.status]
    assert 1 <= len(refused) <= MOST_ATTEMPTS
    assert "Traceback" not in ended.error

    again = command(*arguments)
    assert again.code == 0, again


def test_a_record_that_may_not_be_read_is_not_written_again(s3, command):
    """A run keeps the version that it was begun with, also when S3 refuses its record like a missing one."""
    proxy, stack = s3
    put(stack, RECORD, b"{}")
    for refusal, text in ((DENIED, "you may not read its record"), (KMS, "KMS key")):
        with proxy.failing(refusal.fault(), on=f"GET /{RESULTS}/{RECORD}"):
            ended = command(*RUN)
        assert ended.code == 2
        assert text in ended.error
        assert stack.client.get_object(Bucket=RESULTS, Key=RECORD)["Body"].read() == b"{}"


def test_a_bucket_of_another_region_is_found_before_anything_is_written(s3, command):
    """The answer to the first HEAD names the region, and nothing is uploaded there."""
    proxy, stack = s3
    before = objects(stack)
    with proxy.failing(REFUSALS["301"].fault("HEAD"), on=re.compile(f"^HEAD /{RESULTS} ")):
        ended = command(*RUN)
    assert ended.code == 2
    assert f"bucket {RESULTS} is in {ELSEWHERE} and the function in us-east-1" in ended.error
    assert objects(stack) == before
