"""The function's role allows what the real function asks of the real S3, and nothing else.

Every request is written down between the two, turned into the permissions that S3 would ask for,
and held against the role in the transformed template.
"""

import copy
import json
import re
import shutil
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from support.events import case, cases
from support.permissions import Need, grants, to_list
from support.project import MODEL
from support.proxy import Exchange, Proxy, lost
from support.template import Stack as Deployed

from lambda_setup.deployment.local import Emulator, LocalDeployment
from lambda_setup.deployment.local.application import MODEL_BUCKET, RESULT_BUCKET
from lambda_setup.deployment.local.layers import build_layers
from lambda_setup.models.describe import describe
from lambda_setup.models.upload import publish

# What S3 asks for, from "Required permissions for Amazon S3 API operations"
# (https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html): the
# method and the query parameters that choose an operation. An operation that is not here fails
# the test by its name: look it up there and add it.
OBJECT_ACTIONS = {
    ("GET", ""): "s3:GetObject",
    ("HEAD", ""): "s3:GetObject",
    ("PUT", ""): "s3:PutObject",
    ("DELETE", ""): "s3:DeleteObject",
    ("GET", "versionId"): "s3:GetObjectVersion",
    ("HEAD", "versionId"): "s3:GetObjectVersion",
    ("DELETE", "versionId"): "s3:DeleteObjectVersion",
    ("POST", "uploads"): "s3:PutObject",  # CreateMultipartUpload
    ("PUT", "partNumber uploadId"): "s3:PutObject",  # UploadPart
    ("POST", "uploadId"): "s3:PutObject",  # CompleteMultipartUpload
    ("DELETE", "uploadId"): "s3:AbortMultipartUpload",
    ("GET", "uploadId"): "s3:ListMultipartUploadParts",
}
BUCKET_ACTIONS = {
    ("GET", ""): "s3:ListBucket",
    ("GET", "list-type"): "s3:ListBucket",  # ListObjectsV2
    ("HEAD", ""): "s3:ListBucket",
    ("GET", "location"): "s3:GetBucketLocation",
    ("GET", "uploads"): "s3:ListBucketMultipartUploads",
}
NO_OPERATION = {
    "x-id",
    "prefix",
    "delimiter",
    "max-keys",
    "continuation-token",
    "start-after",
    "encoding-type",
}

# Headers by which a write asks for more (the same page, at PutObject). If-None-Match asks for
# nothing more; others that change what a request is are not known here, and fail by their name.
HEADER_ACTIONS = {
    "x-amz-acl": "s3:PutObjectAcl",
    "x-amz-tagging": "s3:PutObjectTagging",
    "x-amz-object-lock-mode": "s3:PutObjectRetention",
    "x-amz-object-lock-legal-hold": "s3:PutObjectLegalHold",
}
PLAIN_HEADERS = re.compile(
    r"(?!x-amz-|if-match)|x-amz-(date|content-sha256|security-token|meta-.*|checksum-.*|sdk-.*|user-agent)$"
)

# What never passes the proxy: Lambda itself asks for it, in the name of the function's role. The
# keys of buckets and queues are S3's and SQS's own, not KMS's.
WRITES_LOGS = "Lambda writes what the function prints into the log group that the template makes"
SENDS_TRACES = "Lambda sends its traces, which know no resources"
# https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html, "Setting up execution role
# permissions", has these three; invocation-async-retain-records.html, "Adding a destination", the last.
READS_QUEUE = "Lambda takes messages from the queue, deletes what was answered, and looks how many there are"
SENDS_FAILURES = "Lambda records asynchronous invocations that failed"
BESIDE_S3 = {
    ("logs:CreateLogStream", "FunctionLogGroup.Arn"): WRITES_LOGS,
    ("logs:PutLogEvents", "FunctionLogGroup.Arn"): WRITES_LOGS,
}
BESIDE_S3_IF = {
    "Tracing": {
        ("xray:PutTraceSegments", "*"): SENDS_TRACES,
        ("xray:PutTelemetryRecords", "*"): SENDS_TRACES,
    },
    "Queue": {
        ("sqs:ReceiveMessage", "RequestQueue.Arn"): READS_QUEUE,
        ("sqs:DeleteMessage", "RequestQueue.Arn"): READS_QUEUE,
        ("sqs:GetQueueAttributes", "RequestQueue.Arn"): READS_QUEUE,
        ("sqs:SendMessage", "FailureQueue.Arn"): SENDS_FAILURES,
    },
}


