"""A deployment on this machine: what it starts, what its functions are given, and what is left of it."""

import contextlib
import getpass
import http.server
import json
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from lambda_setup.deployment import FunctionFacts
from lambda_setup.deployment.local import (
    MODEL_BUCKET,
    RESULT_BUCKET,
    LocalDeployment,
    layers,
    predict,
    stepfunctions,
)
from lambda_setup.deployment.local import application as module
from lambda_setup.deployment.local.loopback import PatientServer
from lambda_setup.deployment.responses import get_body
from lambda_setup.errors import CommandError
from layer.builder.recipe import ROOT
from layer.builder.target import host_architecture


@pytest.fixture(scope="module", autouse=True)
def _no_layers() -> Iterator[None]:
    """Let functions have no layers: building them takes a minute."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "build_layers", lambda engine: [] if engine == "shout" else None)
        yield


@pytest.fixture(scope="module")
def local(model, share):
    """Yield a deployment."""
    with LocalDeployment.from_folder(model, s3=share()) as running:
        # SeaweedFS would make a bucket with the first object in it.
        assert {MODEL_BUCKET, RESULT_BUCKET} <= {
            one["Name"] for one in running.client.list_buckets()["Buckets"]
        }
        yield running


@pytest.fixture
def connect(local, monkeypatch):
    """Let commands find the deployment's S3 as that of ``make s3``."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", local.s3.endpoint)
    monkeypatch.setattr(module, "ACCESS_KEY", local.s3.access_key)
    monkeypatch.setattr(module, "SECRET_KEY", local.s3.secret_key)


def see(function, event=None):
    """Return what a function sees."""
    [answer] = get_body(function.invoke({"data": "a", **(event or {})}))["predictions"]
    return answer


