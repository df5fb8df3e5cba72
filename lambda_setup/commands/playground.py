"""``playground``: a form in the browser, and a server on this machine that asks the function for it.

The server holds the credentials, and the page none: it signs the calls itself and fetches what the function
stored. So who can reach it can spend them, and it lets in nobody but the page that it printed the address of:

- it listens on 127.0.0.1 alone, and answers to no other host's name, which a rebound name would have;
- every call brings a token that is new at each start. It stands in the address's fragment, which browsers
  send to nobody, and comes back as a header: a cookie would go to every port of this machine, and along with
  calls that other pages make;
- a call comes from this page's own origin, and is not larger than what Lambda takes.
"""

import argparse
import contextlib
import http.client
import json
import secrets
import tempfile
import threading
import time
import webbrowser
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lambda_setup import functions, viewer
from lambda_setup.commands.options import add_command, add_function, add_target
from lambda_setup.commands.results import facts, own_viewer, stored
from lambda_setup.deployment import Deployment, aws
from lambda_setup.deployment.local import LocalDeployment
from lambda_setup.deployment.responses import get_body, is_success
from lambda_setup.output import status

if TYPE_CHECKING:
    pass

LIMIT = 6_000_000
"""Bytes of a request: Lambda takes 6 MB in a synchronous call."""
IDLE = 30
"""Seconds in which a request has to arrive."""

FORM: Sequence[Mapping[str, Any]] = (
    {"name": "data", "kind": "lines", "label": "Sentences, one a line",
     "value": "The table has been changed.\nSelect the underlining style that you want to apply."},
    {"name": "beam", "kind": "number", "label": "Beam", "help": "hypotheses that the search keeps",
     "value": 5, "min": 1, "max": 20},
    {"name": "n_best", "kind": "number", "label": "N-best", "help": "how many of them come back",
     "value": 3, "min": 1, "max": 20},
    {"name": "return_attention", "kind": "flag", "label": "Attention maps", "value": True},
)  # fmt: skip
"""The fields of the translator's request, as the page asks for them; a ``FORM`` in a function's ``show.py``
has those of its own. ``name`` is the field's; ``kind`` is ``lines``, a list of strings, one a line;
``number``; ``flag``, true or false; or ``json``, which is the whole request and stands alone."""


def configure_parser(commands: Any) -> None:
    """Declare the command."""
    command = add_command(
        commands,
        "playground",
        run,
        help="try the function from a page in the browser",
        description="Serve a page on 127.0.0.1 with a form, send what is asked there to the function, and "
        "show the answers as `results show --html` does, until Ctrl-C. The function runs on this machine, as "
        "with `invoke`; with --stack it is a deployed one, which is called with your AWS credentials. They "
        "never reach the page. Only who has the address that is printed can use it.",
        example="python -m lambda_setup playground --stack translation --open",
    )
    add_target(
        command,
        stack="deployed stack whose function answers",
        local="take the model from what `make s3` serves, and store results there",
        model="folder of the model (default: the function's)",
    )
    add_function(command)
    command.add_argument("--port", type=int, default=0, metavar="N", help="(default: one that is free)")
    command.add_argument("--open", action="store_true", help="open the page in the browser")


def run(options: argparse.Namespace) -> int:
    """Serve until Ctrl-C."""
    function = functions.get(options.function)
    with contextlib.ExitStack() as stack:
        deployment = _open_deployment(options, function, stack)
        server = stack.enter_context(Playground(deployment, function.name, form_of(function), options.port))
        try:
            print(server.url, flush=True)
            status("serving the playground there; Ctrl-C ends it")
            if options.open:
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="playground-"))
                _open(server.url, Path(folder))
            server.serve_forever()
        except KeyboardInterrupt:
            status("ended")
    return 0


def _open_deployment(
    options: argparse.Namespace, function: functions.Function, stack: contextlib.ExitStack
) -> Deployment:
    if options.stack:
        return aws.AwsDeployment(aws.open_session(options.region, options.profile), options.stack)
    if options.local:
        with aws.readable_errors("local store"):
            local = LocalDeployment.connect(function.model.name)
    else:
        local = LocalDeployment.from_folder(options.model or function.model)
    stack.enter_context(local).start_functions()
    return local


def _open(url: str, folder: Path) -> None:
    """Open the address without naming it on a command line, which every user of this machine can read."""
    page = folder / "open.html"
    page.write_text(f'<!doctype html><meta http-equiv="refresh" content="0;url={url}">', encoding="utf-8")
    webbrowser.open(page.as_uri())


def form_of(function: functions.Function) -> Sequence[Mapping[str, Any]]:
    """Return the fields that a function is asked by: its own, the translator's, or the request as JSON."""
    own = getattr(own_viewer(function), "FORM", None)
    if own or function.name == "translation":
        return own or FORM
    event = json.dumps(json.loads(function.event.read_text(encoding="utf-8")), indent=1, ensure_ascii=False)
    return ({"name": "", "kind": "json", "label": "Request, as JSON", "value": event},)


