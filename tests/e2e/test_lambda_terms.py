"""The same function under all of Lambda's terms, of which ``sam local`` keeps only some.

Code and layers are read-only, and so is everything else but /tmp, which has the size that the template
gives; the memory is limited, and swapping forbidden; there is no /dev/shm, no capability and no user
but one without rights; and no network but S3. Probes show that each of these holds.
"""

import http.client
import json
import re
import shutil
import socket
import threading
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from samcli import local as samcli_local
from support.answers import differences
from support.events import case

from e2e.conftest import ARCHITECTURE, PYTHON, ROOT
from e2e.engine import container, wait_until
from lambda_setup.deployment.responses import parse_response

MEMORY, TEMPORARY, TIMEOUT = 1769, 512, 120  # the template's defaults
EMULATOR = Path(samcli_local.__path__[0]) / "rapid" / f"aws-lambda-rie-{ARCHITECTURE}"
PROBES = """
import ctypes, multiprocessing, os, socket, sys

def writes(path):
    open(path, "w").close()

def fills(megabytes):
    with open("/tmp/full", "wb") as file:
        for _ in range(megabytes):
            file.write(bytes(2**20))

def shares():
    multiprocessing.Queue()

def takes(megabytes):
    return len(bytearray(megabytes * 2**20).replace(b"\\0", b"1", 1))

def connects(host, port):
    socket.create_connection((host, port), timeout=3).close()

def becomes(user):
    os.setuid(user)

def handler(event, context):
    globals()[event["does"]](*event["with"])
    return "done"
"""


@contextmanager
def forwarded(address, endpoint):
    """Forward connections to an address of this machine to a server; yield the port."""
    target = urlsplit(endpoint)

    def pump(source, sink):
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def accept():
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection((target.hostname, target.port))
                for ends in ((client, server), (server, client)):
                    threading.Thread(target=pump, args=ends, daemon=True).start()

    with socket.create_server((address, 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]


@pytest.fixture(scope="module")
def network(engine):
    """Yield a network that leads nowhere but to this machine; its name, and this machine's address in it."""
    name = "translation-e2e"
    engine.has("network", "rm", name)
    engine.run("network", "create", "--internal", name)
    try:
        address = engine.run("network", "inspect", "--format", "{{(index .IPAM.Config 0).Gateway}}", name)
        yield name, address
    finally:
        engine.run("network", "rm", name)


@pytest.fixture(scope="module")
def layers(built, tmp_path_factory):
    """Both layers in one folder, as Lambda puts them into /opt."""
    folder = tmp_path_factory.mktemp("opt")
    for name in ("DependencyLayer", "LambdaInferenceLayer"):
        shutil.copytree(built / name, folder, dirs_exist_ok=True)
    return folder


@contextmanager
def function(engine, image, network, code, layers, handler, variables):
    """Yield a function that answers an event, in a container under Lambda's terms."""
    environment = {
        "AWS_LAMBDA_FUNCTION_NAME": "function",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": MEMORY,
        "AWS_LAMBDA_FUNCTION_TIMEOUT": TIMEOUT,
        "AWS_REGION": "eu-central-1",
        "AWS_EXECUTION_ENV": f"AWS_Lambda_python{PYTHON}",
        **variables,
    }
    options = [
        "--network", network, "--read-only", "--ipc", "none", "--user", "993:990", "--cap-drop", "ALL",
        "--security-opt", "no-new-privileges", "--pids-limit", 1024,
        "--memory", f"{MEMORY}m", "--memory-swap", f"{MEMORY}m",
        "--tmpfs", f"/tmp:rw,exec,nosuid,mode=1777,size={TEMPORARY}m",
        "--volume", f"{code}:/var/task:ro", "--volume", f"{layers}:/opt:ro",
        "--volume", f"{EMULATOR}:/rie:ro",
        *(part for name, value in environment.items() for part in ("--env", f"{name}={value}")),
    ]  # fmt: skip
    with container(
        engine, *options, "--entrypoint", "/rie", image, "/var/runtime/bootstrap", handler
    ) as identity:
        address = engine.run(
            "inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", identity
        )

        def answers():
            with suppress(OSError), socket.create_connection((address, 8080), timeout=1):
                return True
            return False

        def invoke(event):
            connection = http.client.HTTPConnection(address, 8080, timeout=TIMEOUT + 30)
            with closing(connection):
                path = "/2015-03-31/functions/function/invocations"
                connection.request("POST", path, body=json.dumps(event).encode())
                return parse_response(connection.getresponse().read().decode())

        wait_until(answers, 60)
        yield invoke


@pytest.fixture(scope="module")
def translator(engine, image, network, built, layers, s3):
    """Yield the translator, under the terms."""
    name, address = network
    variables = json.loads((ROOT / "events" / "env.json").read_text())["TranslationFunction"]
    with forwarded(address, s3) as port:
        variables |= {"AWS_ENDPOINT_URL_S3": f"http://{address}:{port}", "ENGINE": "opennmt"}
        code = built / "TranslationFunction"
        with function(engine, image, name, code, layers, "app.lambda_handler", variables) as invoked:
            yield invoked


@pytest.fixture(scope="module")
def probes(engine, image, network, layers, tmp_path_factory):
    """Yield a function that tries what Lambda refuses."""
    folder = tmp_path_factory.mktemp("task")
    folder.chmod(0o755)
    (folder / "app.py").write_text(PROBES)
    with function(engine, image, network[0], folder, layers, "app.handler", {}) as invoked:
        yield invoked


@pytest.mark.parametrize(
    "name", ["event", "valid/inline_attention", "valid/longest_item", "valid/http_inline"]
)
def test_translator_keeps_the_terms(translator, say, name):
    """It answers as everywhere."""
    one = case(name)
    found = translator(one.event)

    say(f"{name}: {json.dumps(found, ensure_ascii=False)[:200]}")
    assert differences(one.answer, found) == []


@pytest.mark.parametrize(
    ("does", "arguments", "message"),
    [
        ("writes", ["/opt/python/x"], "Read-only file system"),
        ("writes", ["/var/task/x"], "Read-only file system"),
        ("writes", ["/home/x"], "Read-only file system"),
        ("fills", [TEMPORARY + 1], "No space left on device"),
        ("shares", [], "No such file or directory"),
        ("connects", ["1.1.1.1", 443], "timed out|unreachable"),
        ("becomes", [0], "Operation not permitted"),
    ],
    ids=lambda value: str(value) if not isinstance(value, list) else "-".join(map(str, value)),
)
def test_refused(probes, does, arguments, message):
    """What Lambda refuses is refused here."""
    assert re.search(message, json.dumps(probes({"does": does, "with": arguments})))


def test_memory(probes):
    """Whoever takes more memory than there is is killed; the next event finds a new process."""
    assert "done" not in json.dumps(probes({"does": "takes", "with": [2 * MEMORY]}))
    assert probes({"does": "takes", "with": [MEMORY // 4]}) == "done"


def test_temporary_folder(probes):
    """What Lambda allows is allowed here: to write to its folder for temporary files."""
    assert probes({"does": "writes", "with": ["/tmp/x"]}) == "done"