def test_a_function_has_what_the_template_gives(local, code):
    """Its model, its buckets, their S3, and what the test gives; one /tmp for all."""
    expected = {
        **local.s3.environment(), "MODEL_BUCKET": MODEL_BUCKET, "MODEL_NAME": "tiny", "ENGINE": "shout",
        "MODEL_CHANNEL": "dev", "RESULT_BUCKET": RESULT_BUCKET,
    }  # fmt: skip
    with local.function(code=code, env={"GIVEN": "1", "MODEL_NAME": "another"}, memory=512) as function:
        environment = see(function)["environment"]
    more = {"GIVEN": "1", "MODEL_NAME": "another", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512"}
    assert environment.items() >= (expected | more | {"TMPDIR": str(local.temporary)}).items()


def test_functions_that_answer(local, code, monkeypatch):
    """As many as asked for; the first event starts one, its engine's."""
    monkeypatch.setattr(local, "_emulators", [])
    engines = {"shout": SimpleNamespace(code=code)}
    monkeypatch.setattr(module.functions, "for_engine", engines.pop)
    assert see(local, {"data": "\ud800"})["echo"] == r"'\ud800'"
    see(local)
    assert (engines, local.facts.workers) == ({}, 1)
    local.start_functions(2, code=code, timeout=7, memory=256)
    assert local.facts == FunctionFacts(timeout=7, memory=256, architecture=host_architecture(), workers=2)
    assert see(local)["environment"]["AWS_LAMBDA_FUNCTION_TIMEOUT"] == "7"


def test_a_state_machine_calls_the_functions(local, code):
    """Its definition is the template's with names of this machine; a task reaches a function, and S3."""
    local.start_functions(2, code=code)
    client, arn = local.state_machine.client, local.state_machine.arn
    definition = client.describe_state_machine(stateMachineArn=arn)["definition"]
    assert "${" not in definition
    assert "States.StringToJson('2')" in definition
    body = json.dumps([1, 2])
    states = {
        "Put": {"Type": "Task", "Resource": "arn:aws:states:::aws-sdk:s3:putObject", "ResultPath": None,
                "Parameters": {"Bucket": RESULT_BUCKET, "Key": "a", "Body": body}, "Next": "Ask"},
        "Ask": {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "End": True,
                "Parameters": {"FunctionName": "function", "Payload.$": "$"}},
    }  # fmt: skip
    made = client.create_state_machine(
        name="two", roleArn="arn:aws:iam::123456789012:role/none",
        definition=json.dumps({"StartAt": "Put", "States": states}),
    )  # fmt: skip
    run = client.start_execution(stateMachineArn=made["stateMachineArn"], input='{"data": "b"}')
    for _ in range(10_000):
        found = client.describe_execution(executionArn=run["executionArn"])
        if found["status"] != "RUNNING":
            break
    assert found["status"] == "SUCCEEDED", found
    assert get_body(json.loads(found["output"])["Payload"])["predictions"][0]["echo"] == "'b'"
    assert local.client.get_object(Bucket=RESULT_BUCKET, Key="a")["Body"].read() == body.encode()


def test_what_a_response_names_is_fetched(local, tmp_path):
    """From the S3 of this deployment."""
    local.client.put_object(Bucket=RESULT_BUCKET, Key="b/c", Body=b"1")
    response = {"statusCode": 200, "body": {"s3_bucket": RESULT_BUCKET, "s3_key": "b/c"}}
    assert local.save(response, tmp_path) == [tmp_path / "b" / "c"]
    assert (tmp_path / "b" / "c").read_bytes() == b"1"


@pytest.mark.usefixtures("connect")
def test_a_deployment_on_an_s3_that_runs(local, code):
    """It has the model of a channel, and leaves the S3 running."""
    with LocalDeployment.connect("tiny", log=1) as connected:
        assert (connected.engine, connected.channel, connected.log) == ("shout", "dev", 1)
        assert connected.environment() == local.environment()
        connected.start_functions(code=code)
        see(connected)
    assert local.s3.answers()
    assert not connected.temporary.exists()
    with pytest.raises(CommandError, match="prod"):
        LocalDeployment.connect("tiny", "prod")


@pytest.mark.usefixtures("connect")
def test_the_bucket_of_an_s3_that_runs(local, monkeypatch):
    """Its history has the name of who uses this machine, if the machine knows it."""
    bucket = module.open_model_bucket()
    assert bucket.environment == local.s3.environment() | {"MODEL_BUCKET": MODEL_BUCKET}
    assert (bucket.name, bucket.arguments, bucket.identify()) == (
        MODEL_BUCKET, "--local", f"local:{getpass.getuser()}",
    )  # fmt: skip

    def fail() -> None:
        raise KeyError

    monkeypatch.setattr(getpass, "getuser", fail)
    assert bucket.identify() == "local:unknown"


def test_no_s3_runs(monkeypatch):
    """The message has the command that starts it."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    with pytest.raises(CommandError, match=r"nothing serves S3 at http://127\.0\.0\.1:9; run `make s3`"):
        module.connect_local_s3()


def test_predictions_of_a_folder(local, model, code, monkeypatch):
    """They are the answer to a request for inline ones; a refusal is an error, and no log is shown."""
    asked = []

    def open_deployment(folder, **options):
        asked.append((folder, options))
        return contextlib.nullcontext(local)

    monkeypatch.setattr(LocalDeployment, "from_folder", open_deployment)
    [answer] = predict(model, {"data": ["a"], "result": "s3"}, code=code)
    assert (answer["echo"], answer["result"]) == ("['a']", "inline")
    assert asked == [(model, {"log": subprocess.DEVNULL})]
    with pytest.raises(CommandError, match=r"the function answered .*no data"):
        predict(model, {}, code=code)


def test_buckets_are_there_before_an_object(local, model, share):
    """SeaweedFS would make one with the first object in it."""
    for one in local.client.list_objects_v2(Bucket=RESULT_BUCKET).get("Contents", []):
        local.client.delete_object(Bucket=RESULT_BUCKET, Key=one["Key"])
    local.client.delete_bucket(Bucket=RESULT_BUCKET)
    with LocalDeployment.from_folder(model, s3=share()) as again:
        buckets = {one["Name"] for one in again.client.list_buckets()["Buckets"]}
    assert {MODEL_BUCKET, RESULT_BUCKET} <= buckets


def test_data_that_are_kept(local, model, share):
    """Another deployment finds the buckets, and what is in them."""
    local.client.put_object(Bucket=RESULT_BUCKET, Key="kept", Body=b"1")
    with LocalDeployment.from_folder(model, s3=share()) as again:
        assert again.client.get_object(Bucket=RESULT_BUCKET, Key="kept")["Body"].read() == b"1"
        assert not again.s3.left
    assert again.s3.left


def test_a_server_that_somebody_else_has_started(share):
    """A deployment that brings no model neither starts nor ends it."""
    server = share()
    with LocalDeployment(server, "tiny", "shout") as another:
        assert another.environment()["AWS_ENDPOINT_URL_S3"] == server.endpoint
    assert not server.left


def test_a_model_that_cannot_be_uploaded(model, share, monkeypatch):
    """Nothing of the deployment is left."""

    def fail(*_):
        raise CommandError("no")

    monkeypatch.setattr(module, "upload", fail)
    deployment = LocalDeployment.from_folder(model, s3=share())
    with pytest.raises(CommandError, match=r"^no$"):
        deployment.__enter__()
    assert deployment.s3.left
    assert not deployment.temporary.exists()


def test_layers_of_an_engine(tmp_path, monkeypatch, capsys):
    """They are built for this machine, those that they lie on last, and it is said if it takes long."""
    recipe, base = (SimpleNamespace(out=tmp_path / name) for name in ("shout-host", "inference-host"))
    base.base, recipe.base = None, base
    built = []
    monkeypatch.setattr(layers, "load", {"shout": "recipe"}.get)
    monkeypatch.setattr(layers, "Job", lambda *arguments: setattr(recipe, "asked", arguments) or recipe)
    monkeypatch.setattr(layers, "build", lambda job, say: built.append(job) or say("built"))
    monkeypatch.setattr(layers, "default_out", lambda recipe, target: f"{recipe}-{target.name}")
    expected = [one.out / "layer" / "python" for one in (recipe, base)]
    assert layers.build_layers("shout") == [*expected, ROOT / "layer" / "python"]
    assert (recipe.asked[0], recipe.asked[1].name, recipe.asked[2]) == ("recipe", "host", "recipe-host")
    assert capsys.readouterr().err.count("layer: ") == 2
    recipe.out.mkdir()
    recipe.base = None
    assert layers.build_layers("shout") == [expected[0], ROOT / "layer" / "python"]
    assert built == [recipe, recipe]
    assert capsys.readouterr().err.splitlines() == ["· layer: built"]


def test_step_functions_that_do_not_start(monkeypatch):
    """The process is ended, and it is said."""
    programs = []

    class Fails(stepfunctions.Program):
        def wait_until(self, ready, seconds):
            programs.append(self)
            assert (ready(), seconds) == (False, 60)
            raise CommandError("no")

    monkeypatch.setattr(stepfunctions, "Program", Fails)
    with pytest.raises(CommandError, match=r"^no$"):
        stepfunctions.StepFunctions(env={}).__enter__()
    assert programs[0]._process.returncode is not None


def test_step_functions_end():
    """Their process is gone, and nobody listens."""
    with stepfunctions.StepFunctions(env={}) as states:
        assert states.client.list_state_machines()["stateMachines"] == []
    assert states._program._process.returncode is not None


@pytest.mark.check
def test_step_functions_count_attempts():
    """Items that fail at the same moment are each tried as often as their rule says."""
    attempts, items, rules = Counter(), 4, 16
    together = threading.Barrier(items * rules, timeout=300)

    class Fails(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            attempts[self.rfile.read(int(self.headers["Content-Length"]))] += 1
            together.wait()
            self.send_response(400)
            self.send_header("x-amzn-RequestId", "none")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    def branch(rule):
        task = {
            "Type": "Task",
            "Resource": "arn:aws:states:::lambda:invoke",
            "Parameters": {"FunctionName": "none", "Payload": {"rule": rule, "item.$": "$"}},
            "Retry": [{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 1, "MaxAttempts": 1}],
            "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Failed"}],
            "End": True,
        }
        states = {"Try": task, "Failed": {"Type": "Pass", "End": True}}
        each = {"Type": "Map", "Iterator": {"StartAt": "Try", "States": states}, "End": True}
        return {"StartAt": "Each", "States": {"Each": each}}

    every = {"Type": "Parallel", "Branches": [branch(rule) for rule in range(rules)], "End": True}
    environment = {"AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none"}
    with PatientServer(("127.0.0.1", 0), Fails) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        environment["AWS_ENDPOINT_URL_LAMBDA"] = f"http://127.0.0.1:{server.server_port}"
        with stepfunctions.StepFunctions(env=environment) as states:
            machine = states.client.create_state_machine(
                name="every",
                definition=json.dumps({"StartAt": "Every", "States": {"Every": every}}),
                roleArn="arn:aws:iam::123456789012:role/none",
            )["stateMachineArn"]
            run = states.client.start_execution(stateMachineArn=machine, input=json.dumps([*range(items)]))
            arn = run["executionArn"]
            while (said := states.client.describe_execution(executionArn=arn))["status"] == "RUNNING":
                time.sleep(0.1)
        server.shutdown()
    assert said["status"] == "SUCCEEDED"
    assert len(attempts) == items * rules
    assert set(attempts.values()) == {2}
