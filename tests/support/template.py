"""The project's template with its parameters filled in, and CloudFormation's functions worked out by moto."""

import copy
import json
import tomllib
from functools import cached_property
from types import SimpleNamespace
from typing import Any
from unittest import mock

import boto3
from moto.cloudformation import parsing
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse

from support.cloud import clean_json
from support.project import ROOT

ACCOUNT, REGION = "111122223333", "eu-central-1"
SOURCE = yaml_parse((ROOT / "template.yaml").read_text())
SAMCONFIG = tomllib.loads((ROOT / "samconfig.toml").read_text())
ARTIFACTS = {
    "TranslationFunction": "code-1",
    "DependencyLayer": "tree-1",
    "LambdaInferenceLayer": "own-1",
    "BatchStateMachine": "definition-1",
}
PLACES = ("CodeUri", "ContentUri", "DefinitionUri")


class Stack:
    """The template with parameters filled in: what CloudFormation would make of it."""

    def __init__(
        self,
        artifacts: dict[str, str] | None = None,
        name: str = "translation",
        pseudo: dict[str, str] | None = None,
        physical: dict[str, str] | None = None,
        **parameters: Any,
    ) -> None:
        self.name = name
        self.physical = physical or {}  # names of resources, for those that are not called as in the template
        self.pseudo = pseudo or {}  # pseudo parameters, such as AWS::Partition
        self.parameters = {key: value["Default"] for key, value in SOURCE["Parameters"].items()} | parameters
        self.artifacts = ARTIFACTS | (artifacts or {})

    @cached_property
    def template(self) -> dict[str, Any]:
        """Return the template as SAM transforms it once its artifacts are in S3."""
        source = json.loads(json.dumps(SOURCE))
        for resource, artifact in self.artifacts.items():
            properties = source["Resources"][resource]["Properties"]
            (uri,) = (name for name in PLACES if name in properties)
            properties[uri] = f"s3://artifacts/{artifact}"
        session = boto3.Session(region_name=REGION)
        return Translator({}, Parser(), boto_session=session).translate(
            source, copy.deepcopy(self.parameters)
        )

    @cached_property
    def resources(self) -> dict[str, dict[str, Any]]:
        """Return the resources that this stack has, with all values known."""
        there = {
            name: resource
            for name, resource in self.template["Resources"].items()
            if "Condition" not in resource or self.condition(resource["Condition"])
        }
        return {
            name: resource | {"Properties": self.value(resource["Properties"])}
            for name, resource in there.items()
        }

    @cached_property
    def outputs(self) -> dict[str, Any]:
        """Return the values of the outputs that this stack has."""
        return {
            name: self.value(output["Value"])
            for name, output in self.template["Outputs"].items()
            if "Condition" not in output or self.condition(output["Condition"])
        }

    def one(self, kind: str) -> dict[str, Any]:
        """Return the properties of the one resource of a kind."""
        (found,) = self.all(kind)
        return found

    def all(self, kind: str) -> list[dict[str, Any]]:
        """Return the properties of all resources of a kind."""
        return [each["Properties"] for each in self.resources.values() if each["Type"] == f"AWS::{kind}"]

    @property
    def function(self) -> dict[str, Any]:
        """Return the function's properties."""
        return self.one("Lambda::Function")

    def role(self, name: str = "FunctionRole") -> dict[str, Any]:
        """Return a role's properties, with the policies that stand beside it before its own."""
        role = self.resources[name]["Properties"]
        beside = [policy for policy in self.all("IAM::RolePolicy") if policy["RoleName"] == name]
        return role | {"Policies": [*beside, *role["Policies"]]}

    @property
    def environment(self) -> dict[str, str]:
        """Return the function's environment."""
        return {name: str(value) for name, value in self.function["Environment"]["Variables"].items()}

    @property
    def version(self) -> tuple[str, str]:
        """Return what CloudFormation tells published versions apart by."""
        (name,) = (name for name, each in self.resources.items() if each["Type"] == "AWS::Lambda::Version")
        return name, self.resources[name]["Properties"]["Description"]

    def refused(self) -> list[str]:
        """Return what the rules say against the parameters."""
        return [
            assertion["AssertDescription"]
            for rule in SOURCE["Rules"].values()
            if self._holds(rule["RuleCondition"])
            for assertion in rule["Assertions"]
            if not self._holds(assertion["Assert"])
        ]

    def condition(self, name: str) -> bool:
        """Return whether a condition holds."""
        return self._holds(self.template["Conditions"][name])

    def value(self, node: Any) -> Any:
        """Return a value with its intrinsic functions worked out, as moto does it."""
        with mock.patch.object(parsing, "clean_json", clean_json):
            return clean_json(node, self._names)

    def _holds(self, condition: Any) -> bool:
        with mock.patch.object(parsing, "clean_json", _clean_text):
            return parsing.parse_condition(condition, self._names, self._names.lazy_condition_map)

    @cached_property
    def _names(self) -> "_Names":
        return _Names(self)


def _clean_text(value: Any, resources: Any) -> Any:
    """Return a value worked out for a comparison, in which CloudFormation has texts alone."""
    found = clean_json(value, resources)
    return str(found) if type(found) is int else found


class _Names(dict[str, Any]):
    """The values of a stack's names, in the form that moto's evaluator asks for."""

    def __init__(self, stack: Stack) -> None:
        super().__init__(
            SOURCE["Mappings"]
            | stack.parameters
            | {"AWS::NoValue": None, "AWS::StackName": stack.name, "AWS::Partition": "aws",
               "AWS::AccountId": ACCOUNT, "AWS::Region": REGION, "AWS::URLSuffix": "amazonaws.com"}
            | stack.pseudo
        )  # fmt: skip
        self._stack = stack
        self.lazy_condition_map = _Conditions(stack)

    @staticmethod
    def get_stack_output(stack: str, output: str) -> str:
        """Return what Fn::GetStackOutput is, without another stack."""
        return f"{output} of {stack}"

    def __missing__(self, name: str) -> str:
        """Return what a reference to a resource is: its name here, or a layer version's ARN."""
        resource = self._stack.template["Resources"][name]
        if resource["Type"] != "AWS::Lambda::LayerVersion":
            return self._stack.physical.get(name, name)
        layer = self._stack.value(resource["Properties"]["LayerName"])
        number = int(name[-10:], 16) % 1000  # another number for another content
        return f"arn:aws:lambda:{REGION}:{ACCOUNT}:layer:{layer}:{number}"

    def get(self, name: str, _: Any = None) -> Any:
        """Return a resource that has attributes."""
        bucket = self._stack.template["Resources"][name]["Type"] == "AWS::S3::Bucket"
        return SimpleNamespace(
            get_cfn_attribute=lambda attribute: (
                f"arn:aws:s3:::{self[name]}" if bucket else f"{name}.{attribute}"
            )
        )


class _Conditions(dict[str, bool]):
    """The conditions of a stack, each worked out when it is asked for."""

    def __init__(self, stack: Stack) -> None:
        super().__init__()
        self._stack = stack

    def __missing__(self, name: str) -> bool:
        self[name] = self._stack.condition(name)
        return self[name]
