"""A proxy in front of a server, that holds back what a test wants held back."""

import contextlib
import socket
import threading
from collections.abc import Iterator
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
