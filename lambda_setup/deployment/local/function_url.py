"""A function's URL on the loopback interface: an HTTP request becomes the event that Lambda would make of it.

Lambda's URL asks for a signature. This one asks for none, and so answers programs on this machine alone: no
other host name, which DNS rebinding would need, and no page of a browser.
"""

import base64
import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any

from lambda_setup.deployment.local.loopback import LoopbackServer

LIMIT = 6 * 1024 * 1024
"""Bytes of a request's body that Lambda takes."""
IDLE = 60
"""Seconds in which a request has to arrive."""


class FunctionUrl(LoopbackServer):
    """A server that answers requests of programs as the function does."""

    def __init__(self, invoke: Callable[[Any], Any], port: int) -> None:
        """Listen on a port, 0 for any free one; OSError if it is taken, or not allowed."""
        super().__init__(_Handler, port)
        self._invoke = invoke

    def ask(self, event: dict[str, Any]) -> tuple[int, str]:
        """Send an event to the function, and return the status and the body of its answer."""
        with self.turn:
            answer = self._invoke(event)
        if not isinstance(answer, dict) or "statusCode" not in answer:
            return HTTPStatus.BAD_GATEWAY, json.dumps({"Message": "Internal Server Error"})
        body = answer.get("body", "")
        return int(answer["statusCode"]), body if isinstance(body, str) else json.dumps(body)


class _Handler(BaseHTTPRequestHandler):
    """Requests of programs on this machine."""

    server: FunctionUrl
    timeout = IDLE
    server_version = "function-url"
    sys_version = ""

    def do_POST(self) -> None:
        """Send the function's answer."""
        length = self.headers.get("Content-Length") or "0"
        size = int(length) if length.isascii() and length.isdigit() else -1
        # A client that is still sending reads no refusal.
        body = self.rfile.read(min(max(size, 0), 10 * LIMIT))
        if self.headers.get_all("Host") not in [[host] for host in self.server.hosts]:
            self._send(HTTPStatus.MISDIRECTED_REQUEST, _say(f"this server is {self.server.url}"))
        elif self.headers.get("Origin") is not None:
            self._send(HTTPStatus.FORBIDDEN, _say("only programs may ask, and no page of a browser"))
        elif size < 0:
            self._send(HTTPStatus.LENGTH_REQUIRED, _say("the request has no valid Content-Length"))
        elif size > LIMIT:
            self._send(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _say(f"a request has at most {LIMIT:,} bytes"))
        else:
            try:
                self._send(*self.server.ask(self._make_event(body)))
            except (OSError, ValueError) as error:
                self._send(HTTPStatus.BAD_GATEWAY, _say(f"the function does not answer: {error}"))

    def do_GET(self) -> None:
        """Send the function's answer, which is that it takes a POST."""
        self.do_POST()

    def _make_event(self, body: bytes) -> dict[str, Any]:
        """Return the event of a request, in API Gateway's payload 2.0, as function URLs have it."""
        path, _, query = self.path.partition("?")
        now = datetime.now(UTC)
        host = self.headers["Host"]
        return {
            "version": "2.0",
            "routeKey": "$default",
            "rawPath": path,
            "rawQueryString": query,
            "headers": {name.lower(): value for name, value in self.headers.items()},
            "requestContext": {
                "accountId": "anonymous",
                "apiId": "local",
                "domainName": host,
                "domainPrefix": "local",
                "http": {
                    "method": self.command,
                    "path": path,
                    "protocol": self.request_version,
                    "sourceIp": self.client_address[0],
                    "userAgent": self.headers.get("User-Agent", ""),
                },
                "requestId": str(uuid.uuid4()),
                "routeKey": "$default",
                "stage": "$default",
                "time": now.strftime("%d/%b/%Y:%H:%M:%S +0000"),
                "timeEpoch": int(now.timestamp() * 1000),
            },
            **({"body": base64.b64encode(body).decode()} if body else {}),
            "isBase64Encoded": bool(body),
        }

    def _send(self, status: int, text: str) -> None:
        data = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Write nothing: the terminal shows the function's log."""


def _say(message: str) -> str:
    return json.dumps({"error": {"code": "Refused", "message": message}})
