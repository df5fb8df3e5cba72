"""``invoke --stack``: a deployed function is sent each event, once."""

import json
from typing import ClassVar

import pytest

from lambda_setup.__main__ import main
from lambda_setup.commands import invoke


class Client:
    """An S3 whose objects have their keys as contents."""

    def download_file(self, bucket, key, path):
        """Write a file."""
        with open(path, "w") as file:  # noqa: PTH123 - boto3 takes a text
            file.write(f"{bucket}/{key}")


class Deployment:
    """A deployed function that remembers what it was asked."""

    asked: ClassVar[list[object]] = []
    status = 200

    def __init__(self, session, stack):
        self.where = (session.region_name, stack)
        self.client = Client()

    def invoke(self, event):
        """Answer with a stored result."""
        Deployment.asked.append((self.where, event))
        return {"statusCode": self.status, "body": {"s3_bucket": "results", "s3_key": "a/b.gz"}}


@pytest.fixture(autouse=True)
def _replace_deployment(monkeypatch):
    """Put the deployment in the place of AWS's."""
    monkeypatch.setattr(invoke, "AwsDeployment", Deployment)
    monkeypatch.setattr(Deployment, "asked", [])


def test_events_are_sent_once_and_results_fetched(tmp_path, capsys):
    """To the stack in the region that is given; each response is a line, and what it names a file."""
    paths = []
    for number in range(2):
        paths += ["--event", str(tmp_path / f"{number}.json")]
        (tmp_path / f"{number}.json").write_text(json.dumps({"data": [str(number)]}))
    place = ["--stack", "mine", "--region", "eu-west-1"]
    assert main(["invoke", *paths, *place, "--out", str(tmp_path / "out")]) == 0
    assert [event for _, event in Deployment.asked] == [{"data": ["0"]}, {"data": ["1"]}]
    assert {where for where, _ in Deployment.asked} == {("eu-west-1", "mine")}
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert (tmp_path / "out" / "a" / "b.gz").read_text() == "results/a/b.gz"


def test_a_failure_is_the_commands(monkeypatch):
    """A response other than 200 is an exit code of 1."""
    monkeypatch.setattr(Deployment, "status", 503)
    assert main(["invoke", "--stack", "mine", "--region", "eu-west-1"]) == 1


def test_what_is_for_this_machine(capsys):
    """A channel is the stack's own."""
    assert main(["invoke", "--stack", "mine", "--channel", "prod"]) == 2
    assert "--name, --channel and --log-file are for this machine" in capsys.readouterr().err
