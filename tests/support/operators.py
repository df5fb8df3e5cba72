"""Operators whose requests to S3 pass one by one, fail, or are the last ones, as a test decides.

A command runs in a thread with a boto3 client of its own, and stops before each request. Whoever drives
several operators decides in which order their requests arrive, and what becomes of each: the same decisions
make the same history, on any machine.
"""

import contextlib
import queue
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import boto3
import botocore.endpoint
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.exceptions import ConnectionClosedError, EndpointConnectionError, ReadTimeoutError

from lambda_setup.deployment.local.s3 import REGION, S3

_SECONDS = 60
_ATTEMPTS = 3


class Killed(Exception):
    """The operator's process has ended; no part of the project catches it."""


class _Body:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def stream(self, *_: Any, **__: Any) -> list[bytes]:
        return [self._data]

    def read(self, *_: Any, **__: Any) -> bytes:
        data, self._data = self._data, b""
        return data


Send = Callable[[Any], AWSResponse]
Fault = Callable[[Any, Send], AWSResponse]


def refuse(status: int, code: str) -> Fault:
    """Return the fault of an S3 that answers with a status and a code."""
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>secret</Message></Error>".encode()
    headers = {"Content-Type": "application/xml", "Content-Length": str(len(body))}

    def answer(request: Any, _: Send) -> AWSResponse:
        sent = b"" if request.method == "HEAD" else body
        return AWSResponse(request.url, status, headers, _Body(sent))

    return answer


def _lost(request: Any, send: Send) -> AWSResponse:
    send(request)
    return refuse(503, "SlowDown")(request, send)


def _reset(request: Any, send: Send) -> AWSResponse:
    send(request)
    raise ConnectionClosedError(endpoint_url=request.url)


def _overdue(request: Any, send: Send) -> AWSResponse:
    send(request)
    raise ReadTimeoutError(endpoint_url=request.url)


def _unreachable(request: Any, _: Send) -> AWSResponse:
    raise EndpointConnectionError(endpoint_url=request.url)


def _killed_before(*_: Any) -> AWSResponse:
    raise Killed


def _killed_after(request: Any, send: Send) -> AWSResponse:
    send(request)
    raise Killed


FAULTS: dict[str, Fault] = {
    "none": lambda request, send: send(request),
    "503": refuse(503, "SlowDown"),
    "500": refuse(500, "InternalError"),
    "lost": _lost,  # done, and answered with a 503
    "reset": _reset,  # done, and the connection is reset
    "overdue": _overdue,  # done, and the answer comes too late
    "unreachable": _unreachable,
    "expired": refuse(400, "ExpiredToken"),
    "denied": refuse(403, "AccessDenied"),
    "conflict": refuse(409, "ConditionalRequestConflict"),
    "killed before": _killed_before,
    "killed after": _killed_after,
}


class Operator:
    """Somebody who runs one command after another.

    Attributes:
        waiting: the request that the command waits to send, such as ``PUT /models/…``; None if it has ended.
        result: what it returned.
        error: what it raised.

    """

    def __init__(self, s3: S3, name: str) -> None:
        self.name = name
        self.client = boto3.client(
            "s3",
            endpoint_url=s3.endpoint,
            aws_access_key_id=s3.access_key,
            aws_secret_access_key=s3.secret_key,
            region_name=REGION,
            config=Config(retries={"total_max_attempts": _ATTEMPTS}),
        )
        self._session = self.client._endpoint.http_session
        self.client._endpoint.http_session = self
        self._arrived: queue.Queue[str | None] = queue.Queue()
        self._chosen: queue.Queue[Fault] = queue.Queue()
        self._free = True
        self._dead = False
        self.waiting: str | None = None
        self.result: Any = None
        self.error: BaseException | None = None

    def send(self, request: Any) -> AWSResponse:
        """Send a request for botocore, once somebody has decided what becomes of it."""
        if self._dead:
            raise Killed
        if self._free:
            return self._session.send(request)
        self._arrived.put(f"{request.method} {urlsplit(request.url).path}")
        return self._chosen.get(timeout=_SECONDS)(request, self._session.send)

    def close(self) -> None:
        """Close the connections for botocore."""
        self._session.close()

    def begin(self, command: Callable[[], Any]) -> None:
        """Run a command up to its first request."""
        assert self.waiting is None
        self.result = self.error = None
        self._free = self._dead = False

        def run() -> None:
            try:
                self.result = command()
            except BaseException as error:  # noqa: BLE001 - whatever it is, the test looks at it
                self.error = error
            self._free = True
            self._arrived.put(None)

        threading.Thread(target=run, daemon=True).start()
        self.waiting = self._arrived.get(timeout=_SECONDS)

    def step(self, fault: str = "none") -> None:
        """Let the request that waits be sent, or fail, and run on to the next one."""
        assert self.waiting is not None
        self._dead = fault.startswith("killed")
        self._chosen.put(FAULTS[fault])
        self.waiting = self._arrived.get(timeout=_SECONDS)

    def step_to(self, text: str, fault: str = "none") -> None:
        """Let requests pass until one waits that holds a text, and then let that one pass or fail."""
        while self.waiting is not None and text not in self.waiting:
            self.step()
        assert self.waiting is not None, f"{self.name} never sent {text}: {self.error or self.result}"
        self.step(fault)

    def wait_at(self, text: str) -> None:
        """Let requests pass until one waits that holds a text."""
        while self.waiting is not None and text not in self.waiting:
            self.step()
        assert self.waiting is not None, f"{self.name} never sent {text}: {self.error or self.result}"

    def finish(self) -> Any:
        """Let the command run to its end; raise what it raised, or return what it returned."""
        while self.waiting is not None:
            self.step()
        if self.error is not None:
            raise self.error
        return self.result


@contextlib.contextmanager
def no_pauses() -> Any:
    """Let botocore repeat a request at once."""
    kept = botocore.endpoint.time
    botocore.endpoint.time = SimpleNamespace(sleep=lambda _: None, time=kept.time)
    try:
        yield
    finally:
        botocore.endpoint.time = kept