def needs(exchange: Exchange, buckets: dict[str, str]) -> set[Need]:
    """Return what S3 asks for before it answers a request, to buckets under other names."""
    url = urlsplit(exchange.target)
    bucket, _, key = unquote(url.path).removeprefix("/").partition("/")
    bucket_arn = f"arn:aws:s3:::{buckets[bucket]}"
    query = dict(parse_qsl(url.query, keep_blank_values=True))
    operation = (exchange.method, " ".join(sorted(query.keys() - NO_OPERATION)))
    if not key:
        return {Need(BUCKET_ACTIONS[operation], bucket_arn, query.get("prefix"))}
    found = {Need(OBJECT_ACTIONS[operation], f"{bucket_arn}/{key}")}
    for header in exchange.headers:
        if not PLAIN_HEADERS.match(header):
            found.add(Need(HEADER_ACTIONS[header], f"{bucket_arn}/{key}"))
    # The function takes a 403 of its results for a 404; test_faults.py has that.
    if exchange.status == 404 and bucket != RESULT_BUCKET:
        # Who may not list gets a 403 for what is not there (API_GetObject.html, "Permissions"). The
        # listing that is meant has the key as its prefix: ceph/ceph#68577 does it as AWS does.
        found.add(Need("s3:ListBucket", bucket_arn, key))
    return found


def compared(role: dict, needed: set[Need]) -> list[str]:
    """Return what a role lacks and what it has too much; empty when it is as it should be."""
    granted = grants(role)
    missing = {need for need in needed if not any(grant.covers(need) for grant in granted)}
    superfluous = {grant for grant in granted if not any(grant.covers(need) for need in needed)}
    return sorted(
        [f"missing: {need.action} on {need.resource}" for need in missing]
        + [f"superfluous: {grant.action} on {grant.resource}" for grant in superfluous]
    )


class Role:
    """A deployment's role, and what has to be in it for requests that were recorded."""

    def __init__(self, **parameters: str) -> None:
        deployed = Deployed(**parameters)
        environment = deployed.environment
        self.document = deployed.role()
        self._buckets = {
            MODEL_BUCKET: environment["MODEL_BUCKET"],
            RESULT_BUCKET: environment["RESULT_BUCKET"],
        }
        beside = [BESIDE_S3, *(BESIDE_S3_IF[name] for name in BESIDE_S3_IF if parameters.get(name) == "on")]
        self._beside = {Need(action, resource) for part in beside for action, resource in part}

    def needed(self, exchanges: list[Exchange]) -> set[Need]:
        """Return what the role has to allow."""
        return self._beside | {need for one in exchanges for need in needs(one, self._buckets)}

    def allows(self, exchange: Exchange) -> bool:
        """Return whether S3 would do what a request asks for."""
        granted = grants(self.document)
        return all(any(grant.covers(need) for grant in granted) for need in needs(exchange, self._buckets))


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """Yield an S3 server whose model may be damaged."""
    log = tmp_path_factory.mktemp("logs") / "function.log"
    with log.open("wb") as file, LocalDeployment.from_folder(MODEL, log=file) as running:
        yield running


@pytest.fixture(scope="module")
def exchanges(local, tmp_path_factory) -> list[Exchange]:
    """All requests of the function to S3, whatever it is asked and whatever happens to it."""
    found: list[Exchange] = []
    with Proxy(local.s3.endpoint, found) as proxy:
        every_event(local, proxy.endpoint)
        a_model_that_comes_and_goes(local, proxy.endpoint, tmp_path_factory.mktemp("model"))
        an_input_and_a_large_answer(local, proxy.endpoint, tmp_path_factory.mktemp("function"))
        a_corpus(local, proxy.endpoint)
        with proxy.failing(lost, first=1):
            lost_answers(local, proxy.endpoint)
    return found


