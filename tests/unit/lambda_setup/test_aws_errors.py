"""What AWS refuses, as the operator's commands tell it."""

import json

import boto3
import pytest
from boto3.exceptions import S3UploadFailedError
from botocore.exceptions import ClientError
from moto import mock_aws

from lambda_setup.deployment.aws import check_bucket, open_session, publish_again, readable_errors
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
    check_bucket(s3, "eu-central-1")


def test_a_bucket_of_another_region(s3):
    """A bucket elsewhere is refused: boto3 follows S3 there, and the function does not."""
    with pytest.raises(CommandError, match="eu-west-1 and the function in eu-central-1"):
        check_bucket(s3, "eu-west-1")


def test_no_bucket(s3):
    """A bucket that is not there is refused by its name."""
    with pytest.raises(CommandError, match="bucket nowhere does not exist"):
        check_bucket(s3, "nowhere")


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
        "Parameters": {name: {"Type": "String", "Default": ""} for name in ("Release", "ModelName")},
        "Resources": {"Topic": {"Type": "AWS::SNS::Topic"}},
    }
    session = boto3.Session(region_name="eu-central-1")
    client = session.client("cloudformation")
    client.create_stack(
        StackName="mine",
        TemplateBody=json.dumps(template),
        Parameters=[{"ParameterKey": "ModelName", "ParameterValue": "en-es"}],
    )

    def read() -> dict[str, str]:
        (found,) = client.describe_stacks(StackName="mine")["Stacks"]
        return {one["ParameterKey"]: one["ParameterValue"] for one in found["Parameters"]}

    return session, read


def test_a_function_is_published_again(stack):
    """Release alone changes, once; all other parameters keep their values."""
    session, read = stack
    assert publish_again(session, "mine", "3f2a1b")
    assert read() == {"Release": "3f2a1b", "ModelName": "en-es"}
    assert not publish_again(session, "mine", "3f2a1b")


def test_a_stack_of_an_earlier_template(stack):
    """A stack without the parameter is refused by what to do."""
    session, _ = stack
    session.client("cloudformation").create_stack(
        StackName="old", TemplateBody='{"Resources": {"T": {"Type": "AWS::SNS::Topic"}}}'
    )
    with pytest.raises(CommandError, match="has no parameter Release; deploy the present template"):
        publish_again(session, "old", "1")
