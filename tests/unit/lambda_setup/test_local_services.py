"""What a function on this machine stands on: programs, ports, Lambda's Invoke, and whether S3 answers."""

import contextlib
import json
import os
import random
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from lambda_setup.deployment.local.lambda_service import LambdaService
from lambda_setup.deployment.local.loopback import LoopbackServer
from lambda_setup.deployment.local.process import Program, free_ports, listens, unwind_on_termination
from lambda_setup.deployment.local.s3 import S3
from lambda_setup.errors import CommandError


@pytest.fixture
def start(tmp_path):
    """Return a way to start a shell's command; what it and its children write can be read.

    A program is ready from its beginning on, unless its command says when.
    """
    programs = []

    def start(command: str, grace: float = 10) -> tuple[Program, int]:
        written, log = os.pipe()
        begun = command if "> ready" in command else f"echo > ready; {command}"
        command = ["/bin/sh", "-c", begun]
        program = Program(command, env=os.environ, cwd=tmp_path, log=log, grace=grace)
        os.close(log)
        programs.append((program, written))
        program.wait_until((tmp_path / "ready").exists, 20)
        return program, written

    yield start
    for program, written in programs:
        program.stop()
        os.close(written)


def test_a_program_that_ends_is_not_waited_for(start):
    """It says with what it ended."""
    with pytest.raises(CommandError, match=r"^sh ended with 3 before it was ready$"):
        start("exit 3")[0].wait_until(lambda: False, 20)


def test_a_program_that_is_not_ready_in_time(start):
    """It says after how long."""
    with pytest.raises(CommandError, match=r"^sh was not ready after 0 seconds$"):
        start("exec sleep 60")[0].wait_until(lambda: False, 0.2)


@pytest.mark.parametrize(
    ("command", "grace", "status"),
    [
        ("exec sleep 60", 10, -signal.SIGTERM),
        ("sleep 60 & wait", 10, -signal.SIGTERM),
        ("kill -STOP $$; exec sleep 60", 10, -signal.SIGTERM),
        ("trap '' TERM; echo > ready; sleep 60 & wait; wait", 0.2, -signal.SIGKILL),
        ("exec sleep 60", 0, -signal.SIGKILL),
    ],
    ids=["simple", "with-a-child", "stopped", "deaf", "without-grace"],
)
def test_a_program_is_ended_with_what_it_started(start, command, grace, status):
    """It has time to end by itself, also if it was stopped, and is killed then; twice is as good."""
    program, written = start(command, grace)
    before = time.monotonic()
    for _ in range(2):
        program.stop()
    assert time.monotonic() - before < 5
    assert program._process.returncode == status
    # Nobody is left who could write.
    assert select.select([written], [], [], 5)[0]
    assert os.read(written, 1) == b""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has died")
@pytest.mark.parametrize(
    ("grace", "command", "written"),
    [(10, "trap 'echo ended; kill $!; exit' TERM; sleep 60 & wait", b"ended\n"), (0, "exec sleep 60", b"")],
)
def test_a_program_ends_with_its_parent(tmp_path, grace, command, written):
    """Also if the parent is killed: by SIGTERM, or by SIGKILL if it has no time to end by itself."""
    reader, log = os.pipe()
    parent = subprocess.run(
        [sys.executable, "-c", PARENT, str(tmp_path), str(grace), f"echo > ready; {command}", str(log)],
        pass_fds=[log], capture_output=True, text=True, check=False,
    )  # fmt: skip
    os.close(log)
    assert parent.returncode == -signal.SIGKILL, parent.stderr
    assert select.select([reader], [], [], 20)[0]
    assert os.read(reader, 100) == written
    os.close(reader)


