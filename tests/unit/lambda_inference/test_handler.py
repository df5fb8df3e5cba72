"""How a call is answered: repeated requests, and faults in the form that their callers see."""

import json
import threading
from types import SimpleNamespace
from unittest import mock

import obstore
import pytest
from obstore.store import MemoryStore

from lambda_inference import Prediction, Unavailable, _storage, _telemetry
from lambda_inference._errors import AccessDenied, Conflict, InternalError, MissingVersion, Refused
from lambda_inference._events import Call
from lambda_inference._handler import Service, _respond_to_fault, serve
from lambda_inference.texts import TextRequest

CONTEXT = SimpleNamespace(get_remaining_time_in_millis=lambda: 60_000, aws_request_id="invocation")


class Counting:
    """A predictor that counts what it was asked."""

    Request = TextRequest
    asked = 0

    def load(self, model):
        pass

    def predict(self, request, _):
        Counting.asked += 1
        return [Prediction({"index": index, "text": text}) for index, text in enumerate(request.data)]


class Models:
    """A model that is there, or not yet."""

    def __init__(self):
        self.version = "1"

    def select(self, *_):
        if self.version is None:
            raise Unavailable("there is no model yet")
        manifest = SimpleNamespace(name="m", engine="e")
        return SimpleNamespace(predictor=Counting(), manifest=manifest, version=self.version)


@pytest.fixture
def service(monkeypatch):
    """Return a function with its results in memory."""
    memory = MemoryStore()
    monkeypatch.setenv("RESULT_BUCKET", "results-of-handler")
    monkeypatch.setattr(_storage.Bucket, "_connect", lambda _: memory)
    monkeypatch.setattr(Counting, "asked", 0)
    made = Service(Counting)
    made.models = Models()
    obstore.put(memory, "inputs/c.txt", b"a\nb\n")
    return made


def message(body):
    """Return a queue's event with one message."""
    record = {"eventSource": "aws:sqs", "messageId": "m-1", "body": json.dumps(body)}
    return {"Records": [record]}


def without_timings(response):
    """Return a response's body but for what is measured."""
    return {name: value for name, value in response["body"].items() if name != "timings_ms"}


@pytest.mark.parametrize(
    "request_", [{"data": ["a"]}, {"source": {"key": "inputs/c.txt", "start": 0, "end": 4}}]
)
def test_a_repeated_request_is_answered_without_a_prediction(service, request_):
    """The first result is returned, under its model's version, though the model has moved or gone."""
    event = request_ | {"id": "once"}
    first = service.handle(event, CONTEXT)
    for version in ("2", None):
        service.models.version = version
        again = service.handle(event, CONTEXT)
        assert without_timings(again) == without_timings(first)
        assert again["body"]["timings_ms"].keys() == {"predict", "store"}
        assert again["body"]["timings_ms"]["predict"] == 0
        assert again["body"]["model"]["version"] == "1"
        assert again["body"]["s3_key"] == "prediction_outputs/once/predictions.jsonl.gz"
    assert Counting.asked == 1


def test_another_request_of_the_same_id_is_refused_before_it_is_predicted(service):
    """A conflict costs no prediction, and needs no model."""
    service.handle({"data": ["a"], "id": "once"}, CONTEXT)
    service.models.version = None
    response = service.handle({"data": ["b"], "id": "once"}, CONTEXT)
    assert (response["statusCode"], response["body"]["error"]["code"]) == (409, "Conflict")
    assert Counting.asked == 1


def test_a_message_that_comes_twice_is_predicted_once(service):
    """A message's id names its result, as a caller's does."""
    for _ in range(2):
        assert service.handle(message({"data": ["a"]}), CONTEXT) == {"batchItemFailures": []}
    assert Counting.asked == 1


def test_a_message_that_breaks_goes_back_to_its_queue(service, monkeypatch):
    """Whatever it is that is raised: an answer that never was must not delete the message."""
    monkeypatch.setattr(service, "_answer", mock.Mock(side_effect=ZeroDivisionError))
    answer = service.handle(message({"data": ["a"]}), CONTEXT)
    assert answer == {"batchItemFailures": [{"itemIdentifier": "m-1"}]}


def test_an_answer_that_http_makes_too_large_is_stored(service):
    """Its JSON stands in a string there, which takes two bytes more for each quotation mark."""
    body = {"data": ['"' * 10_000] * 150, "result": "auto"}
    direct = service.handle(body, CONTEXT)
    assert len(direct["body"]["predictions"]) == 150
    event = {"requestContext": {"http": {"method": "POST"}}, "body": json.dumps(body)}
    response = service.handle(event, CONTEXT)
    assert json.loads(response["body"])["s3_key"] == "prediction_outputs/invocation/predictions.jsonl.gz"


