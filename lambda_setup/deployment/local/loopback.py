"""A server on the loopback interface, in front of a function that takes one event after the other."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class PatientServer(ThreadingHTTPServer):
    """A server of which more clients may wait to be accepted than Python's 5.

    A client beyond these waits for seconds until it asks again, and some give up.
    """

    request_queue_size = 128


class LoopbackServer(PatientServer):
    """A server that only this machine reaches; handlers compare ``hosts`` with the Host that a request names.

    Another host name that leads here is how DNS rebinding would reach it.
    """

    def __init__(self, handler: type[BaseHTTPRequestHandler], port: int) -> None:
        """Listen on a port, 0 for any free one; OSError if it is taken, or not allowed."""
        try:
            super().__init__(("127.0.0.1", port), handler)
        except OSError as error:
            raise OSError(f"cannot listen on port {port}; choose another with --port ({error})") from None
        self.hosts = {f"{name}:{self.server_port}" for name in ("127.0.0.1", "localhost")}
        self.turn = threading.Lock()
        """Held while the function answers."""

    @property
    def url(self) -> str:
        """The server's address."""
        return f"http://127.0.0.1:{self.server_port}/"
