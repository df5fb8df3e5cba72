"""The playground's server: it asks the function for a page in the browser.

The server holds the credentials, and the page none: it signs the calls itself and fetches stored results.
Whoever reaches it can spend the credentials, so it answers nobody but the page whose address it printed:

- it listens on 127.0.0.1 alone, and answers to no other host name, which DNS rebinding would need;
- every call brings a token that is new at each start. It stands in the address's fragment, which browsers
  send to nobody, and comes back as a header. A cookie would go to every port of this machine, and along with
  calls that other pages make;
- a call comes from this page's own origin, and is not larger than what Lambda takes.
"""

import http.client
import json
import secrets
import time
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler
from types import ModuleType
from typing import TYPE_CHECKING, Any

from lambda_setup.deployment import Deployment, aws
from lambda_setup.deployment.local.loopback import LoopbackServer
from lambda_setup.deployment.responses import get_body, is_success
from lambda_setup.viewer.page import build_playground, pack_items, page_items
from lambda_setup.viewer.result import list_facts, load_stored, take_arrays

if TYPE_CHECKING:
    from lambda_setup.viewer.result import Arrays

LIMIT = 6_000_000
"""Bytes of a request: Lambda takes 6 MB in a synchronous call."""
IDLE = 30
"""Seconds in which a request has to arrive."""


class Playground(LoopbackServer):
    """A server on the loopback interface for one page and its calls, which bring a secret token."""

    def __init__(
        self,
        deployment: Deployment,
        name: str,
        form: Sequence[Mapping[str, Any]],
        show: ModuleType,
        port: int = 0,
    ) -> None:
        """Listen on a port, 0 for any free one; OSError if it is taken, or not allowed."""
        super().__init__(_Handler, port)
        self.token = secrets.token_urlsafe(32)
        self.page, self.policy = build_playground(f"Playground: {name}", [deployment.where], form)
        self._deployment = deployment
        self._show = show

    @property
    def url(self) -> str:
        """The address that lets a browser in."""
        return f"{super().url}#token={self.token}"

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Send a request to the function, and return the answer's items and facts, or an error."""
        started = time.monotonic()
        try:
            with self.turn:
                response = self._deployment.invoke({"result": "auto", "arrays": "base64", **request})
            body = get_body(response)
            if not is_success(response):
                unknown = {"code": "NoError", "message": json.dumps(response)[:500]}
                status = response.get("statusCode") if isinstance(response, dict) else None
                return {"status": status, "error": body.get("error", unknown)}
            records, arrays, location = self._load_answer(body)
        except (OSError, RuntimeError, ValueError, http.client.HTTPException) as error:
            return {"error": {"code": type(error).__name__, "message": str(error)}}
        items = pack_items(page_items(records, arrays, self._show))
        seconds = f"answered in {time.monotonic() - started:.2f} s"
        facts = [self._deployment.where, seconds, *list_facts(body), *location]
        if not records:
            facts.append(json.dumps(body, ensure_ascii=False)[:500])
        return {"about": facts, "index": items.index, "blocks": items.blocks}

    def _load_answer(
        self, body: Mapping[str, Any]
    ) -> "tuple[list[dict[str, Any]], Mapping[int, Arrays], list[str]]":
        """Return an answer's records and arrays, and their location if that is S3."""
        if "s3_key" not in body:
            taken = [take_arrays(record) for record in body.get("predictions", [])]
            return [record for record, _ in taken], {place: own for place, (_, own) in enumerate(taken)}, []
        with aws.readable_errors("result bucket"):
            result = load_stored(self._deployment.client, body["s3_bucket"], body["s3_key"])
            return result.records, result.arrays(), [result.location]


class _Handler(BaseHTTPRequestHandler):
    """Requests of browsers: everybody gets the page, and only the page's calls reach the function."""

    server: Playground
    timeout = IDLE
    server_version = "playground"
    sys_version = ""

    def do_GET(self) -> None:
        """Send the page, which holds no secret."""
        if self._check_address("/"):
            self._send(200, "text/html; charset=utf-8", self.server.page, self.server.policy)

    def do_POST(self) -> None:
        """Send the function's answer to a request."""
        length = self._content_length()
        text = self.rfile.read(min(length or 0, LIMIT))  # a browser that is still sending reads no refusal
        if not self._check_address("/invoke"):
            return
        if self.headers.get_all("Origin") not in [[f"http://{host}"] for host in self.server.hosts]:
            self._refuse(403, "Origin", "only the playground's own page may ask")
        elif not secrets.compare_digest(
            (self.headers.get("Authorization") or "").encode(), f"Bearer {self.server.token}".encode()
        ):
            self._refuse(403, "Token", "the token is missing or of another playground; open the address that "
                         "the command printed")  # fmt: skip
        elif length is None:
            self._refuse(411, "Length", "the request has no valid Content-Length")
        elif length > LIMIT:
            self.rfile.read(min(length - LIMIT, 10 * LIMIT))
            self._refuse(413, "TooLarge", f"the request has {length:,} bytes; Lambda takes {LIMIT:,} at most")
        else:
            self._answer(text)

    def _answer(self, text: bytes) -> None:
        try:
            request = json.loads(text)
        except (ValueError, RecursionError) as error:
            self._refuse(400, "BadRequest", f"the request is not JSON: {error}")
            return
        if not isinstance(request, dict):
            self._refuse(400, "BadRequest", "the request is not a JSON object")
            return
        self._send(200, "application/json", json.dumps(self.server.ask(request)))

    def _check_address(self, path: str) -> bool:
        """Return whether a request names this server and a path; if not, refuse it."""
        if self.headers.get_all("Host") not in [[host] for host in self.server.hosts]:
            self._refuse(421, "Host", f"this server is {' or '.join(sorted(self.server.hosts))}")
        elif self.path != path:
            self._refuse(404, "NotFound", "only the playground is here")
        else:
            return True
        return False

    def _content_length(self) -> int | None:
        length = self.headers.get("Content-Length") or ""
        return int(length) if length.isascii() and length.isdigit() else None

    def _refuse(self, status: int, code: str, message: str) -> None:
        error = {"error": {"code": code, "message": message}}
        self._send(status, "application/json", json.dumps(error))

    def _send(
        self, status: int, kind: str, text: str, policy: str = "default-src 'none'; frame-ancestors 'none'"
    ) -> None:
        data = text.encode()
        self.send_response(status)
        for name, value in {
            "Content-Type": kind,
            "Content-Length": str(len(data)),
            "Content-Security-Policy": policy,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-store",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Write nothing: the terminal shows the function's log."""