def every_event(local: LocalDeployment, endpoint: str) -> None:
    """Send everything in events/, valid and invalid, and what is too large for an answer to S3."""
    with local.function(env={"AWS_ENDPOINT_URL_S3": endpoint}) as function:
        for one in cases():
            function.invoke(one.event)
        assert function.invoke(case("invalid/id_taken").event)["statusCode"] == 409
        large = case("invalid/inline_too_large").event | {"result": "auto"}
        assert "s3_key" in function.invoke(large)["body"]


def a_model_that_comes_and_goes(local: LocalDeployment, endpoint: str, folder) -> None:
    """Let one function meet a model that is missing, incomplete, damaged, mended, and replaced by another."""
    key = f"models/en-es/versions/{local.manifest.version}/en-es.pt"
    right = local.client.get_object(Bucket=MODEL_BUCKET, Key=key)["Body"].read()
    event = case("valid/inline").event
    # A function that follows its channel looks at it before every event.
    env = {"AWS_ENDPOINT_URL_S3": endpoint, "MODEL_CHANNEL": "prod", "MODEL_REFRESH_SECONDS": "0"}
    with local.function(env=env) as function:
        assert function.invoke(event)["statusCode"] == 503
        publish(MODEL, local.client, MODEL_BUCKET, "prod")
        local.client.delete_object(Bucket=MODEL_BUCKET, Key=key)
        assert function.invoke(event)["statusCode"] == 503
        local.client.put_object(Bucket=MODEL_BUCKET, Key=key, Body=bytes([right[0] ^ 1]) + right[1:])
        assert function.invoke(event)["statusCode"] == 503
        local.client.put_object(Bucket=MODEL_BUCKET, Key=key, Body=right)
        assert function.invoke(event)["statusCode"] == 200
        other = shutil.copytree(MODEL, folder / "en-es", ignore=shutil.ignore_patterns("train"))
        toml = other / "model.toml"
        toml.write_text(toml.read_text().replace("[libraries]", '[libraries]\nanother = "1"'))
        assert publish(other, local.client, MODEL_BUCKET, "prod")
        assert function.invoke(event)["statusCode"] == 200
    with local.function(env=env) as function:
        version = describe(other).version
        assert function.invoke(event)["body"]["model"]["version"] == version


def an_input_and_a_large_answer(local: LocalDeployment, endpoint: str, folder) -> None:
    """Read what a request names, and store what no compression brings to less than one upload's size."""
    local.client.put_object(Bucket=RESULT_BUCKET, Key="inputs/size", Body=b"12000000")
    (folder / "app.py").write_text(
        "import os\n"
        "from lambda_inference import Array, BaseRequest, Prediction, inputs, serve\n"
        "class Large:\n"
        "    Request = BaseRequest\n"
        "    def load(self, model): pass\n"
        "    def predict(self, request, deadline):\n"
        "        size = int(bytes(inputs.read('inputs/size', 'data', 100)))\n"
        "        yield Prediction({}, {'noise': [Array(os.urandom(size), 'B', (size,), ('noise',))]})\n"
        "lambda_handler = serve(Large)\n"
    )
    env = local.environment() | {"AWS_ENDPOINT_URL_S3": endpoint}
    with (
        (folder / "log").open("wb") as log,
        Emulator(folder, layers=build_layers("opennmt"), env=env, log=log) as function,
    ):
        assert "noise_key" in function.invoke({})["body"]


