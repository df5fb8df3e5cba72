"""``teardown``: nothing of a stack is left, and nothing of anybody else's is touched."""

import io
import json
from types import SimpleNamespace
from unittest.mock import Mock

import boto3
import botocore.waiter
import pytest
from moto import mock_aws
from moto.cloudformation.models import CloudFormationBackend
from moto.core import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends

from lambda_setup.__main__ import main
from lambda_setup.deployment import teardown
from lambda_setup.errors import CommandError

REGION = "eu-central-1"
TEMPLATE = json.dumps(
    {
        "Parameters": {
            name: {"Type": "String", "Default": ""}
            for name in ("Engine", "ModelName", "Channel", "ModelBucketName", "ResultBucketName")
        },
        "Resources": {"Topic": {"Type": "AWS::SNS::Topic"}},
    }
)


@pytest.fixture
def aws(monkeypatch):
    """Yield clients of an account with a stack and its two buckets, and two buckets of others."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "any")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    with mock_aws():
        s3 = boto3.client("s3")
        for bucket, stack, logical_id in (
            ("models", "mine", "ModelBucket"),
            ("results", "mine-Application-1ABC", "ResultBucket"),
            ("others", "mine-other", "ModelBucket"),
            ("given", "", ""),
        ):
            s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
            s3.put_object(Bucket=bucket, Key="one", Body=b"12")
            if stack:
                tags = {"aws:cloudformation:stack-name": stack, "aws:cloudformation:logical-id": logical_id}
                s3_backends[DEFAULT_ACCOUNT_ID]["aws"].put_bucket_tagging(bucket, tags)
        s3.put_bucket_versioning(Bucket="models", VersioningConfiguration={"Status": "Enabled"})
        s3.put_object(Bucket="models", Key="one", Body=b"123")
        s3.delete_object(Bucket="models", Key="one")
        boto3.client("cloudformation").create_stack(StackName="mine", TemplateBody=TEMPLATE)
        yield s3


def buckets(s3):
    """Return the names of all buckets."""
    return {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}


def stacks():
    """Return the names of all stacks."""
    return {stack["StackName"] for stack in boto3.client("cloudformation").describe_stacks()["Stacks"]}


def test_dry_run(aws, capsys):
    """It shows what would go, with versions and delete markers, and how to keep the buckets."""
    assert main(["teardown", "--stack", "mine", "--dry-run"]) == 0

    assert capsys.readouterr().out.splitlines() == [
        "delete stack mine",
        "empty s3://models: 3 objects, versions and delete markers, 5 bytes",
        "delete bucket models",
        "empty s3://results: 1 objects, versions and delete markers, 2 bytes",
        "delete bucket results",
        (
            "to keep the buckets: sam delete, and deploy again with "
            "ModelBucketName=models ResultBucketName=results"
        ),
    ]
    assert buckets(aws) == {"models", "results", "others", "given"}
    assert stacks() == {"mine"}


def test_several_buckets_of_a_kind(aws, capsys):
    """Where parameters have changed there are former buckets, and each may be taken over."""
    aws.create_bucket(Bucket="models-before", CreateBucketConfiguration={"LocationConstraint": REGION})
    tags = {"aws:cloudformation:stack-name": "mine", "aws:cloudformation:logical-id": "ModelBucket"}
    s3_backends[DEFAULT_ACCOUNT_ID]["aws"].put_bucket_tagging("models-before", tags)

    assert main(["teardown", "--stack", "mine", "--dry-run"]) == 0
    assert "with ModelBucketName=models or models-before ResultBucketName=results" in capsys.readouterr().out


def test_everything_goes(aws, capsys):
    """The stack goes and its buckets with all that was ever in them, those of an example too; others stay."""
    upload = aws.create_multipart_upload(Bucket="models", Key="half")
    aws.upload_part(Bucket="models", Key="half", UploadId=upload["UploadId"], PartNumber=1, Body=b"1")

    assert main(["teardown", "--stack", "mine", "--yes"]) == 0

    said = capsys.readouterr().err.splitlines()
    steps = ["emptying s3://{}", "deleted bucket {}"]
    expected = [step.format(name) for name in ("models", "results") for step in steps]
    assert [line.removeprefix("· ") for line in said] == ["deleting stack mine", *expected]
    assert buckets(aws) == {"others", "given"}
    assert stacks() == set()
    assert aws.get_object(Bucket="others", Key="one")["Body"].read() == b"12"


def test_a_stack_that_is_gone(aws, capsys):
    """Buckets that `sam delete` left are found by the name of the stack that made them."""
    boto3.client("cloudformation").delete_stack(StackName="mine")

    assert main(["teardown", "--stack", "mine", "--yes"]) == 0
    assert "delete stack" not in capsys.readouterr().out
    assert buckets(aws) == {"others", "given"}


@pytest.mark.parametrize(("answer", "left"), [("mine\n", 2), ("yes\n", 4), ("", 4)])
def test_it_asks(aws, monkeypatch, capsys, answer, left):
    """Only the stack's name confirms it."""
    monkeypatch.setattr("sys.stdin", io.StringIO(answer))

    assert main(["teardown", "--stack", "mine"]) == (0 if left == 2 else 2)
    assert len(buckets(aws)) == left
    assert ("nothing was deleted" in capsys.readouterr().err) == (left == 4)


