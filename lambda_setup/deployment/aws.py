"""Deployments in AWS, and the one place where sessions of boto3 are made."""

import functools
import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lambda_setup.deployment import FunctionFacts, StateMachine
from lambda_setup.deployment.responses import parse_response
from lambda_setup.errors import CommandError
from lambda_setup.models.bucket import ModelBucket
from layer.builder.publish import aws

if TYPE_CHECKING:
    from boto3 import Session
    from mypy_boto3_s3 import S3Client

readable_errors = functools.partial(aws.readable_errors, kind=CommandError)
"""Context manager that turns boto3's errors into a CommandError with a subject."""
_DEPLOYED = {"CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE"}
_BEGINNINGS = {"CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS", "DELETE_IN_PROGRESS"}
"""Of a stack: the first event of an operation."""


class AwsDeployment:
    """A stack of the template, or a function of it by its name; ``where`` names it to people."""

    def __init__(self, session: "Session", stack: str = "", *, function: str = "") -> None:
        self._session = session
        self._stack = stack
        self._function = function
        self.where = f"stack {stack}" if stack else f"function {function}"
        self.account = account_arguments(session)
        self.arguments = f"--stack {stack}{self.account}"
        with readable_errors(self.where):
            self.client = session.client("s3")

    @functools.cached_property
    def function(self) -> str:
        """Name or ARN by which callers reach the function."""
        return self._function or self._output("FunctionAliasArn")

    @functools.cached_property
    def result_bucket(self) -> str:
        """Bucket that the function reads corpora from and stores results in."""
        return self._output("ResultBucketName")

    @functools.cached_property
    def parameters(self) -> Mapping[str, str]:
        """Parameters of the stack."""
        return get_parameters(self._session, self._stack)

    @functools.cached_property
    def facts(self) -> FunctionFacts:
        """Configuration of the function."""
        return FunctionFacts(
            timeout=self._configuration["Timeout"],
            memory=self._configuration["MemorySize"],
            architecture=self._configuration["Architectures"][0],
            region=self._lambda.meta.region_name,
        )

    def environment(self) -> dict[str, str]:
        """Return the function's environment variables."""
        return self._configuration["Environment"]["Variables"]  # type: ignore[no-any-return]

    def invoke(self, event: Any) -> Any:
        """Send an event once and return the response, a raised error in the form of a returned one.

        Waits for as long as Lambda may take and never retries: the first call may still be running.
        """
        with readable_errors(self.where):
            response = self._lambda.invoke(FunctionName=self.function, Payload=json.dumps(event).encode())
            return parse_response(response["Payload"].read().decode())

    @property
    def state_machine(self) -> StateMachine:
        """State machine that sends shards to the function; CommandError if the stack has none."""
        arn = self._output("BatchStateMachineArn", hint="deploy it with the parameter Batch=on")
        return StateMachine(client=self._session.client("stepfunctions"), arn=arn)

    @functools.cached_property
    def _lambda(self) -> Any:
        from botocore.config import Config

        patience = 960  # seconds: Lambda's longest timeout, and a minute for a cold start and the way
        config = Config(read_timeout=patience, retries={"total_max_attempts": 1}, tcp_keepalive=True)
        return self._session.client("lambda", config=config)

    @functools.cached_property
    def _configuration(self) -> Any:
        with readable_errors(self.where):
            return self._lambda.get_function_configuration(FunctionName=self.function)

    def _output(self, name: str, **options: str) -> str:
        return get_stack_output(self._session, self._stack, name, **options)


def open_session(region: str | None = None, profile: str | None = None) -> "Session":
    """Return a session of boto3 with a region and profile, by default those that are configured."""
    import boto3

    with readable_errors("AWS"):
        session = boto3.Session(region_name=region, profile_name=profile)
        # boto3 reads AWS_DEFAULT_REGION alone; other SDKs, and SAM, know this one too.
        if session.region_name is None and (region := os.environ.get("AWS_REGION")):
            return boto3.Session(region_name=region, profile_name=profile)
        return session


