"""Deployments one after the other, in CloudFormation's order: nobody is refused, and nothing is lost.

The model of CloudFormation is that of its user guide: a resource is created or updated after those that it
refers to or depends on ("DependsOn attribute"), and those that do not wait for each other come in any order,
here a random one; one whose create-only property changes is created anew first
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
from typing import Any

import pytest
from support.permissions import Need, grants
from support.template import SOURCE, Stack

from lambda_setup.deployment import teardown
from lambda_setup.deployment.local import S3Server

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
    "ResultExpirationDays": [30, 7],
    "InputExpirationDays": [0, 0, 14],
}


def order(stack: Stack, dice: random.Random | None = None) -> list[str]:
    """Return a stack's resources in an order in which CloudFormation may make them."""
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
    sorter, steps, ready = TopologicalSorter(graph), [], []
    sorter.prepare()
    while sorter.is_active():
        ready += sorter.get_ready()
        name = ready.pop(dice.randrange(len(ready)) if dice else 0)
        sorter.done(name)
        steps.append(name)
    return steps


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
    if stack.parameters["Tracing"] == "on":
        found.add(Need("xray:PutTraceSegments", "*"))
    return found


QUEUED = {
    Need("sqs:ReceiveMessage", "RequestQueue.Arn"),
    Need("sqs:DeleteMessage", "RequestQueue.Arn"),
    Need("sqs:SendMessage", "FailureQueue.Arn"),
}
"""What is done in the role's name for as long as there is a queue."""


BUCKETS = {"ModelBucket": "ModelBucketName", "ResultBucket": "ResultBucketName"}
GIVEN = {"one", "theirs", "theirs-too", "ours", "ours-too"}
"""Buckets of others."""


@dataclass
class Bucket:
    """A bucket: its rules, which it keeps without its stack, and the age of each object in days.

    Rules are those of a lifecycle: "Setting lifecycle configuration on a bucket", Amazon S3 User Guide. An
    object expires once it is as old as its rule says, counted from its last write.
    """

    owner: str = ""  # stack and logical id, as CloudFormation tags them
    logical_id: str = ""
    rules: list[dict] = field(default_factory=list)
    objects: dict[str, int] = field(default_factory=dict)

    def pass_day(self) -> set[str]:
        """Let a day go by, and return the keys that expire."""
        self.objects = {key: age + 1 for key, age in self.objects.items()}
        expired = {
            key
            for key, age in self.objects.items()
            for rule in self.rules
            if rule["Status"] == "Enabled" and "ExpirationInDays" in rule
            if key.startswith(rule.get("Prefix", "")) and age >= int(rule["ExpirationInDays"])
        }
        self.objects = {key: age for key, age in self.objects.items() if key not in expired}
        return expired