def a_corpus(local: LocalDeployment, endpoint: str) -> None:
    """Answer a range of a corpus twice, and write the manifest of a batch with one range more."""
    source = {"key": "inputs/corpora/c.txt", "start": 0, "end": 4}
    index = [{"id": name, "lines": 1, "source": source} for name in ("range", "missing")]
    for key, body in {source["key"]: b"one\n", "inputs/batches/i.json": json.dumps(index).encode()}.items():
        local.client.put_object(Bucket=RESULT_BUCKET, Key=key, Body=body)
    batch = {"run": "run", "index": "inputs/batches/i.json", "request": {}, "corpus": {}}
    with local.function(env={"AWS_ENDPOINT_URL_S3": endpoint}) as function:
        for _ in range(2):
            answer = function.invoke({"attempt": 0, "request": {"id": "range", "source": source}})
            assert answer["body"]["count"] == 1
        assert function.invoke({"manifest": batch})["body"]["failed_ranges"] == 1


def lost_answers(local: LocalDeployment, endpoint: str) -> None:
    """Answer a request whose every first exchange with S3 ends in a 503, after S3 did what it was asked."""
    with local.function(env={"AWS_ENDPOINT_URL_S3": endpoint}) as function:
        event = case("event").event | {"id": "lost"}
        assert function.invoke(event)["statusCode"] == 200


DEPLOYMENTS = [
    {},
    {"Tracing": "on", "FunctionUrl": "on"},
    {"Queue": "on"},
    {"BucketName": "one"},
    {"ModelBucketName": "theirs", "ResultBucketName": "ours", "Channel": "prod"},
    {"ModelStackName": "first"},
]


@pytest.mark.check
@pytest.mark.parametrize("parameters", DEPLOYMENTS, ids=lambda parameters: " ".join(parameters) or "default")
def test_role_is_what_is_asked_for(exchanges, parameters):
    """The role has every permission that a request asked for, and none that no request did."""
    role = Role(**parameters)

    assert compared(role.document, role.needed(exchanges)) == []


@pytest.mark.check
def test_everything_happened(exchanges):
    """Among the requests are reads, ranged reads, writes, and answers of every kind that a fault makes."""
    assert {(one.method, one.status) for one in exchanges} >= {
        ("GET", 200), ("GET", 206), ("GET", 404), ("GET", 503),
        ("PUT", 200), ("PUT", 412), ("PUT", 503),
    }  # fmt: skip
    assert max(int(one.headers.get("content-length", 0)) for one in exchanges) > 12_000_000
    missing = {one.target.rpartition("/")[2] for one in exchanges if one.status == 404}
    assert missing >= {"prod.json", "en-es.pt"}


# What a role may not do: neighbours of what it may, one step away in the key, the bucket or the action.
REFUSED = [
    ("GET", "/models/models/en-es-ct2-int8/channels/dev.json"),
    ("GET", "/models/inputs/a"),
    ("PUT", "/results/inputs/a"),
    ("GET", "/results/inputs"),
    ("GET", "/models/prediction_outputs/a/predictions.jsonl.gz"),
    ("GET", "/results/models/en-es/channels/dev.json"),
    ("GET", "/results/other/a/predictions.jsonl.gz"),
    ("PUT", "/models/models/en-es/channels/dev.json"),
    ("PUT", "/results/predictions.jsonl.gz"),
    ("DELETE", "/models/models/en-es/channels/dev.json"),
    ("DELETE", "/results/prediction_outputs/a/predictions.jsonl.gz"),
    ("GET", "/models?list-type=2"),
    ("GET", "/models?list-type=2&prefix=models/"),
    ("GET", "/results?list-type=2&prefix=prediction_outputs/"),
    ("GET", "/models/models/en-es/channels/dev.json?versionId=1"),
]


@pytest.mark.parametrize(("method", "target"), REFUSED)
def test_neighbours_are_refused(method, target):
    """The patterns in the role are no wider than what they are for."""
    assert not Role().allows(Exchange(method, target, {}, 200))


