"""What AWS refuses, as the operator's commands tell it."""

import json
import re

import boto3
import botocore.waiter
import pytest
from boto3.exceptions import S3UploadFailedError
from botocore.exceptions import ClientError, ConnectTimeoutError, SSOTokenLoadError, WaiterError
from botocore.stub import Stubber
from moto import mock_aws
from moto.cloudformation.models import cloudformation_backends
from moto.core import DEFAULT_ACCOUNT_ID as ACCOUNT
from support.project import MODEL

from lambda_setup.__main__ import main
from lambda_setup.batch.run import read_version
from lambda_setup.commands.model import channels
from lambda_setup.deployment import FunctionFacts, aws
from lambda_setup.deployment.aws import (
    AwsDeployment,
    check_bucket,
    check_snapshot,
    explain_failure,
    get_caller,
    get_parameters,
    get_stack_output,
    open_model_bucket,
    open_session,
    publish_again,
    readable_errors,
    session_environment,
)
from lambda_setup.errors import CommandError


def refusal(status: int, code: str, message: str = "as S3 says it") -> ClientError:
    """Return an error as boto3 raises it."""
    facts = {"HTTPStatusCode": status, "RequestId": "4442587FB7D0A2F9"}
    response = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": facts}
    return ClientError(response, "PutObject")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (refusal(301, "PermanentRedirect"), "give that one with --region"),
        (refusal(400, "AuthorizationHeaderMalformed"), "give that one with --region"),
        (refusal(403, "RequestTimeTooSkewed"), "this machine's clock"),
        (refusal(403, "AccessDenied", "x may not perform: kms:Decrypt"), "your identity may not use"),
        (refusal(400, "KMS.DisabledException"), "your identity may not use"),
        (refusal(503, "SlowDown"), "S3 asks for fewer requests"),
        (refusal(400, "ExpiredToken"), "get new ones"),
        (refusal(403, "AccessDenied"), "has the policies"),
        (refusal(403, "InvalidClientTokenId"), "another --profile"),
    ],
    ids=lambda one: one.response["Error"]["Code"] if isinstance(one, ClientError) else "",
)
def test_what_aws_said(error, text):
    """Code, message, status and the request's id are told, and what to do."""
    with pytest.raises(CommandError) as caught, readable_errors("model bucket"):
        raise error
    said = error.response["Error"]
    facts = f"(HTTP {error.response['ResponseMetadata']['HTTPStatusCode']}, request 4442587FB7D0A2F9)"
    start = f"model bucket: {said['Code']}: {said['Message']} {facts}; "
    assert str(caught.value).startswith(start)
    assert text in str(caught.value)


def test_what_never_reached_aws():
    """An error that is not AWS's answer is told with its subject, too."""
    with (
        pytest.raises(CommandError, match=r"^model bucket: Connect timeout on endpoint"),
        readable_errors("model bucket"),
    ):
        raise ConnectTimeoutError(endpoint_url="https://s3")


@pytest.mark.parametrize("status", [301, 400])
def test_the_answer_to_a_head_names_the_region_in_a_header(status):
    """It has no document, so that its code is its status."""
    error = refusal(status, str(status))
    error.response["ResponseMetadata"]["HTTPHeaders"] = {"x-amz-bucket-region": "eu-west-1"}
    with (
        pytest.raises(CommandError, match="; it is in eu-west-1; give that one with --region"),
        readable_errors("model bucket"),
    ):
        raise error


def test_a_refusal_that_names_the_region():
    """S3 names it with every answer; the advice is about the refusal."""
    error = refusal(403, "AccessDenied")
    error.response["ResponseMetadata"]["HTTPHeaders"] = {"x-amz-bucket-region": "eu-west-1"}
    with pytest.raises(CommandError, match="; your identity may not do it"), readable_errors("model bucket"):
        raise error


def test_what_s3_said_to_an_upload():
    """boto3 makes one sentence of it; status and request are told all the same."""

    def upload() -> None:
        try:
            raise refusal(503, "SlowDown")
        except ClientError as error:
            raise S3UploadFailedError(f"Failed to upload it: {error}")  # noqa: B904 - as boto3 does it

    with pytest.raises(CommandError) as caught, readable_errors("model bucket"):
        upload()
    assert str(caught.value) == (
        "model bucket: SlowDown: as S3 says it (HTTP 503, request 4442587FB7D0A2F9); "
        "S3 asks for fewer requests; try again later"
    )


