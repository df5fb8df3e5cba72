"""The queue in front of the function, and asynchronous invocation, as the template deploys them.

The queues are those that moto's CloudFormation makes of the template, and the function is the real
one. What Lambda does between them is done here as AWS describes it: moto's own poller sends message
by message, and hears nothing of failures.
"""

import gzip
import hashlib
import io
import json
import urllib.request
import zipfile
from dataclasses import dataclass, field
from typing import Any

import pytest
from support import cloud
from support.applications import WarmFunction
from support.cloud import REGION
from support.events import case
from support.project import ROOT
from support.template import ARTIFACTS, Stack

from lambda_setup.deployment.local.application import RESULT_BUCKET

# test_sam_deploy has the list of what moto does not create.
pytestmark = pytest.mark.filterwarnings("ignore:Tried to parse AWS:UserWarning")

NAME = "translation"
SENTENCES = ["The table has been changed.", "Click the button to save the document."]
BAD = case("invalid/errors_raised")


@dataclass
class Poller:
    """Lambda's part: the messages go to the function in batches, and what it answered is deleted.

    https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
    """

    sqs: Any
    mapping: dict[str, Any]
    url: str
    failures: str
    function: Any
    in_flight: list[str] = field(default_factory=list)

    @property
    def attributes(self) -> dict[str, str]:
        return self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["All"])["Attributes"]

    def send(self, request: dict[str, Any]) -> str:
        """Send a request as a message, and return the message's id."""
        return self.sqs.send_message(QueueUrl=self.url, MessageBody=json.dumps(request))["MessageId"]

    def receive(self) -> list[dict[str, Any]]:
        """Take a batch, as the records of Lambda's event."""
        found = self.sqs.receive_message(
            QueueUrl=self.url,
            MaxNumberOfMessages=self.mapping["BatchSize"],
            MessageSystemAttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        records = [
            {
                "messageId": message["MessageId"],
                "receiptHandle": message["ReceiptHandle"],
                "body": message["Body"],
                "attributes": message["Attributes"],
                "messageAttributes": message.get("MessageAttributes", {}),
                "md5OfBody": message["MD5OfBody"],
                "eventSource": "aws:sqs",
                "eventSourceARN": self.mapping["EventSourceArn"],
                "awsRegion": REGION,
            }
            for message in found.get("Messages", [])
        ]
        self.in_flight += [record["receiptHandle"] for record in records]
        return records

    def poll(self) -> list[str] | None:
        """Have a batch answered, and return the ids of what failed; None when there is no message."""
        records = self.receive()
        if not records:
            return None
        answer = self.function.invoke({"Records": records})
        assert answer.keys() == {"batchItemFailures"}
        failed = [one["itemIdentifier"] for one in answer["batchItemFailures"]]
        heard = "ReportBatchItemFailures" in self.mapping.get("FunctionResponseTypes", [])
        for record in records:
            if not (heard and record["messageId"] in failed):
                self.in_flight.remove(record["receiptHandle"])
                self.sqs.delete_message(QueueUrl=self.url, ReceiptHandle=record["receiptHandle"])
        return failed

    def wait(self) -> None:
        """Let the visibility timeout pass for every message that is hidden."""
        for handle in self.in_flight:
            self.sqs.change_message_visibility(QueueUrl=self.url, ReceiptHandle=handle, VisibilityTimeout=0)
        self.in_flight.clear()

    def take_failed(self) -> list[dict[str, Any]]:
        """Return what is in the failure queue, and empty it."""
        found = self.sqs.receive_message(QueueUrl=self.failures, MaxNumberOfMessages=10).get("Messages", [])
        for message in found:
            self.sqs.delete_message(QueueUrl=self.failures, ReceiptHandle=message["ReceiptHandle"])
        return found


@pytest.fixture(scope="module")
def translation(start_function) -> WarmFunction:
    """Return the function."""
    return start_function("translation")


@pytest.fixture(scope="module")
def aws():
    """Yield an account with the template deployed, and Queue on."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("app.py", "")
    with cloud.account() as account:
        place = {"LocationConstraint": REGION}
        account.client("s3").create_bucket(Bucket="artifacts", CreateBucketConfiguration=place)
        for name in ARTIFACTS.values():
            account.client("s3").put_object(Bucket="artifacts", Key=name, Body=packed.getvalue())
        account.client("cloudformation").create_stack(
            StackName=NAME,
            TemplateBody=json.dumps(Stack().template),
            Parameters=[{"ParameterKey": "Queue", "ParameterValue": "on"}],
            Capabilities=["CAPABILITY_IAM"],
        )
        yield account


@pytest.fixture
def poller(aws, translation):
    """Lambda, with nothing in the queues."""
    client = aws.client("lambda")
    (mapping,) = client.list_event_source_mappings()["EventSourceMappings"]
    client.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)  # moto's poller
    sqs = aws.client("sqs")
    urls = sqs.list_queues(QueueNamePrefix=NAME)["QueueUrls"]
    requests, failures = (
        next(url for url in urls if f"-{name}-" in url) for name in ("RequestQueue", "FailureQueue")
    )
    lambdas = Poller(sqs, mapping, requests, failures, translation)
    yield lambdas
    lambdas.wait()
    while records := lambdas.receive():
        for record in records:
            sqs.delete_message(QueueUrl=requests, ReceiptHandle=record["receiptHandle"])
    lambdas.take_failed()


def list_results(translation: WarmFunction, name: str = "") -> list[str]:
    """Return the keys of the results whose names start so."""
    found = translation.stack.client.list_objects_v2(
        Bucket=RESULT_BUCKET, Prefix=f"prediction_outputs/{name}"
    )
    return [one["Key"] for one in found.get("Contents", [])]


def test_a_batch_with_a_bad_message(poller, translation):
    """The good messages are answered, once; the bad one comes back five times, then is a failure."""
    good = [poller.send({"data": [text]}) for text in SENTENCES]
    bad = poller.send(BAD.event)

    assert poller.poll() == [bad]
    assert poller.poll() is None  # the good ones are deleted, the bad one is hidden
    for name, text in zip(good, SENTENCES, strict=True):
        (key,) = list_results(translation, name)
        stored = translation.stack.client.get_object(Bucket=RESULT_BUCKET, Key=key)["Body"].read()
        alone = translation.invoke({"data": [text], "result": "inline"})["body"]["predictions"]
        assert [json.loads(line) for line in gzip.decompress(stored).splitlines()] == alone
    assert list_results(translation, bad) == []

    receives = json.loads(poller.attributes["RedrivePolicy"])["maxReceiveCount"]
    for _ in range(receives - 1):
        poller.wait()
        assert poller.poll() == [bad]
    assert poller.take_failed() == []
    poller.wait()
    assert poller.poll() is None
    (failed,) = poller.take_failed()
    assert (failed["MessageId"], json.loads(failed["Body"])) == (bad, BAD.event)
    assert poller.attributes["ApproximateNumberOfMessagesNotVisible"] == "0"


def test_a_message_that_comes_twice(poller, translation):
    """SQS may deliver a message again after it was answered; that writes nothing again."""
    name, client = poller.send({"data": SENTENCES}), translation.stack.client
    translation.invoke({"Records": poller.receive()})
    (key,) = list_results(translation, name)
    before = client.get_object(Bucket=RESULT_BUCKET, Key=key)
    marked = before["Metadata"] | {"seen": "once"}
    client.put_object(Bucket=RESULT_BUCKET, Key=key, Body=before["Body"].read(), Metadata=marked)
    everything = list_results(translation)

    poller.wait()
    assert poller.poll() == []
    assert client.head_object(Bucket=RESULT_BUCKET, Key=key)["Metadata"]["seen"] == "once"
    assert list_results(translation) == everything


@pytest.mark.parametrize("name", ["valid/sqs", "invalid/sqs_one_bad"])
def test_event_files_are_like_lambdas(poller, name):
    """The queue's events in events/ have what Lambda's have, field by field."""
    sent = poller.send({"data": SENTENCES})
    (record,) = poller.receive()

    assert record["messageId"] == sent
    for one in case(name).event["Records"]:
        assert one.keys() == record.keys()
        assert one["attributes"].keys() == record["attributes"].keys()
        assert one["md5OfBody"] == hashlib.md5(one["body"].encode()).hexdigest()  # noqa: S324 - SQS's own


def raised(translation: WarmFunction, event: Any) -> dict[str, Any]:
    """Return what Lambda gets from the function, where that is an error and no answer."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{translation.function._port}/2015-03-31/functions/function/invocations",
        data=json.dumps(event).encode(),
    )
    with urllib.request.urlopen(request) as answer:  # noqa: S310
        payload = json.load(answer)
    assert payload.keys() >= {"errorType", "errorMessage"}, "Lambda sees an answer, and records nothing"
    return payload