def test_a_bucket_that_another_stack_reads(aws, capsys):
    """A stack whose models another one reads is not torn down."""
    boto3.client("cloudformation").create_stack(
        StackName="production",
        TemplateBody=TEMPLATE,
        Parameters=[{"ParameterKey": "ModelBucketName", "ParameterValue": "models"}],
    )

    assert main(["teardown", "--stack", "mine", "--yes"]) == 2
    assert "stack production uses models" in capsys.readouterr().err
    assert buckets(aws) == {"models", "results", "others", "given"}


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [("ModelStackName", "mine", 2), ("ModelStackName", "x", 0), ("Note", "mine", 0)],
)
def test_a_stack_that_names_another(aws, name, value, code):  # noqa: ARG001 - moto's account
    """One that takes its models from a stack keeps it; one that has its name elsewhere does not."""
    template = {"Parameters": {name: {"Type": "String"}}, "Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}}
    boto3.client("cloudformation").create_stack(
        StackName="production",
        TemplateBody=json.dumps(template),
        Parameters=[{"ParameterKey": name, "ParameterValue": value}],
    )
    assert main(["teardown", "--stack", "mine", "--yes"]) == code


def test_buckets_that_the_stack_was_given(aws, capsys):
    """They stay, each named; one that another stack made, with the command that removes it."""
    values = {"ModelBucketName": "others", "ResultBucketName": "given"}
    boto3.client("cloudformation").create_stack(
        StackName="renamed",
        TemplateBody=TEMPLATE,
        Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in values.items()],
    )

    assert main(["teardown", "--stack", "renamed", "--yes", "--region", REGION]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "delete stack renamed",
        "stays: s3://given, which the stack was given",
        (
            "stays: s3://others, which the stack was given and stack mine-other made: "
            f"python -m lambda_setup teardown --stack mine-other --region {REGION}"
        ),
    ]
    assert "renamed" not in stacks()
    assert buckets(aws) == {"models", "results", "others", "given"}
    assert main(["teardown", "--stack", "mine-other", "--yes"]) == 0
    assert buckets(aws) == {"models", "results", "given"}


def test_a_stack_of_another_template(aws, capsys):
    """Somebody else's stack is left alone, also with --yes."""
    boto3.client("cloudformation").create_stack(
        StackName="database",
        TemplateBody=json.dumps(
            {
                "Parameters": {"Engine": {"Type": "String", "Default": "postgres"}},
                "Resources": {"Topic": {"Type": "AWS::SNS::Topic"}},
            }
        ),
    )

    assert main(["teardown", "--stack", "database", "--yes"]) == 2
    assert "stack database is of another template" in capsys.readouterr().err
    assert stacks() == {"mine", "database"}
    assert len(buckets(aws)) == 4


@pytest.mark.usefixtures("aws")
def test_twice(capsys):
    """The second time says that nothing is left, or that it was looked for in the wrong place."""
    assert main(["teardown", "--stack", "mine", "--yes"]) == 0
    assert main(["teardown", "--stack", "mine", "--yes"]) == 2
    assert "all of it is gone; else give another --region or --profile" in capsys.readouterr().err


def test_a_stack_that_cannot_be_deleted(aws, monkeypatch, capsys):
    """The buckets stay as they were, and CloudFormation's reason is told."""
    monkeypatch.setattr(CloudFormationBackend, "delete_stack", lambda *_: None)
    monkeypatch.setattr(teardown, "explain_failure", lambda *_: "FunctionRole: is in use")
    original = botocore.waiter.Waiter.wait
    quick = {"Delay": 0, "MaxAttempts": 2}
    monkeypatch.setattr(
        botocore.waiter.Waiter, "wait", lambda self, **names: original(self, WaiterConfig=quick, **names)
    )

    assert main(["teardown", "--stack", "mine", "--yes"]) == 2
    error = capsys.readouterr().err
    assert (
        "stack mine could not be deleted, and its buckets are as they were. FunctionRole: is in use" in error
    )
    assert "give the same command again" in error
    assert len(buckets(aws)) == 4


def test_an_object_that_cannot_be_deleted():
    """S3 answers 200, and says in the answer which one stays and why; nothing is taken for empty then."""
    page = {"Versions": [{"Key": "a b", "VersionId": "1"}]}
    refused = {"Errors": [{"Key": "a b", "Code": "AccessDenied", "Message": "it is locked"}]}
    client = SimpleNamespace(
        get_paginator=lambda _: SimpleNamespace(paginate=lambda **_: [page]),
        delete_objects=lambda **_: refused,
    )
    with pytest.raises(CommandError, match=r"^s3://models/a b: AccessDenied: it is locked$"):
        teardown._empty(client, "models")


def test_uploads_that_were_not_finished():
    """Each is given up, because S3 keeps a bucket that has one."""
    uploads = [{"Key": name, "UploadId": f"id of {name}"} for name in "ab"]
    pages = {"list_object_versions": [{}], "list_multipart_uploads": [{"Uploads": uploads}, {}]}
    client = Mock()
    client.get_paginator.side_effect = lambda name: SimpleNamespace(paginate=lambda **_: pages[name])
    teardown._empty(client, "models")
    aborted = [call.kwargs for call in client.abort_multipart_upload.call_args_list]
    assert aborted == [{"Bucket": "models", **one} for one in uploads]
    client.delete_objects.assert_not_called()


def test_nothing_to_tear_down(aws, capsys):
    """A name that nobody used, or another region, is an error that names the region."""
    assert main(["teardown", "--stack", "none", "--yes"]) == 2
    assert f"no stack none and no bucket of one was found in {REGION}" in capsys.readouterr().err
    assert len(buckets(aws)) == 4
