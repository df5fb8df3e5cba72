"""What every function on the template promises, whatever its model: the translator, the examples, a fork.

A function takes part by being there: its template names engine and model, its ``events`` are cases, and
everything else is worked out from ``events/event.json``.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.answers import differences as differing
from support.applications import WarmFunction
from support.events import Case, cases
from support.project import ROOT

from lambda_setup import functions
from lambda_setup.deployment.local.application import MODEL_BUCKET, RESULT_BUCKET
from lambda_setup.models import channels
from lambda_setup.models.describe import describe
from lambda_setup.models.upload import publish
from lambda_setup.viewer.result import read_records
from layer.builder import build
from layer.builder.pack.plan import LIMIT
from layer.builder.recipe import load
from layer.builder.report import facts as report
from layer.builder.target import get_target
from layer.builder.verify.compare import TOLERANCE, differences

FUNCTIONS = functions.discover()
OTHERS = [one for one in FUNCTIONS if one.home != ROOT]
"""The translator's own events have their tests in test_events.py."""
MISTAKES: dict[str, tuple[Any, str | None]] = {
    "unknown field": ({"colour": 1}, "colour"),
    "result": ({"result": "elsewhere"}, "result"),
    "id": ({"id": "a/b"}, "id"),
    "id too long": ({"id": "a" * 65}, "id"),
    "errors": ({"errors": "maybe"}, "errors"),
    "warmup": ({"warmup": 1}, "warmup"),
    "no data": ({"data": None}, "data"),
    "a number": ({"data": 5}, "data"),
    "nothing in it": ({"data": []}, "data"),
    "null in it": ({"data": [None]}, "data[0]"),
}
"""Changes to a good request, and the field that the answer names."""

LONG = {"fastai", "keras", "spacy"}
"""Examples that ``make check`` asks and ``make test`` does not: their libraries take long to start."""


def marks(one: functions.Function) -> list[pytest.MarkDecorator]:
    """Return the marks of a function's cases."""
    return [pytest.mark.check] if one.name in LONG else []


each = pytest.mark.parametrize("one", [pytest.param(one, marks=marks(one), id=one.name) for one in FUNCTIONS])


def event_of(one: functions.Function) -> dict[str, Any]:
    """Return the function's own event, without where its result goes."""
    event = json.loads(one.event.read_text(encoding="utf-8"))
    return {name: value for name, value in event.items() if name not in {"id", "result"}}


def http(event: Any) -> dict[str, Any]:
    """Return the event that a function URL makes of a request's body."""
    return {"version": "2.0", "rawPath": "/", "body": json.dumps(event), "isBase64Encoded": False,
            "requestContext": {"http": {"method": "POST"}}}  # fmt: skip


@pytest.mark.parametrize(
    ("one", "given"),
    [
        pytest.param(one, given, marks=marks(one), id=f"{one.name}-{given.name}")
        for one in OTHERS
        for given in cases(one.home)
    ],
)
def test_event_gets_exactly_its_answer(start_function, one, given: Case):
    """An event is answered exactly as the file beside it says."""
    assert differing(given.answer, start_function(one.name).invoke(given.event)) == []


@pytest.mark.parametrize("mistake", MISTAKES)
@each
def test_mistakes_are_named(start_function, one, mistake):
    """A request that does not fit is a 400 that names the field, returned or raised, directly and by HTTP."""
    change, field = MISTAKES[mistake]
    event = event_of(one) | change
    for sent in (event, event if "errors" in change else event | {"errors": "raise"}, http(event)):
        response = start_function(one.name).invoke(sent)
        assert response["statusCode"] == 400
        body = response["body"] if isinstance(response["body"], dict) else json.loads(response["body"])
        assert (body["error"]["code"], body["error"].get("field")) == ("BadRequest", field)


@pytest.mark.parametrize("event", [[], None, 5, http([]), http(None) | {"body": "{"}], ids=str)
@each
def test_what_is_no_request_is_refused(start_function, one, event):
    """What is no JSON object at all is a 400, too."""
    assert start_function(one.name).invoke(event)["statusCode"] == 400