@pytest.mark.parametrize("code", ["PreconditionFailed", "ConditionalRequestConflict", "OperationAborted"])
def test_two_at_once(code):
    """Whoever moves a channel at the same time as somebody else is told so, whatever S3 calls it."""
    with pytest.raises(CommandError, match="somebody else changed it"), readable_errors("it"):
        raise refusal(412, code)


@pytest.fixture
def s3(monkeypatch):
    """Yield a client in one region of an account with a bucket in another."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "any")
    with mock_aws():
        client = boto3.client("s3", region_name="eu-central-1")
        for region in ("eu-central-1", "eu-west-1"):
            boto3.client("s3", region_name=region).create_bucket(
                Bucket=region, CreateBucketConfiguration={"LocationConstraint": region}
            )
        yield client


def test_a_bucket_of_the_functions_region(s3):
    """A bucket that the function can reach is none to speak of."""
    check_bucket(s3, "eu-central-1", {"KmsKeyArn": ""})


def test_a_bucket_of_another_region(s3):
    """A bucket elsewhere is refused: boto3 follows S3 there, and the function does not."""
    with pytest.raises(CommandError, match="eu-west-1 and the function in eu-central-1"):
        check_bucket(s3, "eu-west-1", {})


def test_no_bucket(s3):
    """A bucket that is not there is refused by its name."""
    with pytest.raises(CommandError, match="bucket nowhere does not exist"):
        check_bucket(s3, "nowhere", {})


KEY = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"


@pytest.mark.parametrize(
    ("key", "given", "fits"),
    [
        (KEY, "", False),
        (KEY, KEY[:-1] + "c", False),
        (KEY, KEY, True),
        (KEY.rpartition("/")[2], KEY, True),
        ("alias/mine", "", False),
        ("alias/mine", KEY, True),
        ("alias/aws/s3", "", True),
    ],
)
def test_a_bucket_with_a_key(s3, key, given, fits):
    """A bucket with a customer's key is refused unless the function may use it: it would answer 503 alone."""
    default = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}
    s3.put_bucket_encryption(
        Bucket="eu-central-1",
        ServerSideEncryptionConfiguration={"Rules": [{"ApplyServerSideEncryptionByDefault": default}]},
    )
    if fits:
        check_bucket(s3, "eu-central-1", {"KmsKeyArn": given})
    else:
        named = re.escape(
            f"key {key}, and the function may use {given or 'none'}; deploy it with the key's ARN"
        )
        with pytest.raises(CommandError, match=named):
            check_bucket(s3, "eu-central-1", {"KmsKeyArn": given})


def test_a_wrong_profile(monkeypatch):
    """A profile that is not configured is an error that says where the others stand."""
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    with pytest.raises(CommandError, match=r"profile \(of-others\).*list-profiles. with --profile"):
        open_session(profile="of-others")


def test_a_login_that_has_ended():
    """Credentials of SSO are renewed by a login."""
    with pytest.raises(CommandError, match="log in: `aws sso login`"), readable_errors("AWS"):
        raise SSOTokenLoadError(error_msg="Token for mine does not exist")


@pytest.mark.parametrize(
    ("status", "text"),
    [
        ("REVIEW_IN_PROGRESS", "it is REVIEW_IN_PROGRESS: wait until it is deployed, or deploy it again"),
        ("ROLLBACK_COMPLETE", "it is ROLLBACK_COMPLETE: wait"),
        ("UPDATE_COMPLETE", "is it a stack of this template"),
    ],
)
def test_a_stack_that_is_not_deployed(stack, monkeypatch, status, text):
    """After a change set that somebody declined, or a deployment that failed, the stack's state is told."""
    session, _ = stack
    for one in cloudformation_backends[ACCOUNT]["eu-central-1"].stacks.values():
        monkeypatch.setattr(one, "status", status)
    with pytest.raises(CommandError, match=text):
        get_stack_output(session, "mine", "ModelBucketName")