@dataclass
class Account:
    """What there is: the stack, the policies of the function's role, buckets, the live version."""

    stack: Stack | None = None
    policies: dict[str, dict] = field(default_factory=dict)
    buckets: dict[str, Bucket] = field(default_factory=lambda: {name: Bucket() for name in GIVEN})
    owned: dict[str, str] = field(default_factory=dict)  # the stack's buckets by logical id
    versions: set[tuple[str, str]] = field(default_factory=set)
    live: Stack | None = None
    queued: bool = False
    number: int = 0
    s3: Any = None  # a server's client: what is in the buckets is there, too
    dice: random.Random | None = None  # for what CloudFormation does in any order

    def __post_init__(self) -> None:
        if self.s3:
            for name in self.buckets:
                self.s3.create_bucket(Bucket=name)

    def check(self, step: str) -> None:
        """Hold the live version's needs against the role as it is now."""
        if self.live is None:
            return
        granted = grants({"Policies": list(self.policies.values())})
        needed = needs(self.live) | (QUEUED if self.queued else set())
        missing = {need for need in needed if not any(grant.covers(need) for grant in granted)}
        assert not missing, f"after {step}: {missing}"
        for name in ("MODEL_BUCKET", "RESULT_BUCKET"):
            bucket = self.live.environment[name]
            assert bucket in self.buckets or bucket == "ModelBucketName of first", f"after {step}: {bucket}"

    def plan(self, parameters: dict) -> Stack:
        """Return the template with parameters, and names for the buckets that it would make."""
        self.number += 1
        physical = {name: self.owned.get(name, f"mine-{name.lower()}-{self.number}") for name in BUCKETS}
        return Stack(physical=physical, **parameters)

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
            self.owned[name] = stack.physical[name]
            if self.s3 and stack.physical[name] not in self.buckets:
                self.s3.create_bucket(Bucket=stack.physical[name])
                if "VersioningConfiguration" in properties:
                    self.s3.put_bucket_versioning(
                        Bucket=stack.physical[name],
                        VersioningConfiguration=properties["VersioningConfiguration"],
                    )
            bucket = self.buckets.setdefault(stack.physical[name], Bucket(stack.name, name))
            bucket.rules = properties["LifecycleConfiguration"]["Rules"]
        elif resource["Type"] == "AWS::Lambda::Version":
            self.versions.add(stack.version)
        elif resource["Type"] == "AWS::Lambda::Alias":
            self.live = stack
        elif resource["Type"] == "AWS::Lambda::EventSourceMapping":
            self.queued = True

    def clean_up(self, former: Stack, stack: Stack) -> None:
        """Delete what a stack had and the next one has not, or keep it as its policy says."""
        kept = {properties["PolicyName"] for properties in stack.all("IAM::RolePolicy")}
        for name in reversed(order(former, self.dice)):
            resource = former.resources[name]
            properties = resource["Properties"]
            if resource["Type"] == "AWS::Lambda::EventSourceMapping" and name not in stack.resources:
                self.queued = False
            if resource["Type"] == "AWS::IAM::RolePolicy" and properties["PolicyName"] not in kept:
                self.policies.pop(properties["PolicyName"], None)
            if resource["Type"] == "AWS::S3::Bucket" and name not in stack.resources:
                self.leave(name, resource)
            if resource["Type"] == "AWS::Lambda::Version" and former.version != stack.version:
                assert resource["DeletionPolicy"] == "Delete"
                self.versions.discard(former.version)
            self.check(f"clean-up of {name}")

    def leave(self, name: str, resource: dict) -> None:
        """Keep a bucket that is no longer the stack's."""
        assert resource["DeletionPolicy"] == "RetainExceptOnCreate"
        assert resource["UpdateReplacePolicy"] == "Retain"
        self.owned.pop(name, None)

    def deploy(self, stack: Stack, fails_after: int | None = None) -> None:
        """Create or update the stack; where a step fails, take back those before it."""
        former, steps = self.stack, order(stack, self.dice)
        before = set(self.buckets)
        for name in steps[:fails_after]:
            self.put(stack, name)
            self.check(f"step {name}")
        if fails_after is None or former is None:
            if former:
                self.clean_up(former, stack)
            self.stack = stack
        else:
            for name in order(former, self.dice):
                self.put(former, name)
                self.check(f"rollback of {name}")
            self.clean_up(stack, former)
            # RetainExceptOnCreate: what the update made, its rollback deletes.
            for name in self.buckets.keys() - before:
                assert not self.buckets.pop(name).objects
                if self.s3:
                    self.s3.delete_bucket(Bucket=name)  # a server refuses one with something in it
        self.check("clean-up")
        assert self.versions == {self.stack.version}
        self.check_named()

    def delete(self) -> None:
        """Delete the stack, what uses something before what it uses: its buckets stay."""
        assert self.stack
        self.live, self.queued = None, False
        for name in reversed(order(self.stack, self.dice)):
            resource = self.stack.resources[name]
            if resource["Type"] == "AWS::S3::Bucket":
                self.leave(name, resource)
        self.policies, self.versions, self.stack = {}, set(), None
        self.check_named()

    def check_named(self) -> None:
        """Every bucket is somebody else's, or `teardown` finds it, also without its stack."""
        mine = self.buckets.keys() - GIVEN
        if mine or self.stack:
            found = teardown.find(self, "translation")
            assert {bucket.name for bucket in found.buckets} == mine
            assert found.exists == (self.stack is not None)

    region_name = "eu-central-1"

    def client(self, service: str) -> "Service":
        """Return what `teardown` asks: this account is its session."""
        return self.s3 if self.s3 and service == "s3" else Service(self, service)


