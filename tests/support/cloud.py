"""An AWS account in moto, whose CloudFormation creates what SAM deploys.

moto evaluates templates itself: conditions, references, exports. What it lacks for a stack that SAM
deploys is added here, each by what AWS does, and goes when moto has it (5.2 has none of them):

- the transformation ``AWS::Serverless``: aws-sam-translator, which is what AWS runs;
- outputs, and other stacks' exports, of a stack that a change set creates;
- values in a list that ``AWS::NoValue`` removes;
- outputs of other stacks that ``Fn::GetStackOutput`` names;
- a layer's name, and its version's ARN as what ``Ref`` means;
- the number of a function's version;
- aliases;
- policies that stand beside their role;
- outputs of a nested stack as its attributes;
- the number of parts in an upload's composite checksum;
- the tags of a stack's bucket, and that the bucket stays when the stack goes (``RetainExceptOnCreate``).
"""

import contextlib
import json
import re
import urllib.request
from collections.abc import Iterator
from typing import Any
from unittest import mock
from urllib.parse import unquote

import boto3
from moto.awslambda.models import LambdaVersion, LayerVersion, lambda_backends
from moto.cloudformation import parsing
from moto.cloudformation.models import CloudFormationBackend, cloudformation_backends
from moto.cloudformation.models import Stack as NestedStack
from moto.core.responses import BaseResponse
from moto.iam.models import iam_backends
from moto.s3.models import FakeBucket, MultipartChecksumBuilder, s3_backends
from moto.server import ThreadedMotoServer
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse

REGION = "eu-central-1"
ACCOUNT = "123456789012"  # moto's


class Account:
    """The account: where it is, and what CloudFormation worked out for each resource of each stack."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.resolved: dict[str, dict[str, Any]] = {}
        self.calls: list[tuple[str, str, str]] = []  # access keys, IAM's actions, and resources
        self.environment = {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": "any",
            "AWS_SECRET_ACCESS_KEY": "any",
        }

    def client(self, service: str) -> Any:
        """Return a client of the account."""
        return boto3.client(
            service,
            region_name=REGION,
            endpoint_url=self.endpoint,
            aws_access_key_id="any",
            aws_secret_access_key="any",
        )


_clean = parsing.clean_json


def clean_json(value: Any, resources: Any) -> Any:
    """Return a value with its functions worked out: moto's, and what it lacks."""
    if isinstance(value, dict) and "Fn::GetStackOutput" in value:
        wanted = clean_json(value["Fn::GetStackOutput"], resources)
        return resources.get_stack_output(wanted["StackName"], wanted["OutputName"])
    found = _clean(value, resources)
    return [item for item in found if item is not None] if isinstance(value, list) else found


@contextlib.contextmanager
def account() -> Iterator[Account]:
    """Serve an account with nothing in it, on the loopback interface."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    # moto takes an address that has "localhost" in it for one with the bucket in its path.
    found = Account(f"http://localhost:{server.get_host_and_port()[1]}")
    reset = urllib.request.Request(f"{found.endpoint}/moto-api/reset", method="POST")  # noqa: S310
    urllib.request.urlopen(reset)  # noqa: S310
    try:
        with _completed(found):
            yield found
    finally:
        server.stop()


def transformed(template: str, parameters: dict[str, str]) -> str:
    """Return a template as AWS::Serverless transforms it."""
    source = yaml_parse(template)
    values = {name: one["Default"] for name, one in source.get("Parameters", {}).items() if "Default" in one}
    session = boto3.Session(region_name=REGION)
    return json.dumps(Translator({}, Parser(), boto_session=session).translate(source, values | parameters))


class Alias:
    """``AWS::Lambda::Alias``."""

    def __init__(self, arn: str) -> None:
        self.physical_resource_id = arn

    @staticmethod
    def cloudformation_type() -> str:
        return "AWS::Lambda::Alias"

    @classmethod
    def create_from_cloudformation_json(cls, _, resource, account_id, region, **__) -> "Alias":
        alias = resource["Properties"]
        lambdas = lambda_backends[account_id][region]
        lambdas.create_alias(alias["Name"], alias["FunctionName"], alias["FunctionVersion"], "", "")
        return cls(lambdas.get_alias(alias["Name"], alias["FunctionName"]).arn)

    def delete(self, *_: Any) -> None:
        """Go with the function."""

    def is_created(self) -> bool:
        return True


class RolePolicy:
    """``AWS::IAM::RolePolicy``."""

    def __init__(self, name: str) -> None:
        self.physical_resource_id = name

    @staticmethod
    def cloudformation_type() -> str:
        return "AWS::IAM::RolePolicy"

    @classmethod
    def create_from_cloudformation_json(cls, _, resource, account_id, region, **__) -> "RolePolicy":  # noqa: ARG003
        policy = resource["Properties"]
        iam_backends[account_id]["aws"].put_role_policy(
            policy["RoleName"], policy["PolicyName"], json.dumps(policy["PolicyDocument"])
        )
        return cls(policy["PolicyName"])

    def delete(self, *_: Any) -> None:
        """Go with the role."""

    def is_created(self) -> bool:
        return True


ACTIONS = {"lambda:Invoke": "lambda:InvokeFunction", "s3:HeadBucket": "s3:ListBucket"}
"""Operations whose permission has another name."""
SERVICES = {"awslambda": "lambda", "resourcegroupstaggingapi": "tag", "stepfunctions": "states"}


def _permission(asked: Any, resource: str) -> tuple[str, str]:
    """Return the action that IAM asks for before it lets a request through, and the resource."""
    action = f"{SERVICES.get(asked.service_name, asked.service_name)}:{asked._get_action()}"
    action = ACTIONS.get(action, action)
    place = f"{action.partition(':')[0]}:{REGION}:{ACCOUNT}"
    if action.startswith("s3:"):
        if "encryption" in (asked.querystring or {}):  # moto takes it for a listing
            return "s3:GetEncryptionConfiguration", resource
        keys = action == "s3:DeleteObject" and "/" not in resource
        return action, f"{resource}/several" if keys else resource
    if action.startswith("cloudformation:") and (name := asked._get_param("StackName")):
        return action, name if name.startswith("arn:") else f"arn:aws:{place}:stack/{name}/id"
    if function := re.search(r"/functions/([^/?]+)", unquote(asked.raw_path)):
        name = re.sub(r".*:function:|:live$", "", function[1])
        return action, f"arn:aws:{place}:function:{name}"
    if action.startswith("logs:"):
        return action, f"arn:aws:{place}:log-group:{asked._get_param('logGroupName')}:*"
    return action, resource


def _tag_buckets(stack: Any) -> None:
    """Give a stack's buckets the tags by which they are found."""
    for name, resource in stack.resource_map.items():
        if isinstance(resource, FakeBucket):
            tags = {"aws:cloudformation:stack-name": stack.name, "aws:cloudformation:logical-id": name}
            s3_backends[ACCOUNT]["aws"].put_bucket_tagging(resource.name, tags)


