"""The README's first screen is so: its class, served by its command, answers its curl as it says."""

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from support.project import ROOT

from lambda_setup.deployment.local.process import free_ports

README = (ROOT / "README.md").read_text(encoding="utf-8")
SIGNED = (ROOT / "docs" / "how-to" / "second_day.md").read_text(encoding="utf-8")
CLASS = re.search(r"```python\n(.*?)```", README, re.DOTALL)
SERVE = re.search(r"```\n(python -m lambda_setup serve .*?)\n```", README)
CURL = re.search(r"```\n(curl .*?)```", README, re.DOTALL)
ANSWER = re.search(r"```json\n(.*?)```", README, re.DOTALL)


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> Iterator[str]:
    """Yield the address at which the README's command serves the README's class."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "entities").mkdir()
    (folder / "entities" / "app.py").write_text(CLASS[1], encoding="utf-8")
    (folder / "models").symlink_to(ROOT / "models")
    [port] = free_ports(1)
    command = [sys.executable, *SERVE[1].split()[1:], "--port", str(port)]
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as serving:
        yield serving.stdout.readline().strip()
        serving.terminate()
        assert serving.wait(60) == 0


def run(command: str, **variables: str) -> str:
    """Run a page's curl in a shell, and return what it prints."""
    quiet = command.replace("curl ", "curl --silent --show-error ", 1)
    return subprocess.run(
        ["/bin/bash", "-euc", quiet], env={"PATH": "/usr/bin:/bin", **variables}, cwd=ROOT,
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip


@pytest.mark.check
def test_the_class_answers_curl(address):
    """Copied from the page, the commands print the answer that stands below them."""
    answer = json.loads(run(CURL[1].replace("http://127.0.0.1:8080", address)))
    stated = json.loads(ANSWER[1])
    for one in (answer, stated):
        one["model"].pop("version")
        one["timings_ms"] = sorted(one["timings_ms"])
    assert answer == stated


def test_curl_signs_for_a_deployed_function():
    """The command signs for Lambda in the region, and sends the event."""
    seen = {}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            seen.update(self.headers, body=json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    [command] = re.findall(r"```\n(curl .*?)```", SIGNED, re.DOTALL)
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/"
        run(
            command,
            FUNCTION_URL=url,
            AWS_REGION="eu-central-1",
            AWS_ACCESS_KEY_ID="KEY",
            AWS_SECRET_ACCESS_KEY="S",
        )
        thread.join()
    assert re.match(
        r"AWS4-HMAC-SHA256 Credential=KEY/\d{8}/eu-central-1/lambda/aws4_request, ", seen["Authorization"]
    )
    assert seen["body"] == json.loads((ROOT / "events" / "valid" / "inline.json").read_text())


def test_the_page_is_one_screen_or_two():
    """The class ends within the first 70 lines, and the page within 140."""
    assert README.count("\n") <= 140
    assert README[: ANSWER.end()].count("\n") <= 70
    assert len([line for line in CLASS[1].splitlines() if line.strip()]) <= 15