@dataclass
class Service:
    """The calls of `teardown`."""

    account: Account
    name: str

    def delete_stack(self, **_: object) -> None:
        """Delete the stack."""
        self.account.delete()

    def get_waiter(self, _: str) -> "Service":
        """Return itself."""
        return self

    def wait(self, **_: object) -> None:
        """Wait for nothing."""

    def get_paginator(self, _: str) -> "Service":
        """Return itself."""
        return self

    def paginate(self, Bucket: str = "", **_: object) -> list[dict]:  # noqa: N803 - boto3's name
        """Return one page: stacks, buckets with their tags, or versions."""
        account = self.account
        if self.name == "cloudformation":
            stack = account.stack
            given = stack.parameters.items() if stack else ()
            parameters = [{"ParameterKey": key, "ParameterValue": str(value)} for key, value in given]
            return [{"Stacks": [{"StackName": stack.name, "Parameters": parameters}] if stack else []}]
        if self.name == "resourcegroupstaggingapi":
            keys = ("aws:cloudformation:stack-name", "aws:cloudformation:logical-id")
            return [
                {
                    "ResourceTagMappingList": [
                        {
                            "ResourceARN": f"arn:aws:s3:::{name}",
                            "Tags": [
                                {"Key": key, "Value": value}
                                for key, value in zip(keys, (one.owner, one.logical_id), strict=True)
                            ],
                        }
                        for name, one in account.buckets.items()
                        if one.owner
                    ]
                }
            ]
        versions = [{"Key": key, "VersionId": "1", "Size": 1} for key in account.buckets[Bucket].objects]
        return [{"Versions": versions}]


