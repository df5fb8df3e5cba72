"""A model and a function of a few lines, which need no layer, and one S3 for all tests."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lambda_setup.deployment.local import S3Server

DESCRIPTION = """
name = "tiny"
engine = "shout"
precision = "none"
files = ["word.txt"]
[libraries]
"""
FUNCTION = """
import os
def lambda_handler(event, context):
    if "data" not in event:
        return {"statusCode": 400, "body": "no data"}
    answer = {"echo": ascii(event["data"]), "result": event.get("result"), "environment": dict(os.environ)}
    return {"statusCode": 200, "body": {"predictions": [answer]}}
"""


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> Path:
    """Return the folder of a model that is one word."""
    folder = tmp_path_factory.mktemp("model")
    (folder / "model.toml").write_text(DESCRIPTION)
    (folder / "word.txt").write_text("hey")
    return folder


@pytest.fixture(scope="session")
def code(tmp_path_factory) -> Path:
    """Return the folder of a function that answers with what it sees."""
    folder = tmp_path_factory.mktemp("code")
    (folder / "app.py").write_text(FUNCTION)
    return folder


class Running(S3Server):
    """A server that runs already, in the place of one that is started and ended."""

    def __init__(self, server: S3Server) -> None:
        super().__init__(access_key=server.access_key, secret_key=server.secret_key)
        self.endpoint, self.left = server.endpoint, 0

    def __enter__(self):
        return self

    def __exit__(self, *_: object) -> None:
        self.left += 1


@pytest.fixture(scope="session")
def share() -> Iterator[Callable[[], Running]]:
    """Yield what stands for a new server: starting one takes seconds."""
    with S3Server() as server:
        yield lambda: Running(server)