def account_arguments(session: "Session") -> str:
    """Return ``--region`` and ``--profile`` of a session, to be put behind a command that is printed."""
    profile = session.profile_name
    return f" --region {session.region_name}" + (f" --profile {profile}" if profile != "default" else "")


def check_bucket(client: "S3Client", bucket: str, parameters: Mapping[str, str]) -> None:
    """Refuse a bucket that a stack's function could not reach.

    Args:
        client: of the stack's region.
        bucket: one that the function reads or writes.
        parameters: the stack's.

    Raises:
        CommandError: there is no such bucket, it is in another region, or it has a KMS key that the function
            may not use.

    """
    from botocore.exceptions import ClientError

    facts: Any
    try:
        facts = client.head_bucket(Bucket=bucket)["ResponseMetadata"]
    except ClientError as error:
        facts = error.response["ResponseMetadata"]
        if error.response["Error"]["Code"] == "404":
            raise CommandError(
                f"bucket {bucket} does not exist; name one that does in the stack's parameters"
            ) from None
    # Also the answer to somebody who may not list the bucket says where it is.
    found, expected = facts["HTTPHeaders"].get("x-amz-bucket-region"), client.meta.region_name
    if found and found != expected:
        raise CommandError(
            f"bucket {bucket} is in {found} and the function in {expected}, which cannot read it there; "
            f"deploy with a bucket in {expected}"
        )
    if "KmsKeyArn" in parameters:
        _check_key(client, bucket, parameters["KmsKeyArn"])


def _check_key(client: "S3Client", bucket: str, given: str) -> None:
    """Refuse a bucket with a customer's key that is not the given one, as far as the caller may see it."""
    from botocore.exceptions import ClientError

    try:
        answer = client.get_bucket_encryption(Bucket=bucket)
    except ClientError:
        return
    for rule in answer["ServerSideEncryptionConfiguration"]["Rules"]:
        key = rule.get("ApplyServerSideEncryptionByDefault", {}).get("KMSMasterKeyID", "")
        if not key or key.endswith("alias/aws/s3"):  # S3's own keys need no permission
            continue
        alias = "alias/" in key  # what it stands for only KMS knows
        if not given or not (alias or given.rpartition("/")[2] == key.rpartition("/")[2]):
            raise CommandError(
                f"bucket {bucket} is encrypted with the KMS key {key}, and the function may use "
                f"{given or 'none'}; deploy it with the key's ARN as KmsKeyArn"
            )


def open_model_bucket(session: "Session", *, stack: str = "", bucket: str = "") -> ModelBucket:
    """Return a model bucket by its name, or by the stack that has it."""
    return ModelBucket(
        session.client("s3"),
        bucket or get_stack_output(session, stack, "ModelBucketName"),
        identify=lambda: get_caller(session),
        environment=session_environment(session),
        arguments=(f"--stack {stack}" if stack else f"--bucket {bucket}") + account_arguments(session),
    )


def get_stack_output(
    session: "Session", stack: str, output: str, hint: str = "is it a stack of this template?"
) -> str:
    """Return an output of a deployed stack; CommandError if it is missing or AWS does not answer."""
    description = describe_stack(session, stack)
    for entry in description.get("Outputs", []):
        if entry.get("OutputKey") == output:
            return str(entry.get("OutputValue", ""))
    if not description.get("Outputs") and (status := description["StackStatus"]) not in _DEPLOYED:
        hint = f"it is {status}: wait until it is deployed, or deploy it again"
    raise CommandError(f"stack {stack} has no output {output}; {hint}")


def describe_stack(session: "Session", stack: str) -> Any:
    """Return what CloudFormation says of a stack; CommandError if there is none, or no answer."""
    from botocore.exceptions import ClientError

    with readable_errors(f"stack {stack}"):
        try:
            [description] = session.client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
        except ClientError as error:
            if "does not exist" not in str(error):
                raise
            raise CommandError(
                f"there is no stack {stack} in {session.region_name} of this account; deploy it, or give "
                "another --region or --profile"
            ) from None
    return description


def get_parameters(session: "Session", stack: str) -> dict[str, str]:
    """Return a stack's parameters; CommandError as of ``describe_stack``."""
    return {
        one["ParameterKey"]: one.get("ParameterValue", "")
        for one in describe_stack(session, stack).get("Parameters", [])
    }


