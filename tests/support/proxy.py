"""A proxy in front of a server: it writes down what is said, and lets go wrong what a test wants to."""

import contextlib
import http.client
import http.server
import math
import re
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from lambda_setup.deployment.local.loopback import PatientServer


@dataclass(frozen=True)
class Exchange:
    """A request that a server got, its headers' names in lower case, and the status that its client got."""

    method: str
    target: str
    headers: Mapping[str, str]
    status: int


@dataclass(frozen=True)
class Answer:
    """What a client gets.

    Attributes:
        status: its status.
        headers: its headers, without its length.
        body: the bytes that come.
        promised: the bytes that its head announces; as many as come, unless said.
        pace: bytes that come in a second.
        end: what becomes of the connection afterwards.

    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    promised: int | None = None
    pace: float = math.inf
    end: Literal["kept", "closed", "reset"] = "kept"


Fault = Callable[[Callable[[], Answer]], Answer | None]
"""From a way to ask the server to what the client gets; None is never an answer."""


def refused(status: int, code: str) -> Fault:
    """Answer as S3 does when it refuses, without asking it."""
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>secret</Message></Error>".encode()
    return lambda _: Answer(status, {"Content-Type": "application/xml"}, body)


def lost(ask: Callable[[], Answer]) -> Answer:
    """Lose the server's answer: it does what it is asked, and the client gets a 503."""
    ask()
    return Answer(503)


def reset(ask: Callable[[], Answer]) -> Answer:
    """Reset the connection after half of the body."""
    return replace(truncated(ask), end="reset")


def truncated(ask: Callable[[], Answer]) -> Answer:
    """End the connection after half of the body that was promised."""
    answer = ask()
    promised = len(answer.body) if answer.promised is None else answer.promised  # to a HEAD, what a GET gets
    return replace(shortened(lambda: answer), promised=promised, end="closed")


def shortened(ask: Callable[[], Answer]) -> Answer:
    """Send half of the body as if it were all."""
    answer = ask()
    return replace(answer, body=answer.body[: len(answer.body) // 2])


def flipped(ask: Callable[[], Answer]) -> Answer:
    """Flip a bit in the middle of the body, if there is one."""
    answer = ask()
    body = bytearray(answer.body)
    if body:
        body[len(body) // 2] ^= 1
    return replace(answer, body=bytes(body))


def trickling(ask: Callable[[], Answer]) -> Answer:
    """Send the body at ten bytes a second."""
    return replace(ask(), pace=10)


def hanging(_: Callable[[], Answer]) -> None:
    """Take the request, and never answer."""


class Gate:
    """A fault that holds requests back until it is opened."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.opened = threading.Event()

    def __call__(self, ask: Callable[[], Answer]) -> Answer:
        self.reached.set()
        self.opened.wait()
        return ask()


class Proxy:
    """Forwards requests to an endpoint as they come, and their answers unless a fault is on.

    Attributes:
        endpoint: its own, which stays the same.
        exchanges: what was said.

    """

    def __init__(self, target: str, exchanges: list[Exchange] | None = None) -> None:
        self._target = urlsplit(target)
        self._address = ("127.0.0.1", 0)
        self._choose: Callable[[str], Fault | None] = lambda _: None
        self._connections: set[socket.socket] = set()
        self.exchanges = exchanges if exchanges is not None else []

    def __enter__(self) -> Self:
        self._server = PatientServer(self._address, partial(_Handler, self))
        self._address = self._server.server_address
        self.endpoint = f"http://127.0.0.1:{self._address[1]}"
        threading.Thread(target=self._server.serve_forever, args=[0.05], daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    @contextlib.contextmanager
    def failing(
        self, fault: Fault, on: str | re.Pattern[str] = "", first: float = math.inf
    ) -> Iterator[None]:
        """Let requests fail whose method and target hold a text: each the first so many times it is made."""
        pattern = re.compile(re.escape(on)) if isinstance(on, str) else on
        asked: Counter[str] = Counter()
        before = self._choose

        def choose(request: str) -> Fault | None:
            asked[request] += 1
            return fault if pattern.search(request) and asked[request] <= first else before(request)

        self._choose = choose
        try:
            yield
        finally:
            self._choose = before

    @contextlib.contextmanager
    def closed(self) -> Iterator[None]:
        """End all connections and let every new one be refused."""
        self.__exit__()
        try:
            yield
        finally:
            self.__enter__()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, proxy: Proxy, *args: Any) -> None:
        self.proxy = proxy
        super().__init__(*args)

    def handle(self) -> None:
        self.proxy._connections.add(self.connection)
        with contextlib.suppress(OSError):  # clients end connections as they like
            super().handle()
        self.proxy._connections.discard(self.connection)

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fault = self.proxy._choose(f"{self.command} {self.path} {self.headers.get('Range', '')}")
        answer = fault(lambda: self.ask(body)) if fault else self.ask(body)
        if answer is None:
            self.close_connection = True
            self.rfile.read(1)  # nothing, once the client or the proxy has ended
            return
        sent = {name.lower(): value for name, value in self.headers.items()}
        self.proxy.exchanges.append(Exchange(self.command, self.path, sent, answer.status))
        self.send(answer)

    def ask(self, body: bytes) -> Answer:
        connection = http.client.HTTPConnection(self.proxy._target.hostname, self.proxy._target.port)
        with contextlib.closing(connection):
            # Header by header, as it came: the signature covers the host that the client knows.
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            headers, data = dict(answer.getheaders()), answer.read()
        length = int(headers.pop("Content-Length", 0))
        for name in ("Connection", "Transfer-Encoding"):
            headers.pop(name, None)
        # A HEAD's answer, and a 304, announce what does not come.
        return Answer(answer.status, headers, data, None if data else length)

    def send(self, answer: Answer) -> None:
        promised = len(answer.body) if answer.promised is None else answer.promised
        self.send_response_only(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(promised))
        self.end_headers()
        if self.command == "HEAD":
            pass
        elif answer.pace == math.inf:
            self.wfile.write(answer.body)
        else:
            for byte in answer.body:
                self.wfile.write(bytes([byte]))
                time.sleep(1 / answer.pace)
        self.close_connection = self.close_connection or answer.end != "kept"
        if answer.end == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.rfile.close()
            self.connection.close()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer  # noqa: N815 - the base class's names

    def log_message(self, *_: object) -> None:
        pass
