"""When something around the function fails: clear errors, nothing lost, nothing wrong."""

import http.client
import json

import pytest
from support.events import case
from support.project import MODEL
from support.proxy import Proxy, refused

from lambda_setup.deployment.local import Emulator, LocalDeployment
from lambda_setup.deployment.local.application import MODEL_BUCKET, RESULT_BUCKET
from lambda_setup.deployment.local.layers import build_layers

HTTP = case("valid/http_v2").event


def error(response) -> tuple[int, str]:
    """Return a response's status and error code."""
    return response["statusCode"], response["body"]["error"]["code"]


def raw(function: Emulator, event) -> dict:
    """Return what Lambda itself would answer, a raised error as such."""
    connection = http.client.HTTPConnection("127.0.0.1", function._port)
    connection.request("POST", "/2015-03-31/functions/function/invocations", json.dumps(event))
    return json.loads(connection.getresponse().read())


def test_no_storage_is_a_503(stack):
    """Without S3 every request but an invalid one is a raised Unavailable, over HTTP a returned one."""
    with stack.function(env={"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9"}) as function:
        assert raw(function, case("valid/minimal").event)["errorType"] == "Unavailable"
        assert error(function.invoke(case("valid/warmup").event)) == (503, "Unavailable")
        response = function.invoke(HTTP)
        assert (response["statusCode"], json.loads(response["body"])["error"]["code"]) == (503, "Unavailable")
        assert error(function.invoke(case("invalid/beam_bool").event)) == (400, "BadRequest")


def test_no_model_is_a_503_that_names_the_command(stack):
    """A function whose bucket is empty tells how to fill it, and serves once it is filled."""
    with stack.function(env={"MODEL_NAME": "other", "STACK_NAME": "my-stack"}) as function:
        response = function.invoke(case("valid/inline").event)
        assert error(response) == (503, "Unavailable")
        assert "python -m lambda_setup model publish" in response["body"]["error"]["message"]
        assert "--stack my-stack" in response["body"]["error"]["message"]
        pointer = stack.client.get_object(Bucket=MODEL_BUCKET, Key="models/en-es/channels/dev.json")
        version = stack.manifest.version
        for name in ("manifest.json", *(file.name for file in stack.manifest.files)):
            stack.client.copy_object(
                Bucket=MODEL_BUCKET,
                CopySource=f"{MODEL_BUCKET}/models/en-es/versions/{version}/{name}",
                Key=f"models/other/versions/{version}/{name}",
            )
        stack.client.put_object(
            Bucket=MODEL_BUCKET, Key="models/other/channels/dev.json", Body=pointer["Body"].read()
        )
        assert function.invoke(case("valid/inline").event)["statusCode"] == 200


def test_a_refused_key_is_a_503(stack):
    """Credentials that S3 refuses are an error that says so, and does not quote them."""
    with stack.function(env={"AWS_SECRET_ACCESS_KEY": "wrong-secret"}) as function:
        response = function.invoke(case("valid/minimal").event)
    assert error(response) == (503, "Unavailable")
    assert "denied access" in response["body"]["error"]["message"]
    assert "wrong-secret" not in json.dumps(response)


def test_a_refused_write_is_raised_under_its_own_name(stack):
    """What S3 refuses until a setting changes is no Unavailable, which Step Functions tries thirty times."""
    with (
        Proxy(stack.s3.endpoint) as proxy,
        stack.function(env={"AWS_ENDPOINT_URL_S3": proxy.endpoint}) as function,
        proxy.failing(refused(403, "AccessDenied"), on="PUT"),
    ):
        answer = raw(function, case("valid/minimal").event)
    assert answer["errorType"] == "Refused"
    assert "S3 answered 403 AccessDenied for s3://results/" in answer["errorMessage"]


