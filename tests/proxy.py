"""Proxies in front of a server: one holds back what a test wants held back, one writes down what is said."""

import contextlib
import http.client
import http.server
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit


class Gate:
    """Where a connection stops when it carries a given text from the client, until the end of the test."""

    def __init__(self, text: bytes) -> None:
        self._text = text
        self.reached = threading.Event()
        self._opened = threading.Event()

    def holds(self, data: bytes) -> bool:
        """Return whether a connection that carried this must wait, after it has waited."""
        if self._text not in data:
            return False
        self.reached.set()
        self._opened.wait()
        return True

    def open(self) -> None:
        """Let the waiting connections go, to their end."""
        self._opened.set()


@contextlib.contextmanager
def gated(endpoint: str, gate: Gate) -> Iterator[str]:
    """Forward connections to an endpoint, but for those that a gate holds; yield the proxy's own endpoint."""
    target = urlsplit(endpoint)
    connections: list[socket.socket] = []

    def pump(source: socket.socket, sink: socket.socket, watch: bool) -> None:
        seen = b""
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                seen = (seen + data)[-70000:]
                if watch and gate.holds(seen):
                    break
                sink.sendall(data)
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection((target.hostname, target.port))
                connections.extend((client, server))
                for source, sink, watch in ((client, server, True), (server, client, False)):
                    threading.Thread(target=pump, args=(source, sink, watch), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        acceptor = threading.Thread(target=accept, daemon=True)
        acceptor.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            gate.open()
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            for connection in connections:
                connection.close()


@dataclass(frozen=True)
class Exchange:
    """A request that a server got, its headers' names in lower case, and the status that its client got."""

    method: str
    target: str
    headers: Mapping[str, str]
    status: int


@contextlib.contextmanager
def recorded(
    endpoint: str, exchanges: list[Exchange], lose: Callable[[str, str], bool] = lambda _, __: False
) -> Iterator[str]:
    """Forward requests to an endpoint and keep what was said; yield the proxy's own endpoint.

    Of a request whose method and target ``lose`` picks, the server's answer is lost: it did what it
    was asked, and the client gets a 503.
    """
    target = urlsplit(endpoint)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one_request(self) -> None:
            with contextlib.suppress(ConnectionError):  # clients end connections as they like
                super().handle_one_request()

        def forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            connection = http.client.HTTPConnection(target.hostname, target.port)
            with contextlib.closing(connection):
                # Header by header, as it came: the signature covers the host that the client knows.
                connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                for name, value in self.headers.items():
                    connection.putheader(name, value)
                connection.endheaders(body)
                answer = connection.getresponse()
                status, headers, data = answer.status, answer.getheaders(), answer.read()
            if lose(self.command, self.path):
                status, headers, data = 503, [], b""
            sent = {name.lower(): value for name, value in self.headers.items()}
            exchanges.append(Exchange(self.command, self.path, sent, status))
            self.send_response_only(status)
            for name, value in headers:
                if name.lower() not in {"connection", "content-length", "transfer-encoding"}:
                    self.send_header(name, value)
            length = dict(headers).get("Content-Length", "0") if self.command == "HEAD" else str(len(data))
            self.send_header("Content-Length", length)
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = forward  # noqa: N815 - the base class's names

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
