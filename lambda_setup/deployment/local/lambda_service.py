"""Lambda's Invoke on the loopback interface, in front of emulated functions: each call goes to a free one."""

import http.client
import json
import queue
import re
import threading
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from lambda_setup.deployment.local.emulator import Emulator

_PATH = re.compile(r"/2015-03-31/functions/[^/]+/invocations")


class LambdaService:
    """What a client of Lambda calls, with one function in as many environments as there are emulators.

    Attributes:
        endpoint: its URL.

    """

    def __init__(self, emulators: Iterable[Emulator]) -> None:
        self._free: queue.SimpleQueue[Emulator] = queue.SimpleQueue()
        for one in emulators:
            self._free.put(one)

    def __enter__(self) -> Self:
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if not _PATH.fullmatch(self.path.partition("?")[0]):
                    self._answer(
                        404, {"Message": "this service only knows Invoke"}, "ResourceNotFoundException"
                    )
                    return
                try:
                    response = service.invoke(body)
                except (OSError, http.client.HTTPException) as error:
                    self._answer(500, {"Message": str(error)}, "ServiceException")
                    return
                failed = isinstance(response, dict) and "errorType" in response
                self._answer(200, response, "Unhandled" if failed else "")

            def _answer(self, status: int, content: Any, error: str) -> None:
                data = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                if error:
                    self.send_header(
                        "X-Amz-Function-Error" if status == 200 else "X-Amzn-ErrorType",  # noqa: PLR2004
                        error,
                    )
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def invoke(self, body: bytes) -> Any:
        """Send an event to a free environment and return what Lambda would: an error with its errorType."""
        emulator = self._free.get()
        try:
            answer = emulator.send(body).decode()
        finally:
            self._free.put(emulator)
        try:
            return json.loads(answer)
        except json.JSONDecodeError:  # "Task timed out after 3.00 seconds"
            kind = "Sandbox.Timedout" if "timed out" in answer else "Runtime.Unknown"
            return {"errorType": kind, "errorMessage": answer.strip()}