@each
def test_a_body_that_is_not_json(start_function, one):
    """A type that no function takes is named in a 400; lines of a text are the same request as a list."""
    function, event = start_function(one.name), event_of(one)
    wave = {"headers": {"content-type": "audio/wav"}, "body": "UklGRiQAAAA=", "isBase64Encoded": True}
    refused = function.invoke(http(None) | wave)
    error = json.loads(refused["body"])["error"]
    assert (refused["statusCode"], error["field"]) == (400, "body")
    assert "a body of type audio/wav is not taken: POST JSON" in error["message"]

    texts = all(isinstance(item, str) for item in event["data"])
    assert ("text/plain" in error["message"]) == texts
    if texts:
        plain = {"headers": {"Content-Type": "text/plain; charset=utf-8"}, "body": "\n".join(event["data"])}
        answered = json.loads(function.invoke(http(None) | plain)["body"])
        listed = function.invoke({"data": event["data"], "result": "inline"})["body"]
        assert answered["predictions"] == listed["predictions"]


@each
def test_warmup(start_function, one):
    """A warm-up needs no data."""
    response = start_function(one.name).invoke({"warmup": True})
    assert response == {"statusCode": 200, "body": {"warmup": "confirmed"}}


@each
def test_same_answer_by_every_way(start_function, one):
    """Inline, over HTTP and in S3 the predictions are the same, and a queue's message is served."""
    function, event = start_function(one.name), event_of(one)
    inline = function.invoke(event | {"result": "inline"})
    assert inline["statusCode"] == 200, inline
    predictions = inline["body"]["predictions"]
    assert [record["index"] for record in predictions] == list(range(len(event["data"])))
    response = function.invoke(http(event | {"result": "inline"}))
    assert json.loads(response["body"])["predictions"] == predictions
    record = {"messageId": "of-a-queue", "eventSource": "aws:sqs", "body": json.dumps(event)}
    assert function.invoke({"Records": [record]}) == {"batchItemFailures": []}
    key = "prediction_outputs/of-a-queue/predictions.jsonl.gz"
    function.stack.client.head_object(Bucket=RESULT_BUCKET, Key=key)


@each
def test_result_in_s3(start_function, one, tmp_path):
    """A result is written once, is what comes inline, and belongs to one request."""
    function, event = start_function(one.name), event_of(one) | {"id": "once"}
    first = function.invoke(event)
    assert first["statusCode"] == 200, first
    paths = function.stack.save(first, tmp_path)
    [path] = [path for path in paths if path.name == "predictions.jsonl.gz"]
    records = list(read_records(path))
    inline = function.invoke(event | {"result": "inline"})["body"]["predictions"]
    assert len(records) == first["body"]["count"] == len(inline)
    for record, other in zip(records, inline, strict=True):
        # What is an array in a file of its own stands inside the record when it comes inline.
        assert record["index"] == other["index"]
        assert record.keys() <= other.keys()
    key = first["body"]["s3_key"]
    written = function.stack.client.head_object(Bucket=RESULT_BUCKET, Key=key)["LastModified"]
    again = function.invoke(event)
    assert again["body"]["s3_key"] == key
    assert function.stack.client.head_object(Bucket=RESULT_BUCKET, Key=key)["LastModified"] == written
    other = function.invoke(event | {"data": event["data"][:1]})
    assert other["statusCode"] == 409


@each
def test_model_answers_as_it_was_published(start_function, one):
    """The request that stands in model.toml gets the predictions that stand beside it."""
    smoke = describe(one.model).smoke
    assert smoke is not None
    response = start_function(one.name).invoke({**smoke.request, "result": "inline"})
    found = response["body"]["predictions"]
    assert differences(found, smoke.predictions, TOLERANCE) == []


