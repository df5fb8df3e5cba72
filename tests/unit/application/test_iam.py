"""The policies in docs/how-to/iam, held against what commands and CloudFormation ask for.

The commands' calls are recorded on moto. What CloudFormation asks for in its caller's name stands in AWS's
registry of resource types, of which cfn-lint has a copy: the permissions of each type's handlers.
"""

import json
import re
import subprocess
from importlib.resources import files
from pathlib import Path

import boto3
import pytest
from moto import mock_aws
from moto.s3.models import MultipartChecksumBuilder, s3_backends
from support import cloud
from support.iam import FOLDER, VALUES, allows, load
from support.project import MODEL, SCRIPTS
from support.template import Stack

from lambda_setup.__main__ import main
from lambda_setup.models import moves
from lambda_setup.models.bucket import ModelBucket
from lambda_setup.models.upload import publish

REGION = VALUES["REGION"]
# Services and features that the template has no use for.
UNUSED = re.compile(
    r"(ec2|elasticfilesystem|s3files|s3tables|kms|codedeploy|firehose):|iam:.*(Group|User|Boundary)|"
    r"iam:(At|De)tachRolePolicy|logs:.*(Delivery|ResourcePolic)|s3:REST|lambda:PassCapacityProvider|"
    r"s3:(Create|Delete|Update).*MetadataTable|s3:UpdateBucketMetadata|s3:(Delete|PutObject)|s3:GetObject"
)
NAMES = {
    "lambda": ["arn:aws:lambda:eu-central-1:123456789012:function:mine-F",
               "arn:aws:lambda:eu-central-1:123456789012:layer:opennmt-arm64:1"],
    "iam": ["arn:aws:iam::123456789012:role/mine-FunctionRole-1"],
    "logs": ["arn:aws:logs:eu-central-1:123456789012:log-group:/aws/lambda/mine"],
    "s3": ["arn:aws:s3:::mine-modelbucket-1"],
    "sqs": ["arn:aws:sqs:eu-central-1:123456789012:mine-RequestQueue-1"],
    "states": ["arn:aws:states:eu-central-1:123456789012:stateMachine:BatchStateMachine-1"],
}  # fmt: skip
S3_ACTIONS = {
    "HeadObject": "s3:GetObject", "HeadBucket": "s3:ListBucket", "ListObjectsV2": "s3:ListBucket",
    "CreateMultipartUpload": "s3:PutObject", "UploadPart": "s3:PutObject",
    "CompleteMultipartUpload": "s3:PutObject",
}  # fmt: skip


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.json")), ids=lambda path: path.stem)
def test_form(path):
    """They are policies whose statements have names, and which fit into an inline policy."""
    policy = json.loads(path.read_text())

    assert policy["Version"] == "2012-10-17"
    assert len({statement["Sid"] for statement in policy["Statement"]}) == len(policy["Statement"])
    assert {statement["Effect"] for statement in policy["Statement"]} == {"Allow"}
    assert len(re.sub(r"\s", "", path.read_text())) < 10_240


def handlers(kind: str) -> set[str]:
    """Return the permissions that CloudFormation asks for a resource type."""
    folder = files("cfnlint") / "data" / "schemas"
    digest = json.loads((folder / "providers" / "us-east-1.json").read_text())[kind]
    schema = json.loads((folder / "resources" / f"{digest}.json").read_text())
    return {action for handler in schema["handlers"].values() for action in handler["permissions"]}


def test_the_deployer_may_make_every_resource():
    """CloudFormation makes, changes and deletes each resource of the template in the deployer's name."""
    stack = Stack(Queue="on", Batch="on", FunctionUrl="on", Tracing="on", KmsKeyArn="arn:aws:kms:e:1:key/1")
    kinds = {resource["Type"] for resource in stack.resources.values()}
    asked = {action for kind in kinds for action in handlers(kind) if not UNUSED.match(action)}
    policy = load("deployer")

    assert [
        action
        for action in sorted(asked)
        if not any(allows(policy, action, name) for name in NAMES[action.split(":")[0]])
    ] == []


def test_who_deploys_reads_no_results_and_moves_no_model():
    """The deployer's policy gives nothing of what is in the buckets."""
    for action in ("s3:GetObject", "s3:PutObject", "s3:DeleteObject"):
        assert not allows(load("deployer"), action, "arn:aws:s3:::mine-modelbucket-1/models/m/channels/x")


def lint(policies: dict[str, dict], folder: Path) -> set[tuple[str, str]]:
    """Return the rules of cfn-lint that policies break, each with the policy's name."""
    resources = {
        name: {"Type": "AWS::IAM::ManagedPolicy", "Properties": {"PolicyDocument": policy}}
        for name, policy in policies.items()
    }
    path = folder / "template.json"
    path.write_text(json.dumps({"Resources": resources}))
    done = subprocess.run(
        [SCRIPTS / "cfn-lint", "--format", "json", "--", path], capture_output=True, text=True, check=False
    )
    return {(one["Rule"]["Id"], one["Location"]["Path"][1]) for one in json.loads(done.stdout)}


