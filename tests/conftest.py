"""Fixtures that all tests share: functions, stacks, and what stands between them."""

import contextlib
import functools
import gc
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import botocore.session
import pytest
from support.applications import WarmFunction
from support.project import MODEL

from lambda_setup import functions
from lambda_setup.deployment.local import Emulator, LocalDeployment

CASES: Counter[str] = Counter()


def pytest_itemcollected(item: pytest.Item) -> None:
    """Leave to ``make check`` all cases of a sampled test but every n-th.

    An n that divides no parameter's number of values goes through all values of each.
    """
    if mark := item.get_closest_marker("sample"):
        test = item.nodeid.partition("[")[0]
        if CASES[test] % mark.args[0]:
            item.add_marker("check")
        CASES[test] += 1


def pytest_collection_finish() -> None:
    """Leave what is imported out of garbage collections: functions collect where they swap models."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _aws_descriptions() -> Iterator[None]:
    """Let every boto3 session of a process share what it reads of AWS's services; half a second each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.session, "create_loader", functools.cache(botocore.session.create_loader))
        yield


@pytest.fixture(scope="session")
def function_log(tmp_path_factory) -> Path:
    """Return what the stack's functions print."""
    return tmp_path_factory.mktemp("logs") / "function.log"


@pytest.fixture(scope="session")
def stack(function_log) -> LocalDeployment:
    """Yield a real S3 server with the shipped model in it, for all tests."""
    with function_log.open("wb") as log, LocalDeployment.from_folder(MODEL, log=log) as running:
        yield running


@pytest.fixture(scope="session")
def start_function(tmp_path_factory) -> Iterator[Callable[..., WarmFunction]]:
    """Any function of the project, by its name: started at first use, warm from then on."""
    with contextlib.ExitStack() as stack:

        @functools.cache
        def start(name: str, model: Path | None = None) -> WarmFunction:
            log = tmp_path_factory.mktemp(name) / "function.log"
            file = stack.enter_context(log.open("wb"))
            own = stack.enter_context(
                LocalDeployment.from_folder(model or functions.get(name).model, log=file)
            )
            return WarmFunction(stack.enter_context(own.function()), own, log)

        yield start


@pytest.fixture(scope="session")
def function(stack) -> Emulator:
    """Yield the function, warm from the second test on."""
    with stack.function() as running:
        yield running


@pytest.fixture(scope="session")
def two_versions(tmp_path_factory):
    """Yield the shipped model and a second version of it, in a stack of their own."""
    from support.second_model import Versions

    folder = tmp_path_factory.mktemp("versions")
    with (folder / "function.log").open("wb") as log, LocalDeployment.from_folder(MODEL, log=log) as running:
        yield Versions(running, folder / "function.log", folder)


@pytest.fixture
def versions(two_versions):
    """Both versions, the channel pointing to the first."""
    two_versions.point(two_versions.first)
    return two_versions


@pytest.fixture
def proxy(versions):
    """Yield a proxy in front of the S3 that has both versions."""
    from support.proxy import Proxy

    with Proxy(versions.stack.s3.endpoint) as running:
        yield running


@pytest.fixture(scope="module")
def moto():
    """Yield an AWS account's services on the loopback interface, as moto has them: the endpoint."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()