class Operator:
    """Somebody who works with the account as the documents say, and knows what has to be there."""

    def __init__(self, dice: random.Random, s3: Any = None) -> None:
        self.dice = dice
        self.account = Account(s3=s3, dice=dice)
        self.parameters: dict = {}
        self.used: dict[tuple[str, str], int] = {}
        self.day = self.runs = 0
        self.account.deploy(self.account.plan({}))

    def environment(self) -> dict[str, str]:
        """Return the live function's."""
        assert self.account.live
        return self.account.live.environment

    def write(self, bucket: str, key: str) -> None:
        """Write an object that has to stay for as long as is said."""
        if bucket in self.account.buckets:  # another stack's is not in this account's books
            self.account.buckets[bucket].objects[key] = 0
            self.used[bucket, key] = self.day
            if s3 := self.account.s3:
                s3.put_object(Bucket=bucket, Key=key, Body=f"{key} on day {self.day}".encode())

    def publish(self) -> None:
        """Publish a version of the function's model."""
        model = f"models/{self.environment()['MODEL_NAME']}"
        self.runs += 1
        for key in (f"versions/{self.runs}/manifest.json", "channels/dev.json", "channels/prod.json"):
            self.write(self.environment()["MODEL_BUCKET"], f"{model}/{key}")

    def answer(self) -> None:
        """Run a batch, and put something of one's own beside it."""
        self.runs += 1
        for key in (
            f"inputs/corpora/{self.runs}.txt",
            f"inputs/batches/{self.runs}/index.json",
            f"inputs/batches/runs/{self.runs}.json",
            f"prediction_outputs/{self.runs}/predictions.jsonl.gz",
            f"prediction_outputs/batches/{self.runs}/manifest.jsonl",
            f"inputs/mine/{self.runs}.png",
        ):
            self.write(self.environment()["RESULT_BUCKET"], key)

    def answer_again(self) -> None:
        """Take an earlier run up again, which renews what it reads."""
        bucket = self.environment()["RESULT_BUCKET"]
        for owner, key in list(self.used):
            if owner == bucket and key.startswith(("inputs/corpora/", "inputs/batches/")):
                self.write(owner, key)

    def wait(self) -> None:
        """Let days go by, in which lifecycles delete what they may, and nothing else."""
        for _ in range(self.dice.choice([1, 6, 25])):
            self.day += 1
            for name, bucket in self.account.buckets.items():
                rules = {rule["Id"]: rule for rule in bucket.rules}
                for key in bucket.pass_day():
                    if s3 := self.account.s3:
                        s3.delete_object(Bucket=name, Key=key)
                    self.check_expired(rules, key, self.day - self.used.pop((name, key)))

    def wait_for_long(self) -> None:
        """Let so many days go by that everything expires that may."""
        while self.day < 100:
            self.wait()

    @staticmethod
    def check_expired(rules: dict[str, dict], key: str, age: int) -> None:
        """Hold an object that has gone against what the documents say of its kind."""
        if key.startswith("prediction_outputs/"):
            assert age >= int(rules["results"]["ExpirationInDays"]), key
        else:
            assert key.startswith(("inputs/corpora/", "inputs/batches/")), f"{key} has gone"
            assert rules["corpora"]["Status"] == "Enabled", f"{key} has gone"
            assert age >= int(rules["corpora"]["ExpirationInDays"]), key

    def deploy(self) -> None:
        """Deploy with one to three other parameters, at times in vain."""
        changed = choose(self.dice, self.parameters)
        stack = self.account.plan(changed)
        fails = self.dice.randrange(1, len(stack.resources)) if self.dice.random() < 0.3 else None
        self.account.deploy(stack, fails)
        self.parameters = self.parameters if fails else changed

    def take_snapshot(self) -> None:
        """Publish the function again, as `model promote --snapshot` does: with another Release alone."""
        self.runs += 1
        changed = self.parameters | {"SnapStart": "on", "Release": f"r{self.runs}"}
        before = self.account.stack
        self.account.deploy(self.account.plan(changed))
        self.parameters = changed
        assert before
        assert self.account.stack.version != before.version

    def recreate(self) -> None:
        """Delete the stack, and deploy it anew with the buckets that `teardown --dry-run` names."""
        self.account.delete()
        adopted = {"Batch": "on"}
        if self.account.buckets.keys() - GIVEN:
            said = teardown.find(self.account, "translation").adoption
            for parameter, names in re.findall(r"(\w+)=(\S+(?: or \S+)*)", said):
                adopted[parameter] = self.dice.choice(names.split(" or "))
        self.account.deploy(self.account.plan(adopted))
        self.parameters = adopted
        self.account.check_named()

    def check(self) -> None:
        """Whatever was written is there, unless its lifecycle was allowed to delete it."""
        there = {(name, key) for name, bucket in self.account.buckets.items() for key in bucket.objects}
        assert there == self.used.keys()
        if s3 := self.account.s3:
            for name in self.account.buckets:
                listed = s3.list_objects_v2(Bucket=name).get("Contents", [])
                assert {one["Key"] for one in listed} == self.account.buckets[name].objects.keys()
                for one in listed:
                    body = s3.get_object(Bucket=name, Key=one["Key"])["Body"].read().decode()
                    assert body == f"{one['Key']} on day {self.used[name, one['Key']]}"

    def tear_down(self) -> None:
        """Remove the stack with all that it has ever made."""
        teardown.remove(self.account, teardown.find(self.account, "translation"), lambda _: None)  # type: ignore[arg-type]


def choose(dice: random.Random, former: dict) -> dict:
    """Return parameters in which one to three are others, and the rules refuse none."""
    while True:
        changed = former | {name: dice.choice(CHOICES[name]) for name in dice.sample(sorted(CHOICES), 3)}
        if not Stack(**changed).refused():
            return changed


def walk(seed: int, length: int, s3: Any = None) -> Operator:
    """Work at random, and return who did it."""
    dice = random.Random(seed)  # noqa: S311 - a test that can be repeated
    operator = Operator(dice, s3)
    steps = [operator.deploy] * 4 + [operator.publish, operator.answer, operator.answer_again, operator.wait]
    steps += [operator.recreate, operator.take_snapshot]
    for step in (operator.publish, operator.answer, *dice.choices(steps, k=length), operator.wait):
        step()
        operator.check()
    return operator