class TestComparison:
    """The comparison finds what it is there to find."""

    @pytest.mark.check
    def test_every_missing_action(self, exchanges):
        """Without any one of its actions the role is found to lack it, by its name."""
        role = Role(Tracing="on", Queue="on")
        taken = 0
        for document, statement in copies(role.document):
            for action in to_list(statement["Action"]):
                left = [other for other in to_list(statement["Action"]) if other != action]
                shorter = replaced(document, statement, statement | {"Action": left})
                problems = compared(shorter, role.needed(exchanges))
                assert problems
                assert all(problem.startswith(f"missing: {action} on ") for problem in problems)
                taken += 1
        assert taken == len(grants(role.document))

    @pytest.mark.check
    @pytest.mark.parametrize("action", ["s3:DeleteObject", "s3:AbortMultipartUpload", "kms:Decrypt"])
    def test_a_superfluous_action(self, exchanges, action):
        """An action that nobody asks for is found in the role, by its name."""
        role = Role()
        document, statement = copies(role.document)[0]
        wider = replaced(document, statement, statement | {"Action": [*to_list(statement["Action"]), action]})

        assert compared(wider, role.needed(exchanges)) == [
            f"superfluous: {action} on {statement['Resource']}"
        ]

    @pytest.mark.check
    def test_a_superfluous_resource(self, exchanges):
        """An allowed action on a bucket that nobody asks for is found too."""
        role = Role()
        document, statement = copies(role.document)[0]
        resources = [statement["Resource"], "arn:aws:s3:::other/*"]
        wider = replaced(document, statement, statement | {"Resource": resources})

        assert compared(wider, role.needed(exchanges)) == [
            "superfluous: s3:GetObject on arn:aws:s3:::other/*"
        ]

    @pytest.mark.check
    def test_another_prefix(self, exchanges):
        """A listing of another prefix than the one asked for is both missing and superfluous."""
        role = Role()
        [(document, statement)] = [pair for pair in copies(role.document) if "Condition" in pair[1]]
        condition = {"StringLike": {"s3:prefix": "models/other/*"}}
        other = replaced(document, statement, statement | {"Condition": condition})

        found = set(compared(other, role.needed(exchanges)))
        assert found == {
            f"{kind}: s3:ListBucket on arn:aws:s3:::ModelBucket" for kind in ("missing", "superfluous")
        }

    def test_a_wildcard(self):
        """An action with a wildcard is refused as such."""
        document, statement = copies(Role().document)[0]

        with pytest.raises(AssertionError, match=r"s3:Get\*"):
            grants(replaced(document, statement, statement | {"Action": "s3:Get*"}))

    @pytest.mark.parametrize(
        ("method", "target", "headers", "named"),
        [
            ("GET", "/models/a?torrent", {}, "torrent"),
            ("PUT", "/results/a", {"if-match": "etag"}, "if-match"),
            (
                "PUT",
                "/results/a",
                {"x-amz-server-side-encryption": "aws:kms"},
                "x-amz-server-side-encryption",
            ),
            ("GET", "/elsewhere/a", {}, "elsewhere"),
        ],
    )
    def test_an_unknown_request(self, method, target, headers, named):
        """A request that the tables do not know is an error that names what is unknown."""
        with pytest.raises(KeyError, match=named):
            Role().needed([Exchange(method, target, headers, 200)])

    def test_what_a_header_asks_for(self):
        """Tags on a write are a permission of their own."""
        needed = Role().needed([Exchange("PUT", "/results/a", {"x-amz-tagging": "a=b"}, 200)])

        assert Need("s3:PutObjectTagging", "arn:aws:s3:::ResultBucket/a") in needed


def copies(role: dict) -> list[tuple[dict, dict]]:
    """Return a role with each of its statements."""
    return [
        (role, statement)
        for policy in role["Policies"]
        for statement in policy["PolicyDocument"]["Statement"]
    ]


def replaced(role: dict, statement: dict, by: dict) -> dict:
    """Return a copy of a role in which one statement is another."""
    changed = copy.deepcopy(role)
    for policy in changed["Policies"]:
        document = policy["PolicyDocument"]
        document["Statement"] = [by if one == statement else one for one in document["Statement"]]
    return json.loads(json.dumps(changed))