@pytest.mark.usefixtures("s3")
@pytest.mark.parametrize(
    "arguments",
    [
        ["model", "list"],
        ["batch", "run", "pyproject.toml", "--name", "x"],
        ["invoke"],
        ["results", "show", "x"],
        ["cost"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_stack_of_another_region_or_account(arguments, capsys):
    """Every command says where it has looked for a stack that is not there, and where else it might be."""
    assert main([*arguments, "--stack", "mine", "--region", "eu-west-3"]) == 2
    error = capsys.readouterr().err
    assert "there is no stack mine in eu-west-3 of this account" in error
    assert "another --region or --profile" in error


@pytest.mark.parametrize(
    ("environment", "region"),
    [
        ({"AWS_REGION": "eu-west-1"}, "eu-west-1"),
        ({"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-2"}, "eu-west-2"),
        ({}, None),
    ],
)
def test_region(monkeypatch, environment, region):
    """The region is that of AWS_DEFAULT_REGION, else of AWS_REGION, which boto3 does not read."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    assert open_session().region_name == region


@pytest.fixture
def stack(s3):  # noqa: ARG001 - moto's account
    """Return a session of an account with a stack, and a way to read the stack's parameters."""
    template = {
        "Parameters": {
            name: {"Type": "String", "Default": ""}
            for name in ("Release", "ModelName", "Channel", "SnapStart")
        },
        "Resources": {"Topic": {"Type": "AWS::SNS::Topic"}},
    }
    session = boto3.Session(region_name="eu-central-1")
    client = session.client("cloudformation")
    client.create_stack(
        StackName="mine",
        TemplateBody=json.dumps(template),
        Parameters=[
            {"ParameterKey": name, "ParameterValue": value}  # moto has no defaults to keep
            for name, value in (("ModelName", "en-es"), ("Channel", "prod"), ("SnapStart", "on"))
        ],
    )

    def read() -> dict[str, str]:
        (found,) = client.describe_stacks(StackName="mine")["Stacks"]
        return {one["ParameterKey"]: one["ParameterValue"] for one in found["Parameters"]}

    return session, read


def test_a_function_is_published_again(stack):
    """Release alone changes, once; all other parameters keep their values."""
    session, read = stack
    assert publish_again(session, "mine", "3f2a1b")
    assert read() == {"Release": "3f2a1b", "ModelName": "en-es", "Channel": "prod", "SnapStart": "on"}
    assert not publish_again(session, "mine", "3f2a1b")


def test_a_stack_of_an_earlier_template(stack):
    """A stack without the parameter is refused by what to do."""
    session, _ = stack
    session.client("cloudformation").create_stack(
        StackName="old", TemplateBody='{"Resources": {"T": {"Type": "AWS::SNS::Topic"}}}'
    )
    with pytest.raises(CommandError, match="has no parameter Release; deploy the present template"):
        check_snapshot(session, "old", "en-es")


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"Channel": "prod", "SnapStart": "on", "ModelName": "en-es"}, None),
        (
            {"Channel": "prod", "SnapStart": "off", "ModelName": "en-es"},
            "takes no snapshots; leave --snapshot",
        ),
        ({"Channel": "dev", "SnapStart": "on", "ModelName": "en-es"}, "follows dev of en-es, and not prod"),
        ({"Channel": "prod", "SnapStart": "on", "ModelName": "en-de"}, "follows prod of en-de, and not prod"),
    ],
)
def test_a_snapshot_that_would_be_none(stack, capsys, parameters, text):
    """A function that takes none, or follows another model or channel, is refused before prod moves."""
    session, _ = stack
    given = [{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()]
    session.client("cloudformation").update_stack(
        StackName="mine", UsePreviousTemplate=True, Parameters=given
    )
    options = ["--stack", "mine", "--region", "eu-central-1"]
    assert main(["model", "promote", "en-es", "--snapshot", *options]) == 2
    # Where nothing is against a snapshot, the command goes on to the bucket, which this stack has not.
    assert (text or "no output ModelBucketName") in capsys.readouterr().err


def test_a_snapshot_that_fails_after_prod_has_moved(stack, monkeypatch, capsys):
    """The move is told, then why the stack was not published again, and how to go on."""
    session, _ = stack
    move = {"name": "en-es", "channel": "prod", "from": None, "to": "a" * 64, "moved": True, "faults": []}
    monkeypatch.setattr(channels, "open_bucket", lambda _: None)
    monkeypatch.setattr(channels.moves, "promote", lambda *_, **__: move)
    monkeypatch.setattr(aws, "explain_failure", lambda *_: "Version: no room for another one")
    monkeypatch.setattr(botocore.waiter.Waiter, "wait", fail)
    options = ["--stack", "mine", "--region", session.region_name]
    assert main(["model", "promote", "en-es", "--snapshot", *options]) == 2
    said = capsys.readouterr()
    assert said.out == f"moved prod of en-es from nothing to {'a' * 12}\n"
    assert (
        "stack mine was not published again, and serves as before. Version: no room for another one. "
        "The same command tries it again"
    ) in said.err


def fail(*_: object, **__: object) -> None:
    """End a waiter as a rollback does."""
    raise WaiterError(name="StackUpdateComplete", reason="terminal failure", last_response={})


class Events:
    """What CloudFormation says of a stack, the latest first."""

    def __init__(self, *events):
        self.events = [
            {
                "StackId": "mine", "PhysicalResourceId": place, "LogicalResourceId": place,
                "ResourceStatus": status, "ResourceStatusReason": reason,
            }
            for place, status, reason in events
        ]  # fmt: skip

    region_name, profile_name = "eu-central-1", "mine"

    def client(self, _):
        return self

    def describe_stack_events(self, **_):
        return {"StackEvents": self.events}


def test_why_a_stack_failed():
    """The first failure of the last operation is the cause; those of former operations are none."""
    former = [("Role", "CREATE_FAILED", "long ago"), ("mine", "CREATE_IN_PROGRESS", "")]
    session = Events(
        ("mine", "UPDATE_ROLLBACK_COMPLETE", ""),
        ("Alias", "UPDATE_FAILED", "Resource update cancelled"),
        ("Version", "CREATE_FAILED", "Timed out waiting for the snapshot"),
        ("Topic", "CREATE_FAILED", ""),
        ("Function", "UPDATE_IN_PROGRESS", "Requested update"),
        ("mine", "UPDATE_IN_PROGRESS", ""),
        *former,
    )
    assert explain_failure(session, "mine") == "Version: Timed out waiting for the snapshot"
    assert explain_failure(Events(("mine", "DELETE_IN_PROGRESS", ""), *former), "mine") == (
        "see: sam list resources --stack-name mine --region eu-central-1 --profile mine"
    )


@pytest.mark.usefixtures("s3")
def test_what_is_read_of_a_deployed_function():
    """Its facts and variables come from Lambda, by the name that the stack gives, as the bucket is."""
    session = boto3.Session(region_name="eu-central-1")
    outputs = {"FunctionAliasArn": "mine:live", "ResultBucketName": "results"}
    template = {
        "Resources": {"Topic": {"Type": "AWS::SNS::Topic"}},
        "Outputs": {name: {"Value": value} for name, value in outputs.items()},
    }
    session.client("cloudformation").create_stack(StackName="mine", TemplateBody=json.dumps(template))
    deployment = AwsDeployment(session, "mine")
    answer = {
        "Timeout": 900,
        "MemorySize": 3008,
        "Architectures": ["arm64"],
        "Environment": {"Variables": {"A": "b"}},
    }
    with Stubber(deployment._lambda) as stub:
        stub.add_response("get_function_configuration", answer, {"FunctionName": "mine:live"})
        assert deployment.facts == FunctionFacts(
            timeout=900, memory=3008, architecture="arm64", region="eu-central-1"
        )
        assert deployment.environment() == {"A": "b"}
    assert deployment.result_bucket == "results"
    assert deployment.parameters == {}
    assert deployment.where == "stack mine"
    assert AwsDeployment(session, function="mine").function == "mine"
    assert AwsDeployment(session, function="mine").where == "function mine"
    with pytest.raises(
        CommandError, match="no output BatchStateMachineArn; deploy it with the parameter Batch=on"
    ):
        _ = deployment.state_machine


def test_what_aws_says_of_neither_stack_nor_caller(monkeypatch):
    """A refusal is told as it is; a caller whom nobody names is unknown, and a failure has no reason."""
    session = boto3.Session("A", "B", region_name="eu-central-1")
    clients = {name: session.client(name) for name in ("cloudformation", "sts")}
    monkeypatch.setattr(session, "client", lambda name, **_: clients[name])
    with Stubber(clients["cloudformation"]) as stacks, Stubber(clients["sts"]) as callers:
        stacks.add_client_error("describe_stacks", "AccessDenied", "no such permission", 403)
        with pytest.raises(CommandError, match=r"^stack mine: AccessDenied: no such permission"):
            get_parameters(session, "mine")
        stacks.add_client_error("describe_stack_events", "ValidationError")
        assert explain_failure(session, "mine").startswith("see: sam list resources --stack-name mine")
        callers.add_response("get_caller_identity", {"Arn": "arn:aws:iam::123456789012:user/ada"})
        assert get_caller(session) == "arn:aws:iam::123456789012:user/ada"
        callers.add_client_error("get_caller_identity", "ExpiredToken")
        assert get_caller(session) == "unknown"


def test_the_state_machine_of_a_stack(stack, monkeypatch):
    """It is the one that the stack names, in the stack's region."""
    session, _ = stack
    monkeypatch.setattr(aws, "get_stack_output", lambda _, stack, name, **__: f"{stack}:{name}")
    machine = AwsDeployment(session, "mine").state_machine
    assert (machine.arn, machine.client.meta.region_name) == ("mine:BatchStateMachineArn", "eu-central-1")


def test_a_function_on_this_machine_has_the_sessions_permissions(monkeypatch):
    """By the variables that AWS's clients read; without credentials by none."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    session = boto3.Session("A", "B", "T", region_name="eu-central-1")
    place = {"AWS_REGION": "eu-central-1", "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9"}
    assert session_environment(session) == place | {
        "AWS_ACCESS_KEY_ID": "A", "AWS_SECRET_ACCESS_KEY": "B", "AWS_SESSION_TOKEN": "T",
    }  # fmt: skip
    monkeypatch.setattr(session, "get_credentials", lambda: None)
    assert session_environment(session) == place


def test_a_command_that_is_printed_names_bucket_and_region(monkeypatch):
    """What is missing in a bucket is put there by a command that finds the same bucket again."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "any")
    with mock_aws():
        session = boto3.Session(region_name="eu-central-1")
        location = {"LocationConstraint": "eu-central-1"}
        session.client("s3").create_bucket(Bucket="mine", CreateBucketConfiguration=location)
        bucket = open_model_bucket(session, bucket="mine")
        with pytest.raises(CommandError, match=r"model promote en-es --bucket mine --region eu-central-1$"):
            bucket.channel_version("en-es", "prod")
        with pytest.raises(CommandError, match=r"model show en-es --bucket mine --region eu-central-1$"):
            bucket.version("en-es", "1")
        deployment = AwsDeployment(session, "mine")
        variables = {"MODEL_BUCKET": "mine", "MODEL_NAME": "en-es", "MODEL_CHANNEL": "dev"}
        deployment.environment = lambda: variables  # type: ignore[method-assign]
        with pytest.raises(CommandError, match=r"publish DIR --stack mine --region eu-central-1$"):
            read_version(deployment)


@pytest.mark.parametrize(
    ("follows", "text", "code"),
    [
        ({}, None, 0),
        ({"ModelName": "en-de"}, "build and deploy with ModelName=en-es", 0),
        (
            {"ModelName": "en-de", "Engine": "other"},
            "build and deploy with Engine=opennmt ModelName=en-es",
            0,
        ),
        ({"Channel": "prod"}, "model promote en-es --stack mine --region eu-central-1", 0),
        ({"Engine": "ctranslate2"}, "would refuse the version, and start no more", 2),
    ],
)
@pytest.mark.usefixtures("s3")
def test_a_version_that_the_stack_does_not_serve(monkeypatch, capsys, follows, text, code):
    """Publishing says what is left to do; a version that the function could not load is not published."""
    parameters = {"Engine": "opennmt", "ModelName": "en-es", "Channel": "dev"} | follows
    template = {
        "Parameters": {name: {"Type": "String"} for name in parameters},
        "Resources": {"Topic": {"Type": "AWS::SNS::Topic"}},
        "Outputs": {"ModelBucketName": {"Value": "eu-central-1"}},
    }
    given = [{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()]
    boto3.client("cloudformation", region_name="eu-central-1").create_stack(
        StackName="mine", TemplateBody=json.dumps(template), Parameters=given
    )
    monkeypatch.setattr("lambda_setup.commands.model.publish.loading.check", lambda *_: None)
    target = ["--stack", "mine", "--region", "eu-central-1", "--dry-run"]
    assert main(["model", "publish", str(MODEL), *target]) == code
    said = capsys.readouterr()
    assert ("next" in said.out) == (text is not None and code == 0)
    assert (text or "") in said.out + said.err
