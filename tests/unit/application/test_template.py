"""What template.yaml deploys, read after SAM's own transformation."""

import json
import os
import re
import subprocess
from unittest import mock

import pytest
from support.project import ROOT
from support.template import ACCOUNT, REGION, SAMCONFIG, SOURCE, Stack

from lambda_inference._hints import publish_command
from lambda_setup.functions import discover


def configured(environment: str) -> Stack:
    """Return the stack that an environment of samconfig.toml deploys."""
    settings = SAMCONFIG[environment]["global"]["parameters"]
    return Stack(
        name=settings["stack_name"],
        **dict(part.split("=") for part in settings["parameter_overrides"].split()),
    )


def granted(stack: Stack) -> set[tuple[str, str, str]]:
    """Return what the function's role may do, as actions, resources and conditions."""
    found = set()
    for policy in stack.role()["Policies"]:
        for statement in policy["PolicyDocument"]["Statement"]:
            assert statement["Effect"] == "Allow"
            actions = statement["Action"]
            for action in actions if isinstance(actions, list) else [actions]:
                assert isinstance(statement["Resource"], str)
                found.add((action, statement["Resource"], json.dumps(statement.get("Condition", {}))))
    return found


ROLE = {
    ("s3:GetObject", "arn:aws:s3:::ModelBucket/models/en-es/*", "{}"),
    ("s3:ListBucket", "arn:aws:s3:::ModelBucket", '{"StringLike": {"s3:prefix": "models/en-es/*"}}'),
    ("s3:GetObject", "arn:aws:s3:::ResultBucket/prediction_outputs/*", "{}"),
    ("s3:PutObject", "arn:aws:s3:::ResultBucket/prediction_outputs/*", "{}"),
    ("s3:GetObject", "arn:aws:s3:::ResultBucket/inputs/*", "{}"),
    ("logs:CreateLogStream", "FunctionLogGroup.Arn", "{}"),
    ("logs:PutLogEvents", "FunctionLogGroup.Arn", "{}"),
}
TRACES = {("xray:PutTelemetryRecords", "*", "{}"), ("xray:PutTraceSegments", "*", "{}")}
QUEUES = {
    ("sqs:DeleteMessage", "RequestQueue.Arn", "{}"),
    ("sqs:GetQueueAttributes", "RequestQueue.Arn", "{}"),
    ("sqs:ReceiveMessage", "RequestQueue.Arn", "{}"),
    ("sqs:SendMessage", "FailureQueue.Arn", "{}"),
}
KEY = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
PROD = f"arn:aws:iam::{ACCOUNT}:role/deploys-prod"
LAYER = "arn:aws:lambda:eu-central-1:999988887777:layer:mine:7"


