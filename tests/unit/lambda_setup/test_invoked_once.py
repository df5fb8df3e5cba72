"""A deployed function is asked once, whatever becomes of the connection: the first call may still run."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3
import pytest
from botocore.exceptions import BotoCoreError, ClientError

from lambda_setup.deployment.aws import AwsDeployment
from lambda_setup.errors import CommandError

LONGEST = 900
"""Seconds that a function may take."""


class Lambda(BaseHTTPRequestHandler):
    """A service that takes a call and has no answer: it hangs up, or fails."""

    asked = 0
    status = 0

    def do_POST(self) -> None:
        """Count a call."""
        type(self).asked += 1
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.status:
            self.send_response(self.status)
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self.connection.close()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(params=[0, 429, 500, 503], ids=["hangs-up", "429", "500", "503"])
def service(request, monkeypatch) -> Iterator[type[Lambda]]:
    """Yield a service that boto3 finds, and which answers with a status or not at all."""
    handler = type("Counting", (Lambda,), {"status": request.param})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", f"http://127.0.0.1:{server.server_port}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "any")
    yield handler
    server.shutdown()
    server.server_close()


def test_once(service):
    """The command says what happened after one call, and would have waited for the longest one."""
    deployment = AwsDeployment(boto3.Session(region_name="eu-central-1"), function="mine")
    with pytest.raises(CommandError):
        deployment.invoke({"data": ["a"]})
    assert service.asked == 1
    config = deployment._lambda.meta.config
    assert config.read_timeout > LONGEST
    assert config.tcp_keepalive  # a gateway would forget a connection that is silent for so long


def test_others_ask_again(service, monkeypatch):
    """As ``sam remote invoke`` does: botocore's own client repeats what fails, and waits for a minute."""
    monkeypatch.setattr("time.sleep", lambda _: None)
    client = boto3.Session(region_name="eu-central-1").client("lambda")
    with pytest.raises((BotoCoreError, ClientError)):
        client.invoke(FunctionName="mine", Payload=b"{}")
    assert service.asked > 1
    assert client.meta.config.read_timeout < LONGEST
