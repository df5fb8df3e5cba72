"""Lambda's Invoke on the loopback interface, in front of emulated functions: each call goes to a free one."""

import http.client
import json
import queue
import re
import threading
from collections.abc import Iterable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any, Self

from lambda_setup.deployment.local.emulator import Emulator
from lambda_setup.deployment.local.loopback import PatientServer

_PATH = re.compile(r"/2015-03-31/functions/[^/]+/invocations")


class LambdaService:
    """Lambda's API with one function, in as many environments as there are emulators."""

    def __init__(self, emulators: Iterable[Emulator]) -> None:
        self._idle: queue.SimpleQueue[Emulator] = queue.SimpleQueue()
        for emulator in emulators:
            self._idle.put(emulator)

    def __enter__(self) -> Self:
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if not _PATH.fullmatch(self.path.partition("?")[0]):
                    error = {"Message": "this service only knows Invoke"}
                    self._send(HTTPStatus.NOT_FOUND, error, "ResourceNotFoundException")
                    return
                try:
                    response = _read_payload(service.send(body).decode())
                except (OSError, http.client.HTTPException) as error:
                    message = {"Message": str(error)}
                    self._send(HTTPStatus.INTERNAL_SERVER_ERROR, message, "ServiceException")
                    return
                failed = isinstance(response, dict) and "errorType" in response
                self._send(HTTPStatus.OK, response, "Unhandled" if failed else "")

            def _send(self, status: HTTPStatus, content: Any, error: str) -> None:
                data = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                if error:
                    ok = status == HTTPStatus.OK
                    self.send_header("X-Amz-Function-Error" if ok else "X-Amzn-ErrorType", error)
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = PatientServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def send(self, body: bytes) -> bytes:
        """Send an event to an idle environment, wait for one if there is none, and return the payload."""
        emulator = self._idle.get()
        try:
            return emulator.send(body)
        finally:
            self._idle.put(emulator)


def _read_payload(payload: str) -> Any:
    """Return a response, an error with its errorType as Lambda has it."""
    try:
        return json.loads(payload)
    except (ValueError, RecursionError):  # "Task timed out after 3.00 seconds"
        kind = "Sandbox.Timedout" if "timed out" in payload else "Runtime.Unknown"
        return {"errorType": kind, "errorMessage": payload.strip()}
