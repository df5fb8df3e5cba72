"""Deployments one after the other, in CloudFormation's order: the live version keeps what it needs.

The model of CloudFormation is that of its user guide: a resource is created or updated after those that it
refers to or depends on ("DependsOn attribute"); one whose create-only property changes is created anew first
("Update behaviors of stack resources", replacement); what was replaced or is no longer in the template is
deleted after everything else, in UPDATE_COMPLETE_CLEANUP_IN_PROGRESS, or kept as its policy says. A failed
update takes the same steps back. What is create-only stands in AWS's registry, of which cfn-lint has a copy:
the name of an AWS::IAM::RolePolicy, the description of an AWS::Lambda::Version.
"""

import json
import random
import re
from dataclasses import dataclass, field
from graphlib import TopologicalSorter

import pytest
from support.permissions import Need, grants
from support.template import SOURCE, Stack

KEY = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-12345678900"
CHOICES = {
    "Engine": ["opennmt", "ctranslate2"],
    "ModelName": ["en-es", "en-es-ct2-int8"],
    "Channel": ["dev", "prod"],
    "BucketName": ["", "", "one"],
    "ModelBucketName": ["", "theirs", "theirs-too"],
    "ResultBucketName": ["", "ours", "ours-too"],
    "ModelStackName": ["", "first"],
    "KmsKeyArn": ["", f"{KEY}1", f"{KEY}2"],
    "Queue": ["on", "off"],
    "Batch": ["on", "off"],
    "SnapStart": ["on", "off"],
    "Tracing": ["on", "off"],
    "Release": ["", "1", "2"],
    "MemorySize": [1769, 3008],
}


def order(stack: Stack) -> list[str]:
    """Return a stack's resources in the order in which CloudFormation makes them."""
    graph = {}
    for name in stack.resources:
        resource = stack.template["Resources"][name]
        text = json.dumps(resource.get("Properties", {}))
        named = set(re.findall(r'"(?:Ref|Fn::GetAtt)": \[?"(\w+)', text)) | set(
            re.findall(r"\$\{(\w+)[.}]", text)
        )
        depends = resource.get("DependsOn", [])
        named |= set([depends] if isinstance(depends, str) else depends)
        graph[name] = named & stack.resources.keys() - {name}
    return list(TopologicalSorter(graph).static_order())


def needs(stack: Stack) -> set[Need]:
    """Return what a version of a stack's function needs for as long as it serves."""
    models, results = stack.environment["MODEL_BUCKET"], stack.environment["RESULT_BUCKET"]
    model = f"models/{stack.environment['MODEL_NAME']}"
    found = {
        Need(
            "s3:GetObject",
            f"arn:aws:s3:::{models}/{model}/channels/{stack.environment['MODEL_CHANNEL']}.json",
        ),
        Need("s3:ListBucket", f"arn:aws:s3:::{models}", f"{model}/versions/1/manifest.json"),
        Need("s3:GetObject", f"arn:aws:s3:::{results}/inputs/a"),
        Need("s3:GetObject", f"arn:aws:s3:::{results}/prediction_outputs/a/predictions.jsonl.gz"),
        Need("s3:PutObject", f"arn:aws:s3:::{results}/prediction_outputs/a/predictions.jsonl.gz"),
        Need("logs:PutLogEvents", "FunctionLogGroup.Arn"),
    }
    if key := stack.parameters["KmsKeyArn"]:
        found |= {Need("kms:Decrypt", key), Need("kms:GenerateDataKey", key)}
    return found


