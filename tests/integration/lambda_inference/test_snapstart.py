"""SnapStart: Lambda's own runtime client goes on after its channel has moved, with other credentials."""

import contextlib
import json
import os
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

import pytest
from support.second_model import EVENT

from lambda_setup.deployment.local.application import ROOT
from lambda_setup.deployment.local.emulator import link_runtime
from lambda_setup.deployment.local.layers import build_layers
from lambda_setup.deployment.local.process import Program

TOKEN = "the token of this environment"  # noqa: S105 - of nobody's


class Lambda:
    """Lambda, as a function with SnapStart sees it: the runtime API, and what hands out credentials."""

    def __init__(self, access_key: str, secret_key: str) -> None:
        self.ready = threading.Event()
        self.restore = threading.Event()
        self.ended = threading.Event()
        self.answer: dict | None = None
        self.asked = 0
        keys = {"AccessKeyId": access_key, "SecretAccessKey": secret_key, "Token": ""}
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                path = unquote(self.path)
                if path == "/2021-04-23/credentials?of=this one":
                    right = self.headers["Authorization"] == TOKEN
                    service.asked += right
                    expires = datetime.now(UTC) + timedelta(hours=1)
                    self.send(200 if right else 403, keys | {"Expiration": expires.isoformat()})
                elif path == "/2018-06-01/runtime/restore/next":
                    service.ready.set()
                    service.restore.wait()
                    self.send(200, {})
                elif service.answer is None:
                    self.send(200, EVENT, {
                        "Lambda-Runtime-Aws-Request-Id": "restored",
                        "Lambda-Runtime-Deadline-Ms": str(int(time.time() * 1000) + 60_000),
                        "Lambda-Runtime-Invoked-Function-Arn": "arn",
                        "Content-Type": "application/json",
                    })  # fmt: skip
                else:
                    service.ended.wait()

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                service.answer = {"path": self.path, "body": json.loads(body)}
                self.send(202, {})
                service.ready.set()

            def send(self, status: int, body: object, headers: dict[str, str] | None = None) -> None:
                data = json.dumps(body).encode()
                self.send_response(status)
                for name, value in (headers or {}).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        self.handler = Handler

    def environment(self, port: int) -> dict[str, str]:
        """Return what Lambda itself puts into the function's environment."""
        return {
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{port}",
            "AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI":
                f"http://localhost:{port}/2021-04-23/credentials?of=this%20one",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": TOKEN,
        }  # fmt: skip


@pytest.fixture
def service(two_versions):
    """Lambda, at a port of this machine."""
    made = Lambda(two_versions.stack.s3.access_key, two_versions.stack.s3.secret_key)
    with ThreadingHTTPServer(("127.0.0.1", 0), made.handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield made, server.server_port
        for event in (made.restore, made.ended):
            event.set()
        server.shutdown()


@contextlib.contextmanager
def serve(stack, tmp_path, environment):
    """Run the function with Lambda's own runtime client."""
    runtime = tmp_path / "runtime"
    runtime.mkdir()
    link_runtime(runtime)
    code = ROOT / "translation_function"
    ours = {name: value for name, value in stack.environment().items() if "_KEY" not in name}
    path = os.pathsep.join(map(str, (code, *build_layers("opennmt"), runtime)))
    with (tmp_path / "log").open("wb") as log:
        program = Program(
            [sys.executable, "-s", "-S", "-P", "-m", "awslambdaric", "app.lambda_handler"],
            env={"PATH": os.environ["PATH"], "LAMBDA_TASK_ROOT": str(code), "_HANDLER": "app.lambda_handler",
                 "AWS_EXECUTION_ENV": "AWS_Lambda_python3.13", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1769",
                 "PYTHONPATH": path, "TMPDIR": str(stack.temporary), **ours, **environment},
            cwd=code,
            log=log,
        )  # fmt: skip
        try:
            yield
        finally:
            program.stop()


def test_first_answer_after_a_restore_is_of_the_channel_as_it_is_now(versions, service, tmp_path):
    """A snapshot holds the first model; the channel moves; what is restored answers with the second."""
    (lambda_service, port) = service
    with serve(versions.stack, tmp_path, lambda_service.environment(port)):
        assert lambda_service.ready.wait(60), (tmp_path / "log").read_text()
        in_snapshot = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
        assert [line["version"] for line in in_snapshot if "version" in line] == [versions.first]
        assert sum("ModelLoad" in line for line in in_snapshot) == 1
        (asked, lambda_service.asked) = (lambda_service.asked, 0)
        versions.point(versions.second)

        lambda_service.ready.clear()
        lambda_service.restore.set()

        assert lambda_service.ready.wait(60), (tmp_path / "log").read_text()
    assert lambda_service.answer["path"].endswith("/restored/response")
    # Each model's load is reported once: a restored environment does not repeat the snapshot's.
    assert (tmp_path / "log").read_text().count('"ModelLoad":') == 2
    assert versions.served(lambda_service.answer["body"]) == versions.second
    assert asked >= 1
    assert lambda_service.asked >= 1, "a snapshot's credentials were used"