@each
def test_model_moves_while_it_serves(start_function, one, tmp_path):
    """A new version is taken up without a restart; a damaged one is refused, and the old one goes on."""
    own: WarmFunction = start_function(one.name)
    client, name = own.stack.client, own.stack.manifest.name
    event = event_of(one) | {"result": "inline"}
    folder = tmp_path / "second"
    shutil.copytree(one.model, folder, ignore=shutil.ignore_patterns("train"))
    toml = folder / "model.toml"
    toml.write_text(toml.read_text().replace("[libraries]", '[libraries]\nanother = "1"'))
    second = describe(folder)
    publish(one.model, client, MODEL_BUCKET, "moving")
    env = {"MODEL_REFRESH_SECONDS": "0", "MODEL_CHANNEL": "moving"}
    with own.stack.function(env=env) as function:
        before = function.invoke(event)["body"]
        assert before["model"]["version"] == own.stack.manifest.version
        publish(folder, client, MODEL_BUCKET, "moving")
        after = function.invoke(event)["body"]
        assert after["model"]["version"] == second.version
        assert after["predictions"] == before["predictions"]
        toml.write_text(toml.read_text().replace('another = "1"', 'another = "2"'))
        third = describe(folder)
        publish(folder, client, MODEL_BUCKET, "damaged")
        largest = max(third.files, key=lambda file: file.size).name
        key = f"models/{name}/versions/{third.version}/{largest}"
        right = (folder / largest).read_bytes()
        client.put_object(Bucket=MODEL_BUCKET, Key=key, Body=bytes([right[0] ^ 1]) + right[1:])
        pointer = channels.read(client, MODEL_BUCKET, name, "moving")
        channels.move(client, MODEL_BUCKET, name, "moving", third.version, before=pointer, by="a test")
        kept = function.invoke(event)["body"]
        assert kept["model"]["version"] == second.version
        assert kept["predictions"] == before["predictions"]


@each
def test_frozen_between_events(start_function, one):
    """Lambda stops the process after an answer; the next event finds it as it was."""
    own: WarmFunction = start_function(one.name)
    event = event_of(one) | {"result": "inline"}
    before = own.invoke(event)["body"]["predictions"]
    own.function.freeze()
    own.function.thaw()
    assert own.invoke(event)["body"]["predictions"] == before


@each
def test_log_holds_no_text_of_a_request(start_function, one):
    """No string that a caller sends reaches the log, answered or refused."""
    own: WarmFunction = start_function(one.name)
    word = "Xylophonequartz"
    for sent in ({"data": [word]}, {"data": word}, {"data": [{word: word}]}, {word: 1}, {"data": [[word]]}):
        own.invoke(sent)
    log = own.log.read_text()
    assert '"message"' in log
    assert word.lower() not in log.lower()


@each
def test_layer_is_proven(start_function, one):
    """It answered all this from its slim layer, which answered as the full one when it was built."""
    start_function(one.name)
    recipe, host = load(one.engine), get_target("host")
    found = report.read(build.default_out(recipe, host) / report.REPORT)
    assert found.proven, found.proof.how
    assert found.budget.layer + found.budget.function <= LIMIT


@pytest.mark.sample(5)
@each
def test_demo(one, tmp_path):
    """One command answers the function's event on this machine, and another shows the answer."""
    command = [sys.executable, "-m", "lambda_setup"]
    folder = tmp_path / "demo"
    done = subprocess.run(
        [*command, "invoke", "--function", one.name, "--out", folder, "--log-file", tmp_path / "log"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["statusCode"] == 200
    shown = subprocess.run(
        [*command, "results", "show", folder, "--function", one.name],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert shown.returncode == 0, shown.stderr
    assert "predictions  " in shown.stdout
    pictures = [
        Path(line.split(None, 1)[1]) for line in shown.stdout.splitlines() if line.startswith("picture")
    ]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in pictures)
    assert (
        pictures
        or not (one.code / "show.py").exists()
        or "def picture" not in (one.code / "show.py").read_text()
    )