def test_without_an_id_nothing_is_looked_for(service, monkeypatch):
    """Who names no id pays no request to S3 for it."""
    monkeypatch.setattr(_storage.Bucket, "find_metadata", None)
    response = service.handle({"data": ["a"]}, CONTEXT)
    assert response["statusCode"] == 200
    assert response["body"]["s3_key"] == "prediction_outputs/invocation/predictions.jsonl.gz"


def test_a_warmup_is_confirmed_once_the_model_is_there(service):
    """It predicts nothing."""
    service.models.version = None
    with pytest.raises(Unavailable, match="no model yet"):
        service.handle({"warmup": True}, CONTEXT)
    service.models.version = "1"
    response = service.handle({"warmup": True}, CONTEXT)
    assert response == {"statusCode": 200, "body": {"warmup": "confirmed"}}
    assert Counting.asked == 0


@pytest.mark.parametrize("call", ["find_metadata", "create", "read_range"])
def test_an_answer_comes_before_the_timeout_while_s3_hangs(service, monkeypatch, call):
    """A store that is slow is a 503 for the caller; what it goes on to store is found under the same id."""
    context = SimpleNamespace(get_remaining_time_in_millis=lambda: 1_500, aws_request_id="invocation")
    event = {"source": {"key": "inputs/c.txt", "start": 0, "end": 4}, "id": "hung"}
    hung, right = threading.Event(), getattr(_storage.Bucket, call)

    def hang(*arguments, **named):
        hung.wait()
        return right(*arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(_storage.Bucket, call, hang)
        with pytest.raises(Unavailable, match="S3 did not answer in the time there was"):
            service.handle(event, context)
        hung.set()
    response = service.handle(event, CONTEXT)
    assert (response["statusCode"], response["body"]["count"]) == (200, 2)


def test_the_answer_to_a_shard_says_what_its_manifest_sums(service):
    """How many lines failed, at which attempt, and how long the prediction took."""
    event = {"source": {"key": "inputs/c.txt", "start": 0, "end": 4}}
    body = service.handle(event, CONTEXT)["body"]
    assert (body["failed"], body["attempt"]) == (0, 0)
    assert body["predict_ms"] == body["timings_ms"]["predict"]
    assert not {"failed", "attempt", "predict_ms"} & set(service.handle({"data": ["a"]}, CONTEXT)["body"])


def test_an_inline_answer_is_made_anew(service):
    """It was never stored."""
    for _ in range(2):
        response = service.handle({"data": ["a"], "id": "once", "result": "inline"}, CONTEXT)
        assert response["statusCode"] == 200
        assert response["body"]["predictions"] == [{"index": 0, "text": "a"}]
    assert Counting.asked == 2


@pytest.mark.parametrize(
    ("kind", "metric"), [(InternalError, "Failed"), (Unavailable, "Failed"), (Conflict, "Rejected")]
)
def test_a_fault_counts_for_who_can_mend_it(monkeypatch, kind, metric):
    """Alarms watch what failed; what was rejected is the caller's. Over HTTP nothing is raised."""
    counted, call = [], Call(dict, http=True)
    monkeypatch.setattr(_telemetry, "count", counted.append)
    assert _respond_to_fault(call, kind("no"), raise_all=True)["statusCode"] == kind.status
    assert counted == [metric]


@pytest.mark.parametrize("kind", [Unavailable, AccessDenied, MissingVersion])
def test_a_raised_fault_has_the_name_that_callers_retry(kind):
    """Step Functions retries by the class's name, which is the answer's code, however fine ours are."""
    with pytest.raises(Unavailable) as caught:
        _respond_to_fault(Call(dict), kind("no"), raise_all=False)
    assert type(caught.value).__name__ == json.loads(caught.value.message)["body"]["error"]["code"]


def test_a_manifest_is_a_call_of_its_own(service):
    """An invalid batch is raised, so that the state machine notices; a message cannot ask for one."""
    obstore.put(_storage.Bucket("any")._connect(), "inputs/i.json", b"[]")
    batch = {"run": "r", "index": "inputs/i.json", "request": {"model_version": "a" * 64}, "corpus": {}}
    response = service.handle({"manifest": batch}, CONTEXT)
    assert (response["statusCode"], response["body"]["ranges"]) == (200, 0)
    with pytest.raises(ValueError, match="manifest takes the input of the state machine"):
        service.handle({"manifest": {}}, CONTEXT)
    assert service.handle(message({"manifest": {}}), CONTEXT) == {
        "batchItemFailures": [{"itemIdentifier": "m-1"}]
    }


def test_the_log_has_the_reason_that_a_queue_does_not_see(service, monkeypatch):
    """A 5xx, and an event that is none of ours, are logged with their message; a request's text never is."""
    logged, counted = [], []
    monkeypatch.setattr(_telemetry, "warn", lambda text, **fields: logged.append((text, fields)))
    monkeypatch.setattr(_telemetry, "count", counted.append)
    monkeypatch.setattr(service.models, "select", mock.Mock(side_effect=Refused("S3 answered 301 …")))
    body = {"Service": "Amazon S3", "Event": "s3:TestEvent"}
    assert service.handle(message(body), CONTEXT) == {"batchItemFailures": []}
    for body in ({"data": ["a"]}, {"detail-type": "a", "source": "b", "detail": {}}, {"data": 1}):
        assert service.handle(message(body), CONTEXT) == {"batchItemFailures": [{"itemIdentifier": "m-1"}]}
    assert {fields["message_id"] for _, fields in logged} == {"m-1"}
    reasons = [fields.get("reason") for _, fields in logged]
    assert reasons[0] == "S3 answered 301 …"
    assert "constant input" in reasons[1]
    assert reasons[2] is None
    assert counted == ["ColdStart", "Failed", "Rejected", "Rejected"]


@pytest.mark.parametrize(("lambda_", "initialised"), [(True, 1), (False, 0)])
def test_a_handler_serves_its_predictor(monkeypatch, lambda_, initialised):
    """Inside Lambda its model is loaded at once; an event and its context reach the service."""
    begun = []
    monkeypatch.setattr(Service, "initialise", lambda _: begun.append(1))
    monkeypatch.setattr(Service, "handle", lambda _, *given: given)
    monkeypatch.delenv("AWS_LAMBDA_RUNTIME_API", raising=False)
    if lambda_:
        monkeypatch.setenv("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001")
    handler = serve(Counting)
    assert handler.predictor_type is Counting
    assert handler("event", CONTEXT) == ("event", CONTEXT)
    assert len(begun) == initialised


@pytest.mark.parametrize(
    ("fault", "reason"), [(Refused("no bucket"), "no bucket"), (KeyError("model"), None)]
)
def test_an_initialisation_that_fails_is_logged(service, monkeypatch, fault, reason):
    """The function answers all the same, and its operator sees why the model is not there."""
    warned, failures = [], []
    monkeypatch.setattr(_telemetry, "warn", lambda _, **fields: warned.append(fields["reason"]))
    monkeypatch.setattr(_telemetry, "log_failure", failures.append)
    monkeypatch.setattr(service.models, "initialise", mock.Mock(side_effect=fault), raising=False)
    service.initialise()
    assert (warned, failures) == (([reason], []) if reason else ([], [fault]))


def test_an_invocation_reports_its_cold_code(service):
    """A function with split libraries says after each invocation what was unpacked for it."""
    service.cold_code = mock.Mock()
    service.handle({"data": ["a"]}, CONTEXT)
    service.cold_code.record.assert_called_once_with()


def test_what_initialisation_measured_is_reported_then(service, monkeypatch):
    """Its metrics are written before a snapshot is taken, so that no restored environment repeats them."""
    flushed = mock.Mock()
    monkeypatch.setattr(_telemetry, "flush", flushed)
    monkeypatch.setattr(service.models, "initialise", mock.Mock(side_effect=Refused("no")), raising=False)
    service.initialise()
    flushed.assert_called_once_with()


def test_an_invocation_reports_what_it_cost(service, monkeypatch, capsys):
    """Counts of its predictions are summed, and only the first one is a cold start."""
    monkeypatch.setattr(_telemetry, "_metrics", {})
    made = [
        Prediction({}, counts={"Tokens": 3}, truncated=1),
        Prediction({}),
        Prediction({}, {}, {"Tokens": 4}, 2),
    ]
    monkeypatch.setattr(Counting, "predict", lambda *_: made)
    found = []
    for _ in range(2):
        response = service.handle({"data": ["a", "b", "c"]}, CONTEXT)
        [metrics] = [line for line in map(json.loads, capsys.readouterr().out.splitlines()) if "_aws" in line]
        timings = {name.lower(): metrics.pop(name)[0] for name in ("Predict", "Store")}
        assert timings == response["body"]["timings_ms"]
        assert response["body"]["truncated"] == 3
        found.append({name: value for name, value in metrics.items() if name not in {"_aws", "service"}})
    again = {"Items": [3], "Tokens": [7], "Truncated": [3]}
    assert found == [again | {"ColdStart": [1]}, again]
