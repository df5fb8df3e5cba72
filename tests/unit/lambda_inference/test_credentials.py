"""Credentials from the endpoint that Lambda names to a function with SnapStart."""

import json
import threading
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from lambda_inference import _credentials
from lambda_inference._errors import Unavailable

KEYS = {"AccessKeyId": "access", "SecretAccessKey": "secret", "Token": "session"}


@contextmanager
def answering(body: bytes, status: int = 200):
    """Answer everything with one body, and yield the address, and the paths and tokens that came."""
    seen: list[tuple[str, str | None]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append((self.path, self.headers["Authorization"]))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/credentials", seen
        server.shutdown()


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """Return the environment of a function with SnapStart."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "the token")
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:9/none")
    return monkeypatch


def test_endpoint_is_asked_only_where_variables_hold_no_keys(environment):
    """With keys among the variables, or without an endpoint, obstore finds credentials itself."""
    assert _credentials.find_provider() is _credentials.fetch_from_container
    environment.setenv("AWS_ACCESS_KEY_ID", "some")
    assert _credentials.find_provider() is None
    environment.delenv("AWS_ACCESS_KEY_ID")
    environment.delenv("AWS_CONTAINER_CREDENTIALS_FULL_URI")
    assert _credentials.find_provider() is None


def test_credentials_come_with_their_end(environment):
    """The token is sent as it is, and the end is known, so that they are asked for anew in time."""
    with answering(json.dumps(KEYS | {"Expiration": "2030-01-02T03:04:05Z"}).encode()) as (address, seen):
        environment.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", address)
        found = _credentials.fetch_from_container()
        environment.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{address}?role=mine")
        assert _credentials.fetch_from_container() == found
    assert seen == [("/credentials", "the token"), ("/credentials?role=mine", "the token")]
    assert found == {
        "access_key_id": "access",
        "secret_access_key": "secret",
        "token": "session",
        "expires_at": datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC),
    }


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"", 200), (b"no JSON", 200), (b"[]", 200), (b"{}", 200), (b'{"message": "no"}', 403)],
)
def test_no_credentials_are_told(environment, body, status):
    """Whatever else is answered, the error says so and quotes nothing."""
    with answering(body, status) as (address, _):
        environment.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", address)
        with pytest.raises(Unavailable, match="credentials are temporarily unavailable"):
            _credentials.fetch_from_container()


def test_nobody_there_is_told():
    """An endpoint that does not answer is an error of some seconds."""
    with pytest.raises(Unavailable, match="credentials are temporarily unavailable"):
        _credentials.fetch_from_container()


def test_the_token_goes_to_nobody_else(environment):
    """Without encryption it is sent to this machine only."""
    environment.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://example.com/credentials")
    with pytest.raises(Unavailable, match="must name this machine or use HTTPS"):
        _credentials.fetch_from_container()
