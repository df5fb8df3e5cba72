"""The README's first screen is so: its class answers its curl command, under Lambda's runtime, as it says."""

import base64
import json
import re
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from support.project import ROOT

from lambda_setup import functions
from lambda_setup.deployment.local import Emulator, LocalDeployment

README = (ROOT / "README.md").read_text(encoding="utf-8")
CLASS = re.search(r"```python\n(.*?)```", README, re.DOTALL)
CURL = re.search(r"```\n(curl .*?)```", README, re.DOTALL)
ANSWER = re.search(r"```json\n(.*?)```", README, re.DOTALL)


@pytest.fixture(scope="module")
def url(tmp_path_factory) -> Iterator[str]:
    """Yield an address that hands requests to the README's class, as a function's URL does."""
    code = tmp_path_factory.mktemp("entities")
    (code / "app.py").write_text(CLASS[1], encoding="utf-8")
    with LocalDeployment.from_folder(functions.get("spacy").model) as own, Emulator(
        code, layers=own.layers, temporary=own.temporary, env=own.environment()
    ) as function, ThreadingHTTPServer(("127.0.0.1", 0), make_handler(function)) as server:  # fmt: skip
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def make_handler(function: Emulator) -> type[BaseHTTPRequestHandler]:
    """Return a handler that makes an event of a signed request, and a response of the answer."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            signed = re.match(
                r"AWS4-HMAC-SHA256 Credential=KEY/\d{8}/eu-central-1/lambda/aws4_request, ",
                self.headers.get("Authorization", ""),
            )
            answer = {"statusCode": 403, "body": "{}"}
            if signed:
                answer = function.invoke(
                    {"version": "2.0", "rawPath": "/", "headers": {}, "isBase64Encoded": True,
                     "requestContext": {"http": {"method": "POST"}}, "body": base64.b64encode(body).decode()}
                )  # fmt: skip
            self.send_response(answer["statusCode"])
            self.end_headers()
            self.wfile.write(answer["body"].encode())

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@pytest.mark.check
def test_the_class_answers_curl(url):
    """Copied from the page, the command prints the answer that stands below it."""
    variables = {"FUNCTION_URL": url, "AWS_REGION": "eu-central-1", "AWS_ACCESS_KEY_ID": "KEY",
                 "AWS_SECRET_ACCESS_KEY": "SECRET"}  # fmt: skip
    done = subprocess.run(
        ["/bin/bash", "-euc", CURL[1].replace("curl ", "curl --silent --show-error ", 1)],
        env={"PATH": "/usr/bin:/bin", **variables}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    answer, stated = json.loads(done.stdout), json.loads(ANSWER[1])
    for one in (answer, stated):
        one["model"].pop("version")
        one["timings_ms"] = sorted(one["timings_ms"])
    assert answer == stated


def test_the_page_is_one_screen_or_two():
    """The class ends within the first 70 lines, and the page within 140."""
    assert README.count("\n") <= 140
    assert README[: CLASS.end()].count("\n") <= 70
    assert len([line for line in CLASS[1].splitlines() if line.strip()]) <= 15