def _stack_output(_: Any, stack: str, output: str) -> str:
    """Return what ``Fn::GetStackOutput`` is."""
    (found,) = (one for one in cloudformation_backends[ACCOUNT][REGION].stacks.values() if one.name == stack)
    return found.output_map[output].value


_build = MultipartChecksumBuilder.build


def composite_checksum(builder: MultipartChecksumBuilder) -> Any:
    """Return an upload's checksum as S3 does: of parts, with their number."""
    kind, value, parts = _build(builder)
    return kind, f"{value}-{parts}" if kind == "COMPOSITE" else value, parts


def _output(stack: NestedStack, attribute: str) -> str:
    """Return what ``Outputs.NAME`` is of a nested stack."""
    return stack.output_map[attribute.removeprefix("Outputs.")].value


@contextlib.contextmanager
def _completed(account: Account) -> Iterator[None]:
    """Add what moto lacks, and look on."""
    create, execute = CloudFormationBackend.create_change_set, CloudFormationBackend.execute_change_set
    create_at_once = CloudFormationBackend.create_stack
    parse = parsing.parse_resource_and_generate_name

    def create_change_set(self, *, template, parameters, **options):
        return create(self, template=transformed(template, parameters), parameters=parameters, **options)

    def create_stack(self, *, template, parameters, **options):
        template = transformed(template, parameters)
        return create_at_once(self, template=template, parameters=parameters, **options)

    def execute_change_set(self, change_set_name, stack_name=None):
        (stack,) = (one for one in self.stacks.values() if stack_name in {one.name, one.stack_id})
        stack.resource_map.cross_stack_resources = self.exports
        execute(self, change_set_name, stack_name)
        stack._parse_template()
        stack.output_map = stack._create_output_map()
        _tag_buckets(stack)
        self.exports.update({export.name: export for export in stack.exports})

    def authorize(self, _, resource="*"):
        key = re.search(r"Credential=(\w+)/", self.headers.get("Authorization", ""))
        account.calls.append((key[1] if key else "", *_permission(self, resource)))

    def parse_resource(name, resource, resources):
        values = parsing.clean_json(resource.get("Properties", {}), resources)
        account.resolved.setdefault(resources["AWS::StackName"], {})[name] = values
        return parse(name, resource, resources)

    with contextlib.ExitStack() as patches:
        for owner, name, replacement in (
            (CloudFormationBackend, "create_change_set", create_change_set),
            (CloudFormationBackend, "create_stack", create_stack),
            (CloudFormationBackend, "execute_change_set", execute_change_set),
            (BaseResponse, "_authenticate_and_authorize_action", authorize),
            (MultipartChecksumBuilder, "build", composite_checksum),
            (parsing, "clean_json", clean_json),
            (parsing, "parse_resource_and_generate_name", parse_resource),
            (LayerVersion, "cloudformation_name_type", staticmethod(lambda: "LayerName")),
            (FakeBucket, "delete_from_cloudformation_json", classmethod(lambda *_: None)),
        ):
            patches.enter_context(mock.patch.object(owner, name, replacement))
        for owner, name, value in (
            (LayerVersion, "physical_resource_id", property(lambda layer: layer.arn)),
            (LambdaVersion, "get_cfn_attribute", lambda version, _: str(version.version)),
            (NestedStack, "get_cfn_attribute", _output),
            (parsing.ResourceMap, "get_stack_output", _stack_output),
        ):
            patches.enter_context(mock.patch.object(owner, name, value, create=True))
        models = parsing.get_model_map()
        patches.enter_context(
            mock.patch.dict(models, {kind.cloudformation_type(): kind for kind in (Alias, RolePolicy)})
        )
        yield