class TestRole:
    """What the function may do."""

    def test_exactly(self):
        """The function reads its own model and inputs, writes and reads results, writes its log; no more."""
        assert granted(Stack()) == ROLE

    def test_traces(self):
        """Only a function that traces may write traces."""
        assert granted(Stack(Tracing="on")) == ROLE | TRACES

    def test_queues(self):
        """Only a function with a queue may take from it, and add to the failures; not the other way round."""
        assert granted(Stack(Queue="on")) == ROLE | QUEUES

    def test_given_buckets(self):
        """With buckets of somebody else's, the role names those, and the same prefixes in them."""
        role = granted(Stack(ModelName="other", ModelBucketName="theirs", ResultBucketName="ours"))

        assert {(action, resource) for action, resource, _ in role if action.startswith("s3:")} == {
            ("s3:GetObject", "arn:aws:s3:::theirs/models/other/*"),
            ("s3:ListBucket", "arn:aws:s3:::theirs"),
            ("s3:GetObject", "arn:aws:s3:::ours/prediction_outputs/*"),
            ("s3:PutObject", "arn:aws:s3:::ours/prediction_outputs/*"),
            ("s3:GetObject", "arn:aws:s3:::ours/inputs/*"),
        }

    def test_nothing_beside(self):
        """There is one role, without managed policies, which only Lambda can take on."""
        role = Stack(Tracing="on", FunctionUrl="on", Queue="on").one("IAM::Role")

        assert "ManagedPolicyArns" not in role
        (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
        assert trust["Principal"] == {"Service": "lambda.amazonaws.com"}

    def test_log(self):
        """The log that the function may write is the one it writes."""
        assert Stack().function["LoggingConfig"] == {
            "LogFormat": "JSON",
            "LogGroup": "FunctionLogGroup",
        }


class TestPublic:
    """Nothing is open to the world."""

    @pytest.mark.parametrize("switch", ["on", "off"])
    def test_no_open_grant(self, switch):
        """No policy and no permission allows anybody outside the account anything."""
        stack = Stack(FunctionUrl=switch, Queue=switch)

        for policy in stack.all("S3::BucketPolicy") + stack.all("SQS::QueuePolicy"):
            assert {statement["Effect"] for statement in policy["PolicyDocument"]["Statement"]} == {"Deny"}
        assert {permission["Principal"] for permission in stack.all("Lambda::Permission")} <= {ACCOUNT}

    def test_buckets(self):
        """Both buckets are encrypted, owned by the account alone, and block public access in every way."""
        buckets = Stack().all("S3::Bucket")

        assert len(buckets) == 2
        for bucket in buckets:
            assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
            assert len(bucket["PublicAccessBlockConfiguration"]) == 4
            assert bucket["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
            (rule,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
            assert rule["ServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"

    def test_tls_only(self):
        """Both buckets refuse every request that is not encrypted."""
        policies = {
            policy["Bucket"]: policy["PolicyDocument"]["Statement"]
            for policy in Stack().all("S3::BucketPolicy")
        }

        assert policies.keys() == {"ModelBucket", "ResultBucket"}
        for bucket, (statement,) in policies.items():
            assert statement == {
                "Sid": "EncryptedTransportOnly",
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:*",
                "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            }

    def test_prod(self):
        """Where a role is named, everybody else is denied to move or delete the channel prod, and no more."""
        policies = Stack(ProdRoleArn=PROD).all("S3::BucketPolicy")
        (models,) = (policy for policy in policies if policy["Bucket"] == "ModelBucket")
        _, statement = models["PolicyDocument"]["Statement"]

        assert statement == {
            "Sid": "OneRoleMovesProd",
            "Effect": "Deny",
            "Principal": "*",
            "Action": ["s3:DeleteObject", "s3:DeleteObjectVersion", "s3:PutObject"],
            "Resource": "arn:aws:s3:::ModelBucket/models/*/channels/prod.json",
            "Condition": {"ArnNotEquals": {"aws:PrincipalArn": PROD}},
        }

    def test_url(self):
        """The function's address takes signed requests only, and grants both permissions of a call."""
        stack = Stack(FunctionUrl="on")

        assert stack.one("Lambda::Url") == {
            "AuthType": "AWS_IAM",
            "TargetFunctionArn": "TranslationFunctionAliaslive",
        }
        alias = {"FunctionName": "TranslationFunctionAliaslive", "Principal": ACCOUNT}
        assert stack.all("Lambda::Permission") == [
            {"Action": "lambda:InvokeFunctionUrl", "FunctionUrlAuthType": "AWS_IAM", **alias},
            {"Action": "lambda:InvokeFunction", "InvokedViaFunctionUrl": True, **alias},
        ]

    def test_no_url(self):
        """Unless asked for, there is no address."""
        stack = Stack()

        assert not stack.all("Lambda::Url") + stack.all("Lambda::Permission")
        assert "FunctionUrl" not in stack.outputs


class TestKey:
    """Given buckets with a KMS key of the owner's."""

    USE = '{"StringEquals": {"kms:ViaService": "s3.eu-central-1.amazonaws.com"}}'

    def test_granted(self):
        """The function and the state machine may use the key for S3, and nothing more."""
        stack = Stack(KmsKeyArn=KEY, BucketName="ours", Batch="on")
        more = {("kms:Decrypt", KEY, self.USE), ("kms:GenerateDataKey", KEY, self.USE)}

        assert granted(stack) - granted(Stack(BucketName="ours")) == more
        assert [policy for policy in stack.role("BatchRole")["Policies"] if "key" in policy["PolicyName"]]

    def test_not_granted(self):
        """Without a key there is no such policy."""
        assert "kms" not in json.dumps(Stack(Batch="on").all("IAM::RolePolicy"))


PARTITIONS = [
    ("aws", "eu-central-1", "amazonaws.com", None),
    ("aws-us-gov", "us-gov-west-1", "amazonaws.com", None),
    ("aws-cn", "cn-north-1", "amazonaws.com.cn", "https://s3.cn-north-1.amazonaws.com.cn"),
    ("aws-eusc", "eusc-de-east-1", "amazonaws.eu", "https://s3.eusc-de-east-1.amazonaws.eu"),
]


class TestPartitions:
    """Nothing names the partition that the template is not in."""

    @pytest.mark.parametrize(("partition", "region", "suffix", "endpoint"), PARTITIONS)
    def test_endpoint(self, partition, region, suffix, endpoint):
        """The function gets S3's address where its client would spell another one."""
        stack = Stack(pseudo={"AWS::Partition": partition, "AWS::Region": region, "AWS::URLSuffix": suffix})

        assert stack.environment.get("AWS_ENDPOINT_URL_S3") == endpoint

    @pytest.mark.parametrize(
        ("parameter", "host"),
        [("fips", "s3-fips"), ("dualstack", "s3.dualstack"), ("fips-dualstack", "s3-fips.dualstack")],
    )
    def test_other_endpoints(self, parameter, host):
        """FIPS and dual-stack endpoints are the function's where they are asked for."""
        found = Stack(S3Endpoint=parameter).environment["AWS_ENDPOINT_URL_S3"]

        assert found == f"https://{host}.eu-central-1.amazonaws.com"

    def test_arns(self):
        """Every ARN that the template or the state machine spells has the stack's partition."""
        pseudo = {
            "AWS::Partition": "aws-cn",
            "AWS::Region": "cn-north-1",
            "AWS::URLSuffix": "amazonaws.com.cn",
        }
        stack = Stack(pseudo=pseudo, Batch="on", Queue="on", Tracing="on")
        spelled = json.dumps([stack.resources, stack.outputs]).replace("arn:aws:lambda", "").replace(
            "arn:aws:s3:::ModelBucket", "").replace("arn:aws:s3:::ResultBucket", "")  # fmt: skip
        machine = (ROOT / "statemachines" / "translate_corpus.asl.json").read_text()

        assert "arn:aws:" not in spelled
        assert "arn:aws-cn:s3:::" in spelled
        assert "arn:aws:" not in machine
        (found,) = stack.all("StepFunctions::StateMachine")
        assert found["DefinitionSubstitutions"]["Partition"] == "aws-cn"


class TestBuckets:
    """Where models and results are."""

    def test_lifecycle(self):
        """Models are versioned and do not expire, and what was deleted leaves no marker behind."""
        models = Stack().resources["ModelBucket"]["Properties"]
        replaced, _ = models["LifecycleConfiguration"]["Rules"]

        assert models["VersioningConfiguration"] == {"Status": "Enabled"}
        assert replaced["ExpiredObjectDeleteMarker"] is True
        assert not [rule for rule in models["LifecycleConfiguration"]["Rules"] if "ExpirationInDays" in rule]

    @pytest.mark.parametrize(
        ("parameters", "expiring"),
        [
            ({"ResultExpirationDays": 3}, {"prediction_outputs/": 3}),
            ({"InputExpirationDays": 0}, {"prediction_outputs/": 30}),
            (
                {"InputExpirationDays": 90},
                {"prediction_outputs/": 30, "inputs/corpora/": 90, "inputs/batches/": 90},
            ),
        ],
    )
    def test_expiry(self, parameters, expiring):
        """Results expire, corpora and indexes only where somebody says so, and what users put there never."""
        rules = Stack(**parameters).resources["ResultBucket"]["Properties"]["LifecycleConfiguration"]["Rules"]
        found = [rule for rule in rules if "ExpirationInDays" in rule and rule["Status"] == "Enabled"]

        assert {rule["Prefix"]: rule["ExpirationInDays"] for rule in found} == expiring

    @pytest.mark.parametrize("bucket", ["ModelBucket", "ResultBucket"])
    def test_kept(self, bucket):
        """Deleting the stack keeps what is in a bucket; a stack that could not be created leaves none."""
        resource = Stack().resources[bucket]

        assert resource["DeletionPolicy"] == "RetainExceptOnCreate"
        assert resource["UpdateReplacePolicy"] == "Retain"

    @pytest.mark.parametrize(
        ("parameters", "models", "results"),
        [
            ({}, "ModelBucket", "ResultBucket"),
            ({"BucketName": "one"}, "one", "one"),
            ({"ModelBucketName": "theirs"}, "theirs", "ResultBucket"),
            ({"ModelStackName": "first"}, "ModelBucketName of first", "ResultBucket"),
            ({"ResultBucketName": "ours"}, "ModelBucket", "ours"),
            ({"ModelBucketName": "theirs", "ResultBucketName": "ours"}, "theirs", "ours"),
        ],
    )
    def test_names(self, parameters, models, results):
        """The function and the outputs name the same buckets, and only what is not given is created."""
        stack = Stack(**parameters)

        assert (stack.environment["MODEL_BUCKET"], stack.environment["RESULT_BUCKET"]) == (models, results)
        assert (stack.outputs["ModelBucketName"], stack.outputs["ResultBucketName"]) == (models, results)
        created = {name for name, each in stack.resources.items() if each["Type"] == "AWS::S3::Bucket"}
        assert created == {"ModelBucket", "ResultBucket"} & {models, results}
        assert {policy["Bucket"] for policy in stack.all("S3::BucketPolicy")} == created

    @pytest.mark.parametrize(
        "parameters",
        [
            {"BucketName": "one", "ModelBucketName": "theirs"},
            {"BucketName": "one", "ModelStackName": "first"},
            {"BucketName": "one", "ResultBucketName": "ours"},
            {"ModelStackName": "first", "ModelBucketName": "theirs"},
        ],
    )
    def test_contradictions(self, parameters):
        """Parameters that contradict each other are refused before anything is made, by their names."""
        (description,) = Stack(**parameters).refused()

        assert all(name in description for name in parameters)

    def test_no_contradictions(self):
        """Parameters that agree are accepted."""
        assert not Stack(ModelBucketName="theirs", ResultBucketName="ours").refused()
        assert not Stack(BucketName="one").refused()
        assert not Stack().refused()


class TestQueues:
    """A queue in front of the function, and one for what failed."""

    def test_only_when_asked_for(self):
        """Without the parameter there is no queue, nothing that reads one, and no output of one."""
        stack = Stack()

        for kind in ("Queue", "QueuePolicy"):
            assert stack.all(f"SQS::{kind}") == []
        for kind in ("EventSourceMapping", "EventInvokeConfig"):
            assert stack.all(f"Lambda::{kind}") == []
        assert not [name for name in stack.outputs if "Queue" in name]

    def test_the_function_is_the_same(self):
        """The queue changes nothing of the function."""
        assert Stack(Queue="on").function == Stack().function

    def test_requests(self):
        """The alias answers what is in the queue, message by message, at the pace that the parameters say."""
        stack = Stack(Queue="on", QueueBatchSize=1, QueueConcurrency=40)

        assert stack.one("Lambda::EventSourceMapping") == {
            "EventSourceArn": "RequestQueue.Arn",
            "FunctionName": "TranslationFunctionAliaslive",
            "BatchSize": 1,
            "FunctionResponseTypes": ["ReportBatchItemFailures"],
            "ScalingConfig": {"MaximumConcurrency": 40},
        }

    def test_asynchronous(self):
        """What the alias could not answer asynchronously, after two retries, goes to the failure queue."""
        stack = Stack(Queue="on")

        assert stack.resources["AsynchronousRequests"]["DependsOn"] == [
            "TranslationFunctionAliaslive",
            "QueuePolicy",
        ]
        assert stack.one("Lambda::EventInvokeConfig") == {
            "FunctionName": "TranslationFunction",
            "Qualifier": stack.one("Lambda::Alias")["Name"],
            "MaximumRetryAttempts": 2,
            "MaximumEventAgeInSeconds": 21600,
            "DestinationConfig": {"OnFailure": {"Destination": "FailureQueue.Arn"}},
        }

    def test_dead_letters(self):
        """A message that was received five times, AWS's least for a function, goes to the failure queue."""
        requests = Stack(Queue="on").resources["RequestQueue"]["Properties"]

        assert requests["RedrivePolicy"] == {"deadLetterTargetArn": "FailureQueue.Arn", "maxReceiveCount": 5}

    @pytest.mark.parametrize("timeout", [10, 120, 900])
    def test_hidden_while_answered(self, timeout):
        """A message stays hidden for at least six times the function's timeout, as SQS allows.

        The advice: https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
        """
        requests = Stack(Queue="on", Timeout=timeout).resources["RequestQueue"]["Properties"]

        assert 6 * timeout <= int(requests["VisibilityTimeout"]) <= 43200

    def test_time_to_look(self):
        """What fails on its last day in the queue is kept for a week: a message's age goes with it."""
        stack = Stack(Queue="on")
        requests, failures = (
            stack.resources[name]["Properties"]["MessageRetentionPeriod"]
            for name in ("RequestQueue", "FailureQueue")
        )

        assert failures - requests == 7 * 86400
        assert failures <= 1209600  # SQS's most

    def test_private(self):
        """Both queues are encrypted, and refuse every request that is not."""
        stack = Stack(Queue="on")
        policies = {
            policy["Queues"][0]: policy["PolicyDocument"]["Statement"]
            for policy in stack.all("SQS::QueuePolicy")
        }

        assert [queue["SqsManagedSseEnabled"] for queue in stack.all("SQS::Queue")] == [True, True]
        assert policies == {
            queue: [
                {
                    "Sid": "EncryptedTransportOnly",
                    "Effect": "Deny",
                    "Principal": "*",
                    "Action": "sqs:*",
                    "Resource": f"{queue}.Arn",
                    "Condition": {"Bool": {"aws:SecureTransport": "false"}},
                }
            ]
            for queue in ("RequestQueue", "FailureQueue")
        }

    def test_outputs(self):
        """The operator is told where to send, and where to look for what failed."""
        found = Stack(Queue="on").outputs

        assert (found["RequestQueueUrl"], found["FailureQueueUrl"]) == ("RequestQueue", "FailureQueue")


class TestEnvironments:
    """The environments of samconfig.toml."""

    def test_dev_and_prod_share_models(self):
        """Prod reads the bucket that dev creates, by the other channel, and has its own for results."""
        dev, prod = configured("dev"), configured("prod")

        assert dev.environment["MODEL_BUCKET"] == "ModelBucket"
        assert prod.environment["MODEL_BUCKET"] == f"ModelBucketName of {dev.name}"
        assert "Fn::ImportValue" not in json.dumps(prod.template)
        assert (dev.environment["MODEL_CHANNEL"], prod.environment["MODEL_CHANNEL"]) == ("dev", "prod")
        assert dev.environment["MODEL_NAME"] == prod.environment["MODEL_NAME"]
        assert "ModelBucket" not in prod.resources
        assert prod.environment["RESULT_BUCKET"] == "ResultBucket"
        assert dev.name != prod.name

    @pytest.mark.parametrize("environment", ["default", "dev", "prod", "x86"])
    def test_built_as_deployed(self, environment):
        """Build and deploy get engine and architecture from one place, and from no other."""
        settings = SAMCONFIG[environment]
        shared = settings["global"]["parameters"]["parameter_overrides"]

        assert {part.split("=")[0] for part in shared.split()} >= {"Engine", "Architecture"}
        assert [
            command for command, table in settings.items() if "parameter_overrides" in table["parameters"]
        ] == ["global"]
        assert not configured(environment).refused()

    def test_architectures(self):
        """All environments are for arm64 but the one that is named for the other."""
        found = {
            name: configured(name).function["Architectures"] for name in ("default", "dev", "prod", "x86")
        }

        assert found == {"default": ["arm64"], "dev": ["arm64"], "prod": ["arm64"], "x86": ["x86_64"]}


ENVIRONMENT = ("Environment", "Variables")


class TestParameters:
    """Every parameter reaches what it names."""

    @pytest.mark.parametrize(
        ("parameter", "value", "kind", "path", "expected"),
        [
            ("Engine", "ctranslate2", "Lambda::Function", (*ENVIRONMENT, "ENGINE"), "ctranslate2"),
            ("Architecture", "x86_64", "Lambda::Function", ("Architectures",), ["x86_64"]),
            ("ModelName", "en-de", "Lambda::Function", (*ENVIRONMENT, "MODEL_NAME"), "en-de"),
            ("Channel", "prod", "Lambda::Function", (*ENVIRONMENT, "MODEL_CHANNEL"), "prod"),
            ("MemorySize", 3008, "Lambda::Function", ("MemorySize",), 3008),
            ("Timeout", 900, "Lambda::Function", ("Timeout",), 900),
            ("EphemeralStorage", 2048, "Lambda::Function", ("EphemeralStorage", "Size"), 2048),
            ("Tracing", "on", "Lambda::Function", ("TracingConfig", "Mode"), "Active"),
            ("Tracing", "off", "Lambda::Function", ("TracingConfig", "Mode"), "PassThrough"),
            ("LogRetentionDays", 7, "Logs::LogGroup", ("RetentionInDays",), 7),
            ("LambdaLayerArn", LAYER, "Lambda::Function", ("Layers", 0), LAYER),
        ],
    )
    def test_reaches(self, parameter, value, kind, path, expected):
        """A parameter's value arrives where it belongs."""
        found = Stack(**{parameter: value}).one(kind)
        for key in path:
            found = found[key]

        assert found == expected

    def test_all_have_defaults(self):
        """A deployment needs no parameter but what samconfig.toml already has."""
        assert [name for name, parameter in SOURCE["Parameters"].items() if "Default" not in parameter] == []

    def test_environment(self):
        """The function is told its stack, model, buckets and engine, and nothing of this machine."""
        assert Stack(name="mine").environment == {
            "ENGINE": "opennmt",
            "MODEL_BUCKET": "ModelBucket",
            "MODEL_NAME": "en-es",
            "MODEL_CHANNEL": "dev",
            "MODEL_REFRESH_SECONDS": "60",
            "MODEL_SWAP": "beside",
            "RESULT_BUCKET": "ResultBucket",
            "STACK_NAME": "mine",
            "POWERTOOLS_SERVICE_NAME": "mine",
            "POWERTOOLS_METRICS_NAMESPACE": "LambdaInference",
            "POWERTOOLS_LOG_LEVEL": "INFO",
        }

    @pytest.mark.parametrize("architecture", ["arm64", "x86_64"])
    @pytest.mark.parametrize("engine", sorted({engine for one in discover() for engine in one.engines}))
    def test_layer_target(self, engine, architecture, tmp_path):
        """For each engine and architecture there is a target, which builds just that."""
        uri = SOURCE["Resources"]["DependencyLayer"]["Properties"]["ContentUri"]
        folder = ROOT / Stack(Engine=engine, Architecture=architecture).value(uri)
        builder = tmp_path / "python"
        builder.write_text('#!/bin/sh\necho "$@"\ntest "$1" = -c\n')
        builder.chmod(0o755)

        commands = subprocess.run(
            ["/usr/bin/env", "make", "--makefile", folder / "Makefile", "build-DependencyLayer",
             f"ARTIFACTS_DIR={tmp_path}", f"PYTHON={builder}"],
            capture_output=True, text=True, check=False,
        ).stdout  # fmt: skip
        assert f"-m layer build {engine} --target python3.13-{architecture}\n" in commands

    def test_layer_given(self):
        """With a published layer none is deployed, and next to nothing is built."""
        stack = Stack(LambdaLayerArn=LAYER)

        uri = SOURCE["Resources"]["DependencyLayer"]["Properties"]["ContentUri"]
        assert stack.value(uri) == "layer/recipes/parts/none"
        assert [layer["LayerName"] for layer in stack.all("Lambda::LayerVersion")] == [
            "lambda-inference-arm64"
        ]


class TestVersion:
    """The alias follows every change, because every change publishes a version."""

    @pytest.mark.parametrize("resource", ["TranslationFunction", "DependencyLayer", "LambdaInferenceLayer"])
    def test_new_content(self, resource):
        """Another code publishes a version, and so does a layer in which alone something changed."""
        assert Stack({resource: "changed"}).version != Stack().version

    @pytest.mark.parametrize(
        "change",
        [
            {"Engine": "ctranslate2"},
            {"Architecture": "x86_64"},
            {"PythonVersion": "3.11"},
            {"ModelName": "en-de"},
            {"Channel": "prod"},
            {"LambdaLayerArn": LAYER},
            {"BucketName": "one"},
            {"ModelBucketName": "theirs"},
            {"ModelStackName": "first"},
            {"ResultBucketName": "ours"},
            {"MemorySize": 3008},
            {"Timeout": 900},
            {"EphemeralStorage": 2048},
            {"Tracing": "on"},
            {"SnapStart": "on"},
            {"ModelRefreshSeconds": "5"},
            {"ModelSwap": "instead"},
            {"Release": "2"},
            {"S3Endpoint": "fips"},
        ],
        ids=lambda change: next(iter(change)),
    )
    def test_new_parameter(self, change):
        """A parameter that changes the function publishes a version of it."""
        assert Stack(**change).version != Stack().version

    @pytest.mark.parametrize(
        "change",
        [
            {"LogRetentionDays": 7},
            {"FunctionUrl": "on"},
            {"Batch": "on"},
            {"BatchConcurrency": 7},
            {"BatchToleratedFailurePercentage": 7},
            {"Queue": "on"},
            {"QueueBatchSize": 1},
            {"QueueConcurrency": 40},
            {"ResultExpirationDays": 3},
            {"InputExpirationDays": 3},
            {"ProdRoleArn": PROD},
            {"KmsKeyArn": KEY},
            {"CodeFolder": "examples/spacy_function"},  # the code that lies there is what counts
        ],
    )
    def test_same_function(self, change):
        """What leaves the function as it is publishes nothing: Lambda would refuse a second version of it."""
        assert Stack(**change).version == Stack().version

    def test_all_parameters_considered(self):
        """Every parameter is known either to change the function or not to."""
        marks = [*self.test_new_parameter.pytestmark, *self.test_same_function.pytestmark]
        known = {name for mark in marks for change in mark.args[1] for name in change}

        assert known == SOURCE["Parameters"].keys()

    def test_codes(self):
        """Values that have a code of one character have another one each."""
        for mapping, parameter in (("Channels", "Channel"), ("Pythons", "PythonVersion"),
                                   ("S3Endpoints", "S3Endpoint")):  # fmt: skip
            codes = {value: entry["Code"] for value, entry in SOURCE["Mappings"][mapping].items()}
            assert codes.keys() == set(SOURCE["Parameters"][parameter]["AllowedValues"])
            assert len(set(codes.values())) == len(codes)
            assert {len(code) for code in codes.values()} == {1}

    def test_versions_go(self):
        """CloudFormation deletes a version that the alias has left, with its snapshot."""
        resource = Stack().resources[Stack().version[0]]

        assert (resource["Type"], resource["DeletionPolicy"]) == ("AWS::Lambda::Version", "Delete")

    def test_longest_description(self):
        """The longest values that the parameters allow stay within the 256 characters of a description."""
        longest = Stack(
            Engine="e" * 16,
            Architecture="x86_64",
            ModelName="m" * 31,
            Channel="prod",
            LambdaLayerArn=f"arn:aws:lambda:{REGION}:{ACCOUNT}:layer:{'l' * 32}:99999",
            ModelBucketName="b" * 63,
            ResultBucketName="c" * 63,
            MemorySize=10240,
            Timeout=900,
            EphemeralStorage=10240,
            Tracing="off",
            SnapStart="off",
            ModelRefreshSeconds="3600",
            ModelSwap="instead",
            Release="r" * 6,
            S3Endpoint="fips-dualstack",
        )
        for name, value in longest.parameters.items():
            if pattern := SOURCE["Parameters"][name].get("AllowedPattern"):
                assert re.fullmatch(pattern, value)
                assert (
                    name in {"ModelStackName", "CodeFolder", "KmsKeyArn", "ProdRoleArn"}
                    or not value
                    or not re.fullmatch(pattern, value + "0")
                )

        description = longest.version[1]
        own = re.search(r"[0-9]+$", description).group()  # of the function's own layer
        assert len(description) - len(own) + len("99999") <= 256

    def test_alias(self):
        """The alias that callers use points to the version that was published."""
        stack = Stack()

        alias = stack.one("Lambda::Alias")
        assert (alias["Name"], alias["FunctionVersion"]) == ("live", f"{stack.version[0]}.Version")


class TestOutputs:
    """What the operator reads after a deployment."""

    @pytest.mark.parametrize(
        ("channel", "verb"), [("dev", "publish models/en-de"), ("prod", "promote en-de")]
    )
    def test_publish_command(self, channel, verb):
        """The stack prints the command that the function's own 503 names: it fills the function's channel."""
        stack = Stack(name="mine", ModelName="en-de", Channel=channel)
        with mock.patch.dict(os.environ, stack.environment | {"AWS_REGION": REGION}):
            assert stack.outputs["PublishCommand"] == publish_command()
        assert stack.outputs["PublishCommand"] == (
            f"python -m lambda_setup model {verb} --stack mine --region {REGION}"
        )

    def test_invoke_command(self):
        """The stack prints a command that sends the example event to the alias."""
        assert Stack(name="mine").outputs["InvokeCommand"] == (
            "sam remote invoke TranslationFunction --stack-name mine --region eu-central-1 "
            "--parameter Qualifier=live --event-file events/event.json"
        )

    def test_others(self):
        """The stack names its function, alias, buckets, log and address."""
        found = Stack(FunctionUrl="on").outputs

        assert {name: found[name] for name in found if not name.endswith("Command")} == {
            "FunctionName": "TranslationFunction",
            "FunctionAliasArn": "TranslationFunctionAliaslive",
            "ModelBucketName": "ModelBucket",
            "ResultBucketName": "ResultBucket",
            "LogGroupName": "FunctionLogGroup",
            "FunctionUrl": "TranslationFunctionUrl.FunctionUrl",
        }


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # SAM's own
class TestLocally:
    """``sam local invoke`` beside ``make s3``."""

    @pytest.fixture
    def environment(self, monkeypatch):
        """Return what SAM gives the function on a machine whose owner is logged in to AWS with a session."""
        from samcli.commands.local.lib.local_lambda import LocalLambdaRunner
        from samcli.lib.providers.sam_function_provider import SamFunctionProvider
        from samcli.lib.providers.sam_stack_provider import SamLocalStackProvider

        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
            monkeypatch.setenv(name, "somebody's own")
        provider = SamFunctionProvider(SamLocalStackProvider.get_stacks(str(ROOT / "template.yaml"))[0])
        values = json.loads(
            (ROOT / SAMCONFIG["default"]["local_invoke"]["parameters"]["env_vars"]).read_text()
        )
        runner = LocalLambdaRunner(None, provider, str(ROOT), str(ROOT), env_vars_values=values)
        return runner._make_env_vars(provider.get("TranslationFunction")).resolve()

    def test_everything_arrives(self, environment):
        """Every name in events/env.json reaches the function, in place of the owner's own credentials."""
        values = json.loads((ROOT / "events" / "env.json").read_text())["TranslationFunction"]

        assert {name: environment[name] for name in values} == values
        assert "somebody's own" not in environment.values()

    def test_what_make_s3_serves(self):
        """The values in events/env.json are those of the S3 that ``make s3`` starts."""
        from lambda_setup.commands import servers
        from lambda_setup.deployment.local import application as stack

        values = json.loads((ROOT / "events" / "env.json").read_text())["TranslationFunction"]
        assert (values["AWS_ACCESS_KEY_ID"], values["AWS_SECRET_ACCESS_KEY"]) == (
            servers.ACCESS_KEY,
            servers.SECRET_KEY,
        )
        assert (values["MODEL_BUCKET"], values["RESULT_BUCKET"]) == (stack.MODEL_BUCKET, stack.RESULT_BUCKET)
        (host,) = SAMCONFIG["default"]["local_invoke"]["parameters"]["add_host"]
        assert values["AWS_ENDPOINT_URL_S3"] == f"http://{host.split(':')[0]}:8333"

    def test_nothing_unresolved(self, environment):
        """What events/env.json does not name is as it would be deployed."""
        assert environment["ENGINE"] == "opennmt"
        assert environment["MODEL_CHANNEL"] == "dev"