class TestAsynchronous:
    """``aws lambda invoke --invocation-type Event``."""

    def test_destination(self, aws, poller):
        """What fails after two retries goes from the alias that callers use to the failure queue."""
        config = aws.resolved[NAME]["AsynchronousRequests"]
        alias = aws.client("lambda").get_alias(FunctionName=config["FunctionName"], Name=config["Qualifier"])
        queue = poller.sqs.get_queue_attributes(QueueUrl=poller.failures, AttributeNames=["QueueArn"])

        (output,) = (
            one["OutputValue"]
            for one in aws.client("cloudformation").describe_stacks(StackName=NAME)["Stacks"][0]["Outputs"]
            if one["OutputKey"] == "FunctionAliasArn"
        )
        assert alias["AliasArn"] == output
        assert config["MaximumRetryAttempts"] == 2
        assert config["DestinationConfig"]["OnFailure"]["Destination"] == queue["Attributes"]["QueueArn"]

    def test_record(self, translation):
        """The record in queues.md has the error that the function raises, and the event to send again.

        Its form: https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html
        """
        text = (ROOT / "docs" / "how-to" / "queues.md").read_text(encoding="utf-8")
        record = json.loads(text.split("```json\n")[1].split("```")[0])
        payload = raised(translation, BAD.event)

        assert record["requestPayload"] == BAD.event
        assert record["responsePayload"].keys() == payload.keys()
        for name in ("errorType", "errorMessage"):
            assert record["responsePayload"][name] == payload[name]
        assert json.loads(payload["errorMessage"]) == BAD.answer

    def test_retry(self, translation):
        """A second attempt at the same event writes nothing again: its result has the caller's name."""
        event = case("valid/asynchronous").event
        first, again = translation.invoke(event), translation.invoke(event)

        assert first["body"]["s3_key"] == again["body"]["s3_key"]
        assert list_results(translation, f"{event['id']}/") == [first["body"]["s3_key"]]