@pytest.mark.check
def test_a_damaged_model_is_refused():
    """A flipped byte in any file of the model, or in what its manifest says of them, never serves."""
    with LocalDeployment.from_folder(MODEL, log=2) as own:
        prefix = f"models/en-es/versions/{own.manifest.version}"
        for name in ("en-es.pt", "enes.model", "manifest.json"):
            key = f"{prefix}/{name}"
            right = own.client.get_object(Bucket=MODEL_BUCKET, Key=key)["Body"].read()
            wrong = bytearray(right)
            place = wrong.index(b'"parts"') + 20 if name == "manifest.json" else len(wrong) // 2
            wrong[place] ^= 1
            own.client.put_object(Bucket=MODEL_BUCKET, Key=key, Body=bytes(wrong))
            with own.function() as function:
                response = function.invoke(case("valid/inline").event)
                assert error(response) == (503, "Unavailable"), name
                assert "damaged" in response["body"]["error"]["message"]
            own.client.put_object(Bucket=MODEL_BUCKET, Key=key, Body=right)
        with own.function() as function:
            assert function.invoke(case("valid/inline").event)["statusCode"] == 200


@pytest.mark.sample(2)
@pytest.mark.parametrize("form", ["direct", "http"])
def test_out_of_time_says_how_far_it_came(stack, form):
    """Before Lambda cuts it off, the function says how much it did; then it goes on serving."""
    event = {"data": ["Choose the value to be used in the filter."] * 10_000, "beam": 20}
    with stack.function(timeout=10) as function:
        function.invoke({"warmup": True})
        if form == "direct":
            assert raw(function, event)["errorType"] == "OutOfTime"
            response = function.invoke(event)
        else:
            response = function.invoke(HTTP | {"body": json.dumps(event)})
            response["body"] = json.loads(response["body"])
        assert error(response) == (504, "OutOfTime")
        assert "of 10000 items were done" in response["body"]["error"]["message"]
        assert function.invoke(case("valid/inline").event)["statusCode"] == 200


def test_raised_bad_requests_are_function_errors(function):
    """With errors: raise a caller that sees only failures sees a 400 too, with its field."""
    answer = raw(function, case("invalid/errors_raised").event)
    assert answer["errorType"] == "BadRequest"
    assert json.loads(answer["errorMessage"])["body"]["error"]["field"] == "beam"


def test_a_bug_is_a_500_without_its_text(stack, tmp_path):
    """An error nobody expected is raised, and neither answer nor log quote what it says."""
    app = tmp_path / "app.py"
    app.write_text(
        "from lambda_inference import BaseRequest, serve\n"
        "class Broken:\n"
        "    Request = BaseRequest\n"
        "    def load(self, model): pass\n"
        "    def predict(self, request, deadline): raise KeyError('Xylophonequartz')\n"
        "lambda_handler = serve(Broken)\n"
    )
    with (
        (tmp_path / "log").open("wb") as log,
        Emulator(tmp_path, layers=build_layers("opennmt"), env=stack.environment(), log=log) as function,
    ):
        assert error(function.invoke({})) == (500, "InternalError")
    text = (tmp_path / "log").read_text()
    assert "KeyError" in text
    assert "Xylophonequartz" not in text


def test_results_that_may_not_be_listed_are_looked_for(stack):
    """To the function's role S3 says 403 for what is not there: a range is answered, a manifest says so."""
    source = {"key": "inputs/listed.txt", "start": 0, "end": 4}
    index = [{"id": "not-there", "lines": 1, "source": source}]
    batch = {"run": "listed", "index": "inputs/listed.json", "request": {}, "corpus": {}}
    for key, body in {
        "inputs/listed.txt": b"one\n",
        "inputs/listed.json": json.dumps(index).encode(),
    }.items():
        stack.client.put_object(Bucket=RESULT_BUCKET, Key=key, Body=body)
    with (
        Proxy(stack.s3.endpoint) as proxy,
        stack.function(env={"AWS_ENDPOINT_URL_S3": proxy.endpoint}) as one,
    ):
        with proxy.failing(refused(403, "AccessDenied"), on="/results/prediction_outputs/not-there"):
            assert one.invoke({"manifest": batch})["body"]["failed_ranges"] == 1
        with proxy.failing(refused(403, "AccessDenied"), on="HEAD /results/prediction_outputs/listed"):
            answer = one.invoke({"id": "listed", "source": source})
        assert (answer["statusCode"], answer["body"]["count"]) == (200, 1)
        beyond = one.invoke({"source": source | {"start": 400, "end": 500}})
        assert (beyond["statusCode"], beyond["body"]["error"]["field"]) == (400, "source.end")