def test_the_linter_knows_every_action(tmp_path):
    """Each policy is one of IAM's, and names actions and resources that there are."""
    names = {path.stem for path in FOLDER.glob("*.json")} - {"github_trust"}
    policies = {name: {"Version": "2012-10-17", "Statement": load(name)} for name in sorted(names)}
    policies["misspelt"] = json.loads(json.dumps(policies["caller"]).replace("InvokeFunction", "Invoke"))
    policies["wrong"] = json.loads(json.dumps(policies["caller"]).replace("Effect", "Efect"))

    assert {name for _, name in lint(policies, tmp_path)} == {"misspelt", "wrong"}


@pytest.fixture
def calls(monkeypatch):
    """Yield S3's client of moto's account, and what its calls need: pairs of action and resource."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "any")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    found = set()

    def record(params, model, **_):
        name = params["Bucket"] + (f"/{params['Key']}" if "Key" in params else "")
        action = S3_ACTIONS.get(model.name, f"s3:{model.name}")
        found.add((action, f"arn:aws:s3:::{name}"))

    monkeypatch.setattr(MultipartChecksumBuilder, "build", cloud.composite_checksum)
    with mock_aws():
        client = boto3.client("s3", region_name=REGION)
        location = {"LocationConstraint": REGION}
        client.create_bucket(Bucket=VALUES["MODEL_BUCKET"], CreateBucketConfiguration=location)
        client.meta.events.register("provide-client-params.s3", record)
        yield client, found


def test_publisher(calls):
    """Who publishes may do what `model publish` asks S3 for, and not move prod."""
    client, found = calls
    publish(MODEL, client, VALUES["MODEL_BUCKET"])
    policy = load("publisher")

    assert {action for action, _ in found} >= {"s3:GetObject", "s3:PutObject"}
    assert [one for one in sorted(found) if not allows(policy, *one)] == []
    assert not allows(policy, "s3:PutObject", "arn:aws:s3:::mine-models/models/en-es/channels/prod.json")


def test_promoter(calls, monkeypatch):
    """Who promotes may move prod, and write nothing else."""
    client, found = calls
    publish(MODEL, client, VALUES["MODEL_BUCKET"])
    pointer = f"{VALUES['MODEL_BUCKET']}/models/en-es/channels/prod.json"
    monkeypatch.setattr(moves, "run_smoke_test", lambda *_: [])
    found.clear()
    bucket = ModelBucket(client, VALUES["MODEL_BUCKET"])
    assert moves.promote(bucket, "en-es", lambda *_: None)["moved"]
    with pytest.raises(Exception, match="has not moved"):
        moves.rollback(bucket, "en-es", "prod")
    assert ("s3:PutObject", f"arn:aws:s3:::{pointer}") in found
    policy = load("promoter")

    assert [one for one in sorted(found) if not allows(policy, *one)] == []
    assert allows(policy, "s3:PutObject", f"arn:aws:s3:::{pointer}")
    assert not allows(policy, "s3:PutObject", f"arn:aws:s3:::{pointer.replace('prod', 'dev')}")
    assert not allows(policy, "s3:PutObject", "arn:aws:s3:::mine-models/models/en-es/versions/1/en-es.pt")


def test_remover(monkeypatch):
    """Who deploys and may empty a stack's buckets may tear it down; without the second he may not."""
    template = {
        "Parameters": {
            name: {"Type": "String", "Default": ""} for name in ("Engine", "ModelName", "Channel")
        },
        "Resources": {"Topic": {"Type": "AWS::SNS::Topic"}},
    }
    with cloud.account() as account:
        for name, value in (account.environment | {"AWS_DEFAULT_REGION": REGION}).items():
            monkeypatch.setenv(name, value)
        s3 = account.client("s3")
        s3.create_bucket(Bucket="mine-models-1", CreateBucketConfiguration={"LocationConstraint": REGION})
        s3.put_object(Bucket="mine-models-1", Key="one", Body=b"1")
        tags = {"aws:cloudformation:stack-name": "mine", "aws:cloudformation:logical-id": "ModelBucket"}
        s3_backends[VALUES["ACCOUNT"]]["aws"].put_bucket_tagging("mine-models-1", tags)
        account.client("cloudformation").create_stack(StackName="mine", TemplateBody=json.dumps(template))
        account.calls.clear()
        assert main(["teardown", "--stack", "mine", "--yes"]) == 0
        asked = {(action, place) for _, action, place in account.calls}

    assert {action for action, _ in asked} >= {"s3:DeleteObject", "s3:ListBucketVersions", "s3:DeleteBucket"}
    deployer = load("deployer")
    assert [one for one in sorted(asked) if not allows([*deployer, *load("remover")], *one)] == []
    assert [one for one in sorted(asked) if not allows(deployer, *one)]
    assert not allows(load("remover"), "s3:DeleteObject", "arn:aws:s3:::theirs/one")


def test_trust():
    """A workflow of the environment is trusted by both forms of its repository's subject, and no other is."""
    (statement,) = json.loads((FOLDER / "github_trust.json").read_text())["Statement"]
    conditions = statement["Condition"]["StringEquals"]

    assert conditions["token.actions.githubusercontent.com:aud"] == "sts.amazonaws.com"
    assert conditions["token.actions.githubusercontent.com:sub"] == [
        "repo:OWNER@OWNER_ID/REPOSITORY@REPOSITORY_ID:environment:ENVIRONMENT",
        "repo:OWNER/REPOSITORY:environment:ENVIRONMENT",
    ]
    assert "*" not in json.dumps(statement)
