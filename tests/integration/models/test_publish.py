"""``model publish``, ``model score`` and ``s3``: models on their way to functions."""

import json
import os
import re
import signal
import subprocess
import sys

import boto3
import pytest
from support.events import case
from support.project import MODEL, ROOT

from lambda_setup.__main__ import main
from lambda_setup.deployment.local.process import free_ports

BUCKET = "published-models"


@pytest.fixture(scope="module")
def aws(stack, moto):
    """Return an account: a stack in moto's CloudFormation whose output names a bucket of the real S3."""
    stack.client.create_bucket(Bucket=BUCKET)
    template = {
        "Resources": {"Topic": {"Type": "AWS::SNS::Topic"}},
        "Outputs": {"ModelBucketName": {"Value": BUCKET}},
    }
    cloudformation = boto3.client(
        "cloudformation", endpoint_url=moto, region_name="us-east-1",
        aws_access_key_id="any", aws_secret_access_key="any",
    )  # fmt: skip
    cloudformation.create_stack(StackName="translation", TemplateBody=json.dumps(template))
    return os.environ | stack.s3.environment() | {"AWS_ENDPOINT_URL_CLOUDFORMATION": moto}


def publish(aws, *arguments) -> subprocess.CompletedProcess:
    """Run the command as an operator does."""
    command = [sys.executable, "-m", "lambda_setup", "model", "publish", str(MODEL), *arguments]
    return subprocess.run(command, cwd=ROOT, env=aws, capture_output=True, text=True, check=False)


def keys(stack) -> list[str]:
    """Return what is in the bucket."""
    found = stack.client.list_objects_v2(Bucket=BUCKET)
    return [one["Key"] for one in found.get("Contents", [])]


@pytest.mark.check
def test_a_dry_run_writes_nothing_and_says_what_would_be(aws, stack):
    """The plan names every object, and the bucket stays as it was."""
    before = keys(stack)
    done = publish(aws, "--stack", "translation", "--channel", "prod", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert keys(stack) == before
    for name in ("en-es.pt", "enes.model", "manifest.json", "channels/prod.json"):
        assert re.search(rf"would +put s3://{BUCKET}/models/en-es/.*{name}", done.stdout)


def test_what_is_published_serves(aws, stack):
    """A stack's bucket is found by its output, and a function that reads it answers."""
    done = publish(aws, "--stack", "translation")
    assert done.returncode == 0, done.stderr
    assert stack.manifest.version in done.stdout
    with stack.function(env={"MODEL_BUCKET": BUCKET}) as function:
        response = function.invoke(case("valid/inline").event)
    assert response["body"]["model"] == {"name": "en-es", "version": stack.manifest.version}


@pytest.mark.check
def test_the_same_model_is_not_uploaded_twice(aws, stack):
    """A second publication writes nothing but the pointer."""
    publish(aws, "--bucket", BUCKET)
    manifest = next(key for key in keys(stack) if key.endswith("manifest.json"))
    before = stack.client.head_object(Bucket=BUCKET, Key=manifest)["LastModified"]
    done = publish(aws, "--bucket", BUCKET)
    assert "there already" in done.stdout
    assert stack.client.head_object(Bucket=BUCKET, Key=manifest)["LastModified"] == before


@pytest.mark.parametrize(
    ("arguments", "told"),
    [(["--stack", "nobody"], "nobody"), ([], "--stack")],
)
def test_what_cannot_be_is_one_line(aws, arguments, told):
    """A stack that is not there, or none named, is told without a traceback."""
    done = publish(aws, *arguments)
    assert done.returncode == 2
    assert told in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_without_credentials_the_way_to_them_is_told(aws, tmp_path):
    """Somebody new to AWS is told what to run."""
    bare = {name: value for name, value in aws.items() if not name.startswith("AWS_")}
    bare |= {"AWS_REGION": "us-east-1", "HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true"}
    done = publish(bare, "--bucket", BUCKET)
    assert done.returncode == 2
    assert "aws configure" in done.stderr


@pytest.mark.check
def test_the_card_says_what_the_function_scores(capsys):
    """The scores in the model's card are those of ``make score``."""
    card = (MODEL / "README.md").read_text()
    bleu, chrf, pairs = re.search(r"BLEU ([\d.]+), chrF2 ([\d.]+) on the (\d+) pairs", card).groups()
    assert main(["model", "score", str(MODEL)]) == 0
    printed = [line.split()[:2] for line in capsys.readouterr().out.splitlines()]
    assert printed == [["pairs", f"{pairs},"], ["BLEU", bleu], ["chrF2", chrf]]


@pytest.mark.check
def test_s3_serves_what_env_json_names(request):
    """The server that ``make s3`` starts has the model, and takes the credentials that sam local gets."""
    [port] = free_ports(1)
    serving = subprocess.Popen(
        [sys.executable, "-m", "lambda_setup", "s3", "--port", str(port)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        # A shell's jobs in the background ignore it, and so would what they start.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )  # fmt: skip
    request.addfinalizer(serving.terminate)
    for line in serving.stderr:
        if "serving" in line:
            break
    names = json.loads((ROOT / "events" / "env.json").read_text())["TranslationFunction"]
    client = boto3.client(
        "s3", endpoint_url=f"http://127.0.0.1:{port}", region_name="us-east-1",
        aws_access_key_id=names["AWS_ACCESS_KEY_ID"], aws_secret_access_key=names["AWS_SECRET_ACCESS_KEY"],
    )  # fmt: skip
    pointer = f"models/{names['MODEL_NAME']}/channels/{names['MODEL_CHANNEL']}.json"
    assert client.get_object(Bucket=names["MODEL_BUCKET"], Key=pointer)
    assert client.head_bucket(Bucket=names["RESULT_BUCKET"])
    serving.send_signal(signal.SIGINT)
    _, errors = serving.communicate(timeout=60)
    assert serving.returncode == 0, errors
