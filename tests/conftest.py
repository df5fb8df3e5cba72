"""Shared by all tests: the project's places, its events, and one running stack."""

import contextlib
import functools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lambda_setup import functions
from lambda_setup.deployment.local import Emulator, Stack

ROOT = Path(__file__).resolve().parent.parent
MODEL = ROOT / "models" / "en-es"
AFTER = {"invalid/id_taken": "valid/repeated_id"}
"""Events whose answer another one prepares."""


@dataclass(frozen=True)
class Case:
    """An event file and the answer beside it."""

    path: Path
    home: Path = ROOT

    @property
    def name(self) -> str:
        return str(self.path.relative_to(self.home / "events").with_suffix(""))

    @property
    def event(self) -> Any:
        return json.loads(self.path.read_text())

    @property
    def answer(self) -> Any:
        return json.loads(self.path.with_suffix(".answer.json").read_text())


def case(name: str) -> Case:
    """Return the case of ``events/<name>.json``."""
    return Case(ROOT / "events" / f"{name}.json")


def cases(home: Path = ROOT) -> list[Case]:
    """Return every case of the function whose events are there, the valid ones first."""
    folders = [home / "events" / kind for kind in ("valid", "invalid")]
    found = [
        home / "events" / "event.json",
        *(path for one in folders for path in sorted(one.glob("*.json"))),
    ]
    return [Case(path, home) for path in found if not path.name.endswith(".answer.json")]


@pytest.fixture(scope="session")
def function_log(tmp_path_factory) -> Path:
    """What the stack's functions print."""
    return tmp_path_factory.mktemp("logs") / "function.log"


@pytest.fixture(scope="session")
def stack(function_log) -> Stack:
    """A real S3 server with the shipped model in it, for all tests."""
    with function_log.open("wb") as log, Stack(MODEL, log=log) as running:
        yield running


@dataclass(frozen=True)
class Running:
    """A function that answers events, with the stack that it stands in and the file it logs to."""

    function: Emulator
    stack: Stack
    log: Path

    def invoke(self, event: Any) -> Any:
        """Send an event and return the response."""
        return self.function.invoke(event)


@pytest.fixture(scope="session")
def running(tmp_path_factory) -> Iterator[Callable[..., Running]]:
    """Any function of the project, by its name: started at first use, warm from then on."""
    with contextlib.ExitStack() as stack:

        @functools.cache
        def start(name: str, model: Path | None = None) -> Running:
            log = tmp_path_factory.mktemp(name) / "function.log"
            file = stack.enter_context(log.open("wb"))
            own = stack.enter_context(Stack(model or functions.named(name).model, log=file))
            return Running(stack.enter_context(own.function()), own, log)

        yield start


@pytest.fixture(scope="session")
def function(stack) -> Emulator:
    """The function, warm from the second test on."""
    with stack.function() as running:
        yield running


@pytest.fixture(scope="session")
def two_versions(tmp_path_factory):
    """The shipped model and a second version of it, in a stack of their own."""
    from support.second_model import Versions

    folder = tmp_path_factory.mktemp("versions")
    with (folder / "function.log").open("wb") as log, Stack(MODEL, log=log) as running:
        yield Versions(running, folder / "function.log", folder)


@pytest.fixture
def versions(two_versions):
    """Both versions, the channel pointing to the first."""
    two_versions.point(two_versions.first)
    return two_versions


@pytest.fixture
def proxy(versions):
    """A proxy in front of the S3 that has both versions."""
    from support.proxy import Proxy

    with Proxy(versions.stack.s3.endpoint) as running:
        yield running


@pytest.fixture(scope="module")
def moto():
    """An AWS account's services on the loopback interface, as moto has them: the endpoint."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()
