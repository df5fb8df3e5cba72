"""``sam local`` runs what ``sam build`` built, in a container of Lambda's runtime.

``sam local`` exits 0 whatever the function does, so each check reads the answer.
"""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from contextlib import contextmanager

import boto3
import pytest
from botocore.config import Config
from support.answers import differences
from support.events import Case, case, cases, send

from e2e.conftest import CONFIG, OPTIONS, ROOT
from lambda_setup.deployment.local.process import Program, free_ports, listens
from lambda_setup.deployment.responses import parse_response

EVENT = case("event")
CONVERTED = "en-es-ct2"


def answer(done):
    """Return what the function answered: the last line of what ``sam local invoke`` printed."""
    assert done.stdout.strip(), done.stderr[-3000:]
    return parse_response(done.stdout.strip().splitlines()[-1])


@pytest.mark.usefixtures("image", "built", "s3")
class TestInvoke:
    """``sam local invoke``."""

    def test_named(self, sam):
        """The function by its name, with its variables from a file."""
        done = sam.run(
            "local", "invoke", "TranslationFunction", "-n", "events/env.json", "-e", "events/event.json",
            *OPTIONS,
        )  # fmt: skip

        assert differences(EVENT.answer, answer(done)) == []

    def test_bare(self, sam, tmp_path):
        """The bare command, where the environment that was built is the default one."""
        config = (ROOT / "samconfig.toml").read_text()
        (_, _, ours) = config.partition(f"[{CONFIG}.global")
        ours = f"version = 0.1\n[{CONFIG}.global{ours}".replace(CONFIG, "default")
        ours = re.sub('parameter_overrides = ".*"', f'parameter_overrides = "{OPTIONS[-1]}"', ours)
        (tmp_path / "samconfig.toml").write_text(ours)
        assert tomllib.loads((tmp_path / "samconfig.toml").read_text())["default"]["local_invoke"]
        for name in (".aws-sam", "events"):
            (tmp_path / name).symlink_to(ROOT / name)

        done = sam.run("local", "invoke", "-e", "events/event.json", cwd=tmp_path)

        assert differences(EVENT.answer, answer(done)) == []

    def test_without_s3(self, sam, tmp_path):
        """Where S3 is not, the answer says so; the program itself exits 0."""
        variables = json.loads((ROOT / "events" / "env.json").read_text())
        variables["TranslationFunction"]["AWS_ENDPOINT_URL_S3"] = "http://s3.local:9"
        (tmp_path / "env.json").write_text(json.dumps(variables))

        done = sam.run("local", "invoke", "-n", tmp_path / "env.json", "-e", "events/event.json",
                       *OPTIONS)  # fmt: skip

        assert done.returncode == 0
        body = answer(done)
        assert (body["statusCode"], body["body"]["error"]["code"]) == (503, "Unavailable")


@pytest.fixture(scope="module")
def other_engine(sam, s3, tmp_path_factory) -> list[object]:  # noqa: ARG001 - S3 has to be there
    """Build for CTranslate2 and publish a model; what ``sam local invoke`` has to be told then."""
    folder = tmp_path_factory.mktemp("ctranslate2")
    overrides = [*OPTIONS[:-1], OPTIONS[-1].replace("Engine=opennmt", "Engine=ctranslate2")]
    done = sam.run("build", *overrides, "--build-dir", folder / "build")
    assert done.returncode == 0, done.stderr
    command = [sys.executable, "-m", "lambda_setup", "model", "publish", "models/en-es", "--local",
               "--name", CONVERTED, "--engine", "ctranslate2"]  # fmt: skip
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    variables = json.loads((ROOT / "events" / "env.json").read_text())
    variables["TranslationFunction"]["MODEL_NAME"] = CONVERTED
    (folder / "env.json").write_text(json.dumps(variables))
    return [
        "--config-file",
        ROOT / "samconfig.toml",
        "-t",
        folder / "build" / "template.yaml",
        "-n",
        folder / "env.json",
        *overrides,
    ]


@pytest.mark.usefixtures("image", "s3")
class TestOtherEngine:
    """``sam local invoke`` of the same template with the other engine, and the model converted for it."""

    def test_answer(self, sam, other_engine):
        """It translates, and says which engine did and which model."""
        done = sam.run("local", "invoke", *other_engine, "-e", "events/valid/inline_attention.json")
        found, expected = answer(done), case("valid/inline_attention").answer

        assert (found["body"].pop("engine"), found["body"]["model"].pop("name")) == ("ctranslate2", CONVERTED)
        del expected["body"]["engine"], expected["body"]["model"]["name"]
        assert differences(expected, found) == []

    def test_a_model_of_the_first_engine_is_refused(self, sam, other_engine):
        """The answer names both engines, and what to do."""
        done = sam.run(
            "local", "invoke", *other_engine, "-n", ROOT / "events" / "env.json", "-e", "events/event.json"
        )

        found = answer(done)
        assert found["statusCode"] == 503
        message = found["body"]["error"]["message"]
        assert "is for the engine opennmt" in message
        assert "Engine=opennmt" in message


@contextmanager
def start_lambda(sam, log):
    """Yield boto3's client of a ``sam local start-lambda`` that keeps its container."""
    (port,) = free_ports(1)
    program = Program(
        sam.command("local", "start-lambda", *OPTIONS, "--warm-containers", "EAGER", "--port", port),
        env=sam.environment,
        cwd=ROOT,
        log=log,
        grace=60,
    )
    try:
        program.wait_until(lambda: listens(port), seconds=300)
        yield boto3.Session(aws_access_key_id="none", aws_secret_access_key="none").client(
            "lambda",
            endpoint_url=f"http://127.0.0.1:{port}",
            region_name="eu-central-1",
            config=Config(read_timeout=300, retries={"total_max_attempts": 1}),
        )
    finally:
        program.stop()


@pytest.fixture(scope="class")
def invoke(sam, image, built, s3, tmp_path_factory):  # noqa: ARG001 - they have to be there
    """Invoke the function with boto3."""
    path = tmp_path_factory.mktemp("start-lambda") / "log"
    with path.open("wb") as log, start_lambda(sam, log) as client:

        def invoked(event):
            response = client.invoke(FunctionName="TranslationFunction", Payload=json.dumps(event).encode())
            return parse_response(response["Payload"].read().decode())

        yield invoked


class TestStartLambda:
    """``sam local start-lambda``, with boto3 as the client."""

    @pytest.mark.parametrize("one", cases(), ids=lambda one: one.name)
    def test_event_gets_exactly_its_answer(self, invoke, say, one: Case):
        """Every event is answered in the container as it is outside, and the answer is shown."""
        found = send(one, invoke)

        say(f"{one.name}: {json.dumps(found, ensure_ascii=False)[:200]}")
        assert differences(one.answer, found) == []


def test_docker_is_left_clean(engine, sam):
    """What ``sam local`` started is gone: it is the last test of this file."""
    del sam
    assert engine.run("ps", "--quiet") == ""
    assert shutil.which("docker")