PARENT = """
import os, signal, sys
from pathlib import Path
from lambda_setup.deployment.local.process import Program
folder, grace, command, log = sys.argv[1:]
command = ["/bin/sh", "-c", command]
program = Program(command, env=os.environ, cwd=Path(folder), log=int(log), grace=int(grace))
program.wait_until((Path(folder) / "ready").exists, 20)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_termination_unwinds():
    """What a context would end is ended; then SIGTERM is as it was."""
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as caught, unwind_on_termination():
        os.kill(os.getpid(), signal.SIGTERM)
    assert caught.value.code == 128 + signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is before


def test_ports():
    """They are as many as asked for, below those of connections, and nobody listens there."""
    ports = free_ports(3)
    assert len({*ports}) == 3
    assert all(20_000 <= port < 32_000 and not listens(port) for port in ports)
    with socket.create_server(("127.0.0.1", ports[0])):
        assert listens(ports[0])


def test_a_port_that_is_taken_is_not_given(monkeypatch):
    """The next one is."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        [free] = free_ports(1)
        monkeypatch.setattr(random, "sample", lambda *_: [taken.getsockname()[1], free])
        assert free_ports(1) == [free]


class Environment:
    """In the place of an emulated function: it answers what it is sent, after the word ``answer``."""

    def send(self, body: bytes) -> bytes:
        answer = json.loads(body)["answer"]
        if answer is None:
            raise ConnectionRefusedError("it is gone")
        return answer.encode()


@pytest.fixture(scope="module")
def service():
    """Yield a client of a service with one environment."""
    with pytest.MonkeyPatch.context() as patch, LambdaService([Environment()]) as service:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "any")
        config = Config(retries={"total_max_attempts": 1})
        yield boto3.client("lambda", region_name="us-east-1", endpoint_url=service.endpoint, config=config)


@pytest.mark.parametrize(
    ("answer", "failed", "payload"),
    [
        ('{"statusCode": 200}', None, {"statusCode": 200}),
        ('["errorType"]', None, ["errorType"]),
        ('{"errorType": "KeyError"}', "Unhandled", {"errorType": "KeyError"}),
        (
            "Task timed out after 3.00 seconds\n",
            "Unhandled",
            {"errorType": "Sandbox.Timedout", "errorMessage": "Task timed out after 3.00 seconds"},
        ),
        ("?", "Unhandled", {"errorType": "Runtime.Unknown", "errorMessage": "?"}),
    ],
)
def test_an_invocation_is_answered_as_lambda_does(service, answer, failed, payload):
    """boto3 reads the payload, and whether the function failed; the environment is free again then."""
    for _ in range(2):
        response = service.invoke(
            FunctionName="mine", Qualifier="live", Payload=json.dumps({"answer": answer})
        )
        assert (response["StatusCode"], response.get("FunctionError")) == (200, failed)
        assert json.loads(response["Payload"].read()) == payload


def test_many_clients_at_once():
    """As many as a map of Step Functions has may connect, although nobody accepts them yet."""
    with LoopbackServer(BaseHTTPRequestHandler, 0) as server, contextlib.ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(socket.create_connection(server.server_address, timeout=10))


def test_what_is_no_answer(service):
    """The service's own errors have Lambda's names, which Step Functions retries by."""
    for call, status, code in (
        (lambda: service.invoke(FunctionName="mine", Payload='{"answer": null}'), 500, "ServiceException"),
        (
            lambda: service.invoke_async(FunctionName="mine", InvokeArgs=b"{}"),
            404,
            "ResourceNotFoundException",
        ),
    ):
        with pytest.raises(ClientError) as caught:
            call()
        assert caught.value.response["Error"]["Code"] == code
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status


@pytest.mark.parametrize(("status", "answers"), [(403, True), (200, True), (503, False), (None, False)])
def test_whether_s3_answers(status, answers):
    """That it refuses who does not sign is an answer; a server that is not ready yet has none."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        place = S3(f"http://127.0.0.1:{server.server_port}", "", "")
        if status:
            threading.Thread(target=server.handle_request, daemon=True).start()
        else:
            server.server_close()
        assert place.answers() is answers