class Playground(ThreadingHTTPServer):
    """A server on the loopback interface for one page and its calls.

    Attributes:
        token: what every call has to bring.

    """

    def __init__(
        self, deployment: Deployment, name: str, form: Sequence[Mapping[str, Any]], port: int = 0
    ) -> None:
        """Take what answers, what it is called, the fields of a request, and a port, or none for a free one.

        Raises:
            OSError: the port cannot be had.

        """
        try:
            super().__init__(("127.0.0.1", port), _Handler)
        except OSError as error:
            raise OSError(f"port {port} cannot be had, choose another with --port: {error}") from None
        self.token = secrets.token_urlsafe(32)
        self.hosts = {f"{name}:{self.server_port}" for name in ("127.0.0.1", "localhost")}
        self.page, self.policy = viewer.playground(f"Playground: {name}", [deployment.where], form)
        self._deployment = deployment
        self._one = threading.Lock()

    @property
    def url(self) -> str:
        """The address that lets a browser in."""
        return f"http://127.0.0.1:{self.server_port}/#token={self.token}"

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the page shows of the function's answer: items and facts, or an error."""
        started = time.monotonic()
        try:
            with self._one:  # the function on this machine takes one event after the other
                response = self._deployment.invoke({"result": "auto", **request})
            body = get_body(response)
            if not is_success(response):
                nothing = {"code": "NoError", "message": json.dumps(response)[:500]}
                status = response.get("statusCode") if isinstance(response, dict) else None
                return {"status": status, "error": body.get("error", nothing)}
            records, maps, place = self._found(body)
        except (OSError, RuntimeError, ValueError, http.client.HTTPException) as error:
            return {"error": {"code": type(error).__name__, "message": str(error)}}
        items = viewer.packed(records, maps)
        about = [
            self._deployment.where,
            f"answered in {time.monotonic() - started:.2f} s",
            *facts(body),
            *place,
        ]
        if not records:
            about.append(json.dumps(body, ensure_ascii=False)[:500])
        return {"about": about, "index": items.index, "blocks": items.blocks}

    def _found(self, body: Mapping[str, Any]) -> tuple[list[dict[str, Any]], Mapping[int, Any], list[str]]:
        """Return an answer's records and attention maps, wherever they are, and the place if that is S3."""
        if "s3_key" not in body:
            return *_taken_out(body.get("predictions", [])), []
        with aws.readable_errors("result bucket"):
            result = stored(self._deployment.client, body["s3_bucket"], body["s3_key"])
            return result.records, result.maps(), [result.place]


def _taken_out(records: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], Mapping[int, Any]]:
    """Return an inline answer's records without their attention, and that as maps by item."""
    import numpy as np

    maps = {}
    for item, record in enumerate(records):
        lists = [one.pop("attention") for one in record.get("hypotheses", ()) if "attention" in one]
        if lists:
            maps[item] = [np.array(one, np.float32) for one in lists]
    return records, maps


class _Handler(BaseHTTPRequestHandler):
    """Gives out the page to everybody, and calls the function for the page alone."""

    server: Playground
    timeout = IDLE
    server_version = "playground"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer with the page, which holds no secret."""
        if self._addressed("/"):
            self._send(200, "text/html; charset=utf-8", self.server.page, self.server.policy)

    def do_POST(self) -> None:
        """Answer with what the function does."""
        length = self._length()
        text = self.rfile.read(min(length or 0, LIMIT))  # who is refused sees no answer else
        if not self._addressed("/invoke"):
            return
        if self.headers.get_all("Origin") not in [[f"http://{host}"] for host in self.server.hosts]:
            self._refuse(403, "Origin", "only the playground's own page may ask")
        elif not secrets.compare_digest(
            (self.headers.get("Authorization") or "").encode(), f"Bearer {self.server.token}".encode()
        ):
            self._refuse(403, "Token", "the token is missing or of another playground; open the address that "
                         "the command printed")  # fmt: skip
        elif length is None:
            self._refuse(411, "Length", "the request does not say how long it is")
        elif length > LIMIT:
            self.rfile.read(min(length - LIMIT, 10 * LIMIT))
            self._refuse(413, "TooLarge", f"the request has {length:,} bytes, and Lambda takes {LIMIT:,}")
        else:
            self._answer(text)

    def _answer(self, text: bytes) -> None:
        try:
            request = json.loads(text)
        except ValueError as error:
            self._refuse(400, "BadRequest", f"the request is not JSON: {error}")
            return
        if not isinstance(request, dict):
            self._refuse(400, "BadRequest", "the request is a JSON object")
            return
        self._send(200, "application/json", json.dumps(self.server.ask(request)))

    def _addressed(self, path: str) -> bool:
        """Return whether a request is meant for us; if not, refuse it."""
        if self.headers.get_all("Host") not in [[host] for host in self.server.hosts]:
            self._refuse(421, "Host", f"this is {' or '.join(sorted(self.server.hosts))}, and nothing else")
        elif self.path != path:
            self._refuse(404, "NotFound", "there is nothing here but the playground")
        else:
            return True
        return False

    def _length(self) -> int | None:
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
        """Leave the terminal to the function's log."""