@dataclass
class Account:
    """What there is: the stack, the policies of the function's role, buckets, the live version."""

    stack: Stack | None = None
    policies: dict[str, dict] = field(default_factory=dict)
    buckets: set[str] = field(default_factory=set)
    left: set[str] = field(default_factory=set)
    live: Stack | None = None

    def check(self, step: str) -> None:
        """Hold the live version's needs against the role as it is now."""
        if self.live is None:
            return
        granted = grants({"Policies": list(self.policies.values())})
        missing = {need for need in needs(self.live) if not any(grant.covers(need) for grant in granted)}
        assert not missing, f"after {step}: {missing}"

    def put(self, stack: Stack, name: str) -> None:
        """Create or update one resource."""
        resource = stack.resources[name]
        properties = resource["Properties"]
        if name == "FunctionRole":
            own = {policy["PolicyName"]: policy for policy in properties["Policies"]}
            beside = {key: policy for key, policy in self.policies.items() if "RoleName" in policy}
            self.policies = own | beside
        elif resource["Type"] == "AWS::IAM::RolePolicy" and properties["RoleName"] == "FunctionRole":
            self.policies[properties["PolicyName"]] = properties
        elif resource["Type"] == "AWS::S3::Bucket":
            self.buckets.add(name)
        elif resource["Type"] == "AWS::Lambda::Alias":
            self.live = stack

    def clean_up(self, former: Stack, stack: Stack) -> None:
        """Delete what a stack had and the next one has not, or keep it as its policy says."""
        kept = {properties["PolicyName"] for properties in stack.all("IAM::RolePolicy")}
        for name, resource in former.resources.items():
            properties = resource["Properties"]
            if resource["Type"] == "AWS::IAM::RolePolicy" and properties["PolicyName"] not in kept:
                self.policies.pop(properties["PolicyName"], None)
            if resource["Type"] == "AWS::S3::Bucket" and name not in stack.resources:
                self.leave(name, resource)

    def leave(self, name: str, resource: dict) -> None:
        """Keep a bucket that is no longer the stack's."""
        assert resource["DeletionPolicy"] == "RetainExceptOnCreate"
        assert resource["UpdateReplacePolicy"] == "Retain"
        self.left.add(name)

    def deploy(self, stack: Stack, fails_after: int | None = None) -> None:
        """Create or update the stack; where a step fails, take back those before it."""
        former, steps = self.stack, order(stack)
        for name in steps[:fails_after]:
            self.put(stack, name)
            self.check(f"step {name}")
        if fails_after is None or former is None:
            if former:
                self.clean_up(former, stack)
            self.stack = stack
        else:
            for name in order(former):
                self.put(former, name)
                self.check(f"rollback of {name}")
            self.clean_up(stack, former)
        self.check("clean-up")
        assert self.buckets <= self.left | self.stack.resources.keys()


def choose(dice: random.Random, former: dict) -> dict:
    """Return parameters in which one to three are others, and the rules refuse none."""
    while True:
        changed = former | {name: dice.choice(CHOICES[name]) for name in dice.sample(sorted(CHOICES), 3)}
        if not Stack(**changed).refused():
            return changed


def walk(seed: int, length: int) -> Account:
    """Deploy at random, some of it in vain, and return what there is in the end."""
    dice = random.Random(seed)  # noqa: S311 - a test that can be repeated
    account, parameters = Account(), {}
    account.deploy(Stack())
    for _ in range(length):
        changed = choose(dice, parameters)
        stack = Stack(**changed)
        fails = dice.randrange(1, len(stack.resources)) if dice.random() < 0.3 else None
        account.deploy(stack, fails)
        parameters = parameters if fails else changed
    return account


@pytest.mark.check
@pytest.mark.parametrize("seed", range(8))
def test_whatever_changes_no_request_is_refused_and_no_bucket_lost(seed):
    """At every step of every update, its rollback and its clean-up: who leaves a bucket keeps it."""
    walk(seed, 6)


@pytest.mark.parametrize(
    "change",
    [
        {"ModelName": "en-es-ct2-int8", "Engine": "ctranslate2"},
        {"ModelBucketName": "theirs", "KmsKeyArn": f"{KEY}1"},
        {"ResultBucketName": "ours"},
        {"ModelStackName": "first"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_one_change_there_and_back(change):
    """A change of model, bucket or key is safe in both directions, and leaves no policy behind."""
    account = Account()
    account.deploy(Stack())
    before = set(account.policies)
    account.deploy(Stack(**change))
    account.deploy(Stack())

    assert set(account.policies) == before


def test_the_model_sees_a_policy_that_goes_too_early():
    """Policies that are changed in place, as those of a role itself are, fail the walk."""
    account = Account()
    account.deploy(Stack())
    stack = Stack(ResultBucketName="ours")
    for name, resource in stack.resources.items():
        if name == "ResultPolicy":
            resource["Properties"]["PolicyName"] = "results-ResultBucket"

    with pytest.raises(AssertionError, match="step ResultPolicy"):
        account.deploy(stack)


def test_policies_come_before_the_function():
    """A snapshot is taken of a function that may read its model, and every policy has a name of its own."""
    steps = order(Stack(KmsKeyArn=f"{KEY}1", SnapStart="on"))
    function = steps.index("TranslationFunction")

    assert max(map(steps.index, ("ModelPolicy", "ResultPolicy"))) < function
    assert "DependsOn" in SOURCE["Resources"]["TranslationFunction"]


def test_names_of_policies_fit():
    """The longest names that the parameters allow stay within IAM's 128 characters."""
    longest = Stack(
        ModelName="m" * 31, ModelBucketName="b" * 63, ResultBucketName="c" * 63, KmsKeyArn=f"{KEY}1"
    )

    names = [policy["PolicyName"] for policy in longest.all("IAM::RolePolicy")]
    assert len(names) == 2
    assert all(re.fullmatch(r"[\w+=,.@-]{1,128}", name) for name in names)
