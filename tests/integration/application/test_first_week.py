"""The commands of docs/how-to/first_week.md, one after the other, with the real programs and function.

moto keeps what it is told. Lambda's part is the function under AWS's Runtime Interface Emulator, with the
environment that the stack gives it and moto's S3; Step Functions' is the interpreter of local runs, with the
definition that SAM uploaded.
"""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import boto3
import pytest
from moto.awslambda.models import LambdaBackend
from support import cloud
from support.cloud import REGION
from support.iam import allows, load
from support.project import ROOT, SCRIPTS

from lambda_setup import functions
from lambda_setup.deployment.local import Emulator
from lambda_setup.deployment.local.layers import build_layers
from lambda_setup.deployment.local.stepfunctions import StepFunctions

pytestmark = [
    pytest.mark.check,
    pytest.mark.filterwarnings("ignore:Tried to parse AWS.*:UserWarning"),
]
PAGE = (ROOT / "docs" / "how-to" / "first_week.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
LAYER = f"arn:aws:lambda:{REGION}:{cloud.ACCOUNT}:layer:opennmt-arm64:1"
"""A published layer: what `sam build` and `sam deploy` do with a built one has tests of its own."""
CONFIG = "[profile translation]\naws_access_key_id = operator\naws_secret_access_key = any\n"


class Lambda:
    """Functions of an account, each started at its first call, and what Lambda writes into their logs."""

    def __init__(self, account, folder, stack):
        self.account, self.folder, self.stack = account, folder, stack
        self.running = {}
        self.lock = threading.Lock()
        # An emulator ends with the thread that has started it, and moto has one for each request.
        self.starter = stack.enter_context(ThreadPoolExecutor(1))

    def invoke(self, name, body):
        """Answer a call by a function's name or its alias's ARN, one after the other."""
        with self.lock:
            return self.answer(name, body)

    def answer(self, name, body):
        """Answer a call, and write the function's log."""
        name = re.sub(r".*:function:|:live$", "", name)
        found = self.account.client("lambda").get_function_configuration(FunctionName=name)
        variables = found["Environment"]["Variables"]
        first = name not in self.running
        if first:
            log = (self.folder / name).open("w+b")
            environment = variables | {
                "AWS_ENDPOINT_URL_S3": self.account.endpoint, "AWS_REGION": REGION,
                "AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any",
            }  # fmt: skip
            code = functions.for_engine(variables["ENGINE"]).code
            emulator = Emulator(code, layers=build_layers(variables["ENGINE"]), env=environment, log=log)
            self.starter.submit(self.stack.enter_context, emulator).result()
            self.running[name] = (emulator, log.name, 0)
        emulator, path, read = self.running[name]
        start = time.monotonic()
        answer = emulator.send(body)
        milliseconds = 1000 * (time.monotonic() - start)
        with open(path, "rb") as file:  # noqa: PTH123 - the file's name is a text
            file.seek(read)
            lines = file.read()
        self.running[name] = (emulator, path, read + len(lines))
        metrics = {"durationMs": milliseconds, "billedDurationMs": milliseconds, "memorySizeMB": 1769,
                   "maxMemoryUsedMB": 500} | ({"initDurationMs": 1000.0} if first else {})  # fmt: skip
        report = {"type": "platform.report", "record": {"metrics": metrics}}
        # moto keeps no LoggingConfig: to `cost` the log is that of a function without one.
        for group in (variables["STACK_NAME"], name):
            self.log(f"/aws/lambda/{group}", [*lines.decode().splitlines(), json.dumps(report)])
        return answer

    def log(self, group, lines):
        """Add lines to a log group."""
        client, now = self.account.client("logs"), int(time.time() * 1000)
        with contextlib.suppress(client.exceptions.ResourceAlreadyExistsException):
            client.create_log_group(logGroupName=group)
        with contextlib.suppress(client.exceptions.ResourceAlreadyExistsException):
            client.create_log_stream(logGroupName=group, logStreamName="one")
        events = [{"timestamp": now, "message": line} for line in lines if line.strip()]
        client.put_log_events(logGroupName=group, logStreamName="one", logEvents=events)


@pytest.fixture
def project(tmp_path):
    """Return what the commands use of the project, where files may be changed."""
    folder = tmp_path / "project"
    (folder / "models").mkdir(parents=True)
    for name in ("translation_function", "layer", "statemachines"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(ROOT / "template.yaml", folder / "template.yaml")
    settings = (ROOT / "samconfig.toml").read_text()
    given = f"Engine=opennmt LambdaLayerArn={LAYER} "
    (folder / "samconfig.toml").write_text(settings.replace("Engine=opennmt ", given))
    for name in ("events", ".layers", "models/en-es"):
        (folder / name).symlink_to(ROOT / name)
    return folder


@pytest.fixture
def account(tmp_path, monkeypatch):
    """Yield an account in which functions run."""
    with contextlib.ExitStack() as stack:
        account = stack.enter_context(cloud.account())
        service = Lambda(account, tmp_path, stack)
        invoke = lambda _, name, __, body, *___: service.invoke(name, body)  # noqa: E731
        monkeypatch.setattr(LambdaBackend, "invoke", invoke)
        yield account


@pytest.fixture
def states(account):
    """Yield Step Functions, whose tasks reach the account."""
    keys = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any", "AWS_DEFAULT_REGION": REGION}
    endpoints = {f"AWS_ENDPOINT_URL_{service}": account.endpoint for service in ("S3", "LAMBDA")}
    with StepFunctions(env=keys | endpoints) as running:
        yield running.client.meta.endpoint_url


POLICIES = {
    "sam": ("deployer",),
    "invoke": ("caller",),
    "batch": ("caller",),
    "model": ("publisher",),
    "model promote": ("promoter", "caller"),
    "cost": ("deployer", "publisher"),
    "teardown": ("deployer", "remover"),
}
"""Of docs/how-to/iam, for whom they are: the beginning of a command, and the policies that suffice for it."""
PROGRAM = "python -m lambda_setup "


def find_buckets(account):
    """Return the buckets that dev's and prod's functions use, by their word in a policy."""
    found = {}
    for stack in account.resolved:
        variables = account.resolved[stack].get("TranslationFunction", {}).get("Environment", {})
        for word in ("MODEL_BUCKET", "RESULT_BUCKET"):
            found.setdefault(stack, {})[word] = variables.get("Variables", {}).get(word, "")
    return found


def find_refused(command, asked, buckets):
    """Return what a command asked of AWS that the policies for it do not allow."""
    text = command.removeprefix(PROGRAM)
    verb = max((one for one in POLICIES if text.startswith(one)), key=len, default=None)
    if verb is None:
        return asked
    names = re.findall(r"translation-(?:dev|prod)", text) or [
        f"translation-{one}" for one in re.findall(r"--config-env (\w+)", text)
    ]
    statements = [
        statement
        for name in names
        for policy in POLICIES[verb]
        for statement in load(
            policy, {"STACK": name, "ACCOUNT": cloud.ACCOUNT, "REGION": REGION} | buckets[name]
        )
    ]
    asked = {one for one in asked if one[0] != "sts:GetCallerIdentity"}  # everybody may
    return {one for one in asked if not allows(statements, *one)}


def create_machine(account, endpoint, stack):
    """Create the state machine of a stack as CloudFormation does: the definition in S3, filled in."""
    properties = account.resolved[stack]["BatchStateMachine"]
    place = properties["DefinitionS3Location"]
    body = account.client("s3").get_object(Bucket=place["Bucket"], Key=place["Key"])["Body"]
    definition = body.read().decode()
    for name, value in properties["DefinitionSubstitutions"].items():
        definition = definition.replace(f"${{{name}}}", str(value))
    [outputs] = account.client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
    [arn] = [one["OutputValue"] for one in outputs["Outputs"] if one["OutputKey"] == "BatchStateMachineArn"]
    client = boto3.client(
        "stepfunctions", endpoint_url=endpoint, region_name=REGION,
        aws_access_key_id="any", aws_secret_access_key="any",
    )  # fmt: skip
    machine = client.create_state_machine(
        name=arn.rpartition(":")[2], definition=definition, roleArn=f"arn:aws:iam::{cloud.ACCOUNT}:role/any"
    )
    assert machine["stateMachineArn"] == arn


def test_the_week(account, states, project, tmp_path):
    """Every command works, prints what the page says, and in the end nothing is left."""
    (tmp_path / "config").write_text(CONFIG)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment = clean | {
        "AWS_ENDPOINT_URL": account.endpoint,
        "AWS_ENDPOINT_URL_SFN": states,
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "HOME": str(tmp_path),
        "PATH": f"{SCRIPTS}:{os.environ['PATH']}",
        "PYTHON": sys.executable,
        "PYTHONPATH": f"{ROOT}:{ROOT / 'layer' / 'python'}",
        "SAM_CLI_TELEMETRY": "0",
        "SAM_CLI_POLL_DELAY": "0.2",
        "COLUMNS": "200",
    }
    printed, asked = [], {}
    for block in BLOCKS:
        for command in block.splitlines():
            account.calls.clear()
            done = subprocess.run(
                ["/bin/sh", "-euc", command], cwd=project, env=environment, input="y\n",
                capture_output=True, text=True, check=False, timeout=900,
            )  # fmt: skip
            assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
            printed.append((command, done.stdout))
            asked[command] = {(action, place) for who, action, place in account.calls if who == "operator"}
            if command.startswith("sam deploy --config-env dev"):
                create_machine(account, states, "translation-dev")
            if command.startswith("sam deploy"):
                buckets = find_buckets(account)

    refused = {
        command: missing for command in asked if (missing := find_refused(command, asked[command], buckets))
    }
    assert refused == {}
    assert all(asked[command] for command in asked if "--profile" in command)
    said = {name: [out for command, out in printed if name in command] for name in
            ("invoke", "results show", "model show", "cost", "sam logs", "teardown")}  # fmt: skip
    for out in said["invoke"]:
        assert json.loads(out)["statusCode"] == 200
    assert "prod" in said["model show"][0]
    assert [json.loads(line)["source"] for line in (project / "first.jsonl").read_text().splitlines()] == [
        "Open the file", "Close the window", "Select all of the text",
    ]  # fmt: skip
    assert '"answered"' in said["sam logs"][0]
    assert "Measured by translation-dev" in said["cost"][0]
    dry, prod, dev = said["teardown"]
    assert re.search(r"deploy again with ModelBucketName=\S+ ResultBucketName=\S+", dry)
    assert "delete stack" not in dry + prod + dev
    s3 = account.client("s3")
    [uploads] = [one["Name"] for one in s3.list_buckets()["Buckets"] if "aws-sam-cli" in one["Name"]]
    assert s3.list_objects_v2(Bucket=uploads)["KeyCount"] == 0
    buckets = {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}
    assert {name for name in buckets if name.startswith("translation")} == set()
    stacks = account.client("cloudformation").list_stacks()["StackSummaries"]
    assert {one["StackName"] for one in stacks if not one["StackStatus"].startswith("DELETE")} <= {
        "aws-sam-cli-managed-default"
    }