@pytest.mark.check
@pytest.mark.parametrize("seed", range(8))
def test_whatever_changes_no_request_is_refused_and_nothing_is_lost(seed):
    """At every step of updates, rollbacks, clean-ups, deletes and re-creations; no bucket is forgotten."""
    walk(seed, 14)


@pytest.mark.check
def test_the_walk_in_a_real_s3_ends_with_what_was_there_before():
    """What is in the buckets of a server is what was written, byte for byte, and `teardown` leaves none."""
    with S3Server() as server:
        s3 = server.client()
        operator = walk(1, 24, s3)
        made = {bucket.name for bucket in teardown.find(operator.account, "translation").buckets}
        assert made
        for name in made:
            # Versions and delete markers of what was overwritten and expired, too.
            s3.put_object(Bucket=name, Key="inputs/mine", Body=b"1")
            s3.delete_object(Bucket=name, Key="inputs/mine")
        operator.tear_down()

        assert {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]} == GIVEN
        kept = {
            (name, one["Key"])
            for name in GIVEN
            for one in s3.list_objects_v2(Bucket=name).get("Contents", [])
        }
        assert kept == {(name, key) for name, key in operator.used if name in GIVEN}


def test_a_stack_that_is_made_again_has_what_it_had():
    """The buckets that a deleted stack left are the new one's by the parameters that `teardown` prints."""
    operator = Operator(random.Random(0))  # noqa: S311 - only one choice
    operator.publish()
    operator.answer()
    before = dict(operator.used)
    operator.recreate()

    assert operator.used == before
    assert operator.environment()["MODEL_BUCKET"] == "mine-modelbucket-1"
    assert operator.environment()["RESULT_BUCKET"] == "mine-resultbucket-1"
    assert operator.account.owned == {}
    operator.wait_for_long()
    assert {key.split("/")[0] for _, key in operator.used} == {"models", "inputs"}


def test_the_walk_sees_a_rule_that_deletes_too_much():
    """A lifecycle without a prefix, as the template once had it, is found."""
    operator = Operator(random.Random(0))  # noqa: S311 - nothing is chosen
    operator.answer()
    bucket = operator.account.buckets[operator.environment()["RESULT_BUCKET"]]
    [results] = [rule for rule in bucket.rules if rule["Id"] == "results"]
    bucket.rules = [{**rule, "Prefix": ""} if rule is results else rule for rule in bucket.rules]

    with pytest.raises(AssertionError, match="has gone"):
        operator.wait_for_long()


@pytest.mark.parametrize(
    "change",
    [
        {"ModelName": "en-es-ct2-int8", "Engine": "ctranslate2"},
        {"ModelBucketName": "theirs", "KmsKeyArn": f"{KEY}1"},
        {"ResultBucketName": "ours"},
        {"ModelStackName": "first"},
        {"Queue": "on"},
        {"Tracing": "on"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_one_change_there_and_back(change):
    """A change of model, bucket or key is safe in both directions, and leaves no policy behind."""
    account = Account()
    account.deploy(account.plan({}))
    before = {name.rstrip("0123456789") for name in account.policies}
    account.deploy(account.plan(change))
    account.deploy(account.plan({}))

    assert {name.rstrip("0123456789") for name in account.policies} == before


def test_the_model_sees_a_policy_that_goes_too_early():
    """Policies that are changed in place, as those of a role itself are, fail the walk."""
    account = Account()
    account.deploy(account.plan({}))
    stack = account.plan({"ResultBucketName": "ours"})
    for name, resource in stack.resources.items():
        if name == "ResultPolicy":
            resource["Properties"]["PolicyName"] = "results-mine-resultbucket-1"

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
        ModelName="m" * 31,
        ModelBucketName="b" * 63,
        ResultBucketName="c" * 63,
        KmsKeyArn=f"{KEY}1",
        Tracing="on",
    )

    names = [policy["PolicyName"] for policy in longest.all("IAM::RolePolicy")]
    assert len(names) == 2
    assert all(re.fullmatch(r"[\w+=,.@-]{1,128}", name) for name in names)