def explain_failure(session: "Session", stack: str) -> str:
    """Return why CloudFormation's last operation on a stack failed, as far as its events say."""
    from botocore.exceptions import BotoCoreError, ClientError

    client: Any = session.client("cloudformation")
    try:
        events = client.describe_stack_events(StackName=stack)["StackEvents"]  # the latest first
    except (BotoCoreError, ClientError):
        events = []
    reasons: list[str] = []
    for event in events:
        status = event["ResourceStatus"]
        if event["PhysicalResourceId"] == event["StackId"] and status in _BEGINNINGS:
            break
        if status.endswith("_FAILED") and event.get("ResourceStatusReason"):
            reasons.append(f"{event['LogicalResourceId']}: {event['ResourceStatusReason']}")
    if reasons:
        return reasons[-1]
    return f"see: sam list resources --stack-name {stack}{account_arguments(session)}"


def check_snapshot(session: "Session", stack: str, model: str) -> None:
    """Refuse a stack whose function would not start from a snapshot of a model that prod points to.

    Raises:
        CommandError: it takes no snapshots, follows another model or channel, or cannot be published again.

    """
    found = get_parameters(session, stack)
    if "Release" not in found:
        raise CommandError(f"stack {stack} has no parameter Release; deploy the present template first")
    follows = f"{found.get('Channel')} of {found.get('ModelName')}"
    if follows != f"prod of {model}":
        raise CommandError(
            f"the function of stack {stack} follows {follows}, and not prod of {model}; give the stack that "
            "does with --stack"
        )
    if found.get("SnapStart") != "on":
        raise CommandError(
            f"the function of stack {stack} takes no snapshots; leave --snapshot out, or deploy it with "
            "SnapStart=on"
        )


def publish_again(session: "Session", stack: str, release: str) -> bool:
    """Publish a stack's function anew, as it is, and return whether there was anything to do.

    A published version gets a new snapshot, if the function takes any, with the model of today.

    Args:
        session: of the stack's account and region.
        stack: a deployed stack with the parameter Release.
        release: at most 6 letters and digits; the same as before does nothing.

    Raises:
        CommandError: AWS refused, or the update failed; the message has CloudFormation's reason.

    """
    from botocore.exceptions import WaiterError

    former = get_parameters(session, stack)
    if former["Release"] == release:
        return False
    with readable_errors(f"stack {stack}"):
        client = session.client("cloudformation")
        client.update_stack(
            StackName=stack,
            UsePreviousTemplate=True,
            Parameters=[
                {"ParameterKey": name, "ParameterValue": release}
                if name == "Release"
                else {"ParameterKey": name, "UsePreviousValue": True}
                for name in former
            ],
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
        )
        try:
            client.get_waiter("stack_update_complete").wait(StackName=stack)
        except WaiterError:
            raise CommandError(
                f"stack {stack} was not published again, and serves as before. "
                f"{explain_failure(session, stack)}. The same command tries it again"
            ) from None
    return True


def get_caller(session: "Session") -> str:
    """Return who is asking, as IAM calls them; "unknown" where AWS does not say."""
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    config = Config(connect_timeout=3, read_timeout=5, retries={"total_max_attempts": 1})
    try:
        return session.client("sts", config=config).get_caller_identity()["Arn"]
    except (BotoCoreError, ClientError):
        return "unknown"


def session_environment(session: "Session") -> dict[str, str]:
    """Return the environment variables that give a function on this machine a session's permissions."""
    credentials = session.get_credentials()
    frozen = credentials.get_frozen_credentials() if credentials else None
    variables = {
        "AWS_ACCESS_KEY_ID": frozen and frozen.access_key,
        "AWS_SECRET_ACCESS_KEY": frozen and frozen.secret_key,
        "AWS_SESSION_TOKEN": frozen and frozen.token,
        "AWS_REGION": session.region_name,
        "AWS_ENDPOINT_URL_S3": os.environ.get("AWS_ENDPOINT_URL_S3"),
    }
    return {name: value for name, value in variables.items() if value}
