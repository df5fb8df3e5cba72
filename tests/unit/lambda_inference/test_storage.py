"""What S3 refuses, as a function's caller is told it."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from lambda_inference._errors import AccessDenied, Unavailable
from lambda_inference._storage import Bucket, Missing

CODES = {404: "NoSuchBucket", 403: "AccessDenied", 400: "InvalidRequest"}


@pytest.fixture
def refusing(monkeypatch):
    """Start a server that refuses everything with a status, and lead a bucket to it."""
    servers = []

    def start(status: int) -> Bucket:
        class Refusal(BaseHTTPRequestHandler):
            def answer(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                body = f"<Error><Code>{CODES[status]}</Code><Message>secret</Message></Error>".encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_PUT = do_HEAD = answer  # noqa: N815 - the base class names them

            def log_message(self, *_) -> None:
                pass

        server = HTTPServer(("127.0.0.1", 0), Refusal)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{server.server_port}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "any")
        monkeypatch.setenv("AWS_REGION", "us-east-1")
        return Bucket("bucket")

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_missing_bucket_is_unavailable_to_a_writer(refusing):
    """A 404 to a write is a bucket that is not there, and no fault of the caller's."""
    with pytest.raises(Unavailable, match="no bucket bucket"):
        refusing(404).create("key", b"", "text/plain", {})


def test_a_missing_object_is_missing_to_a_reader(refusing):
    """A 404 to a read is an object that is not there."""
    with pytest.raises(Missing, match="s3://bucket/key"):
        refusing(404).read("key")


@pytest.mark.parametrize("status", [403, 400])
def test_a_refusal_is_unavailable_without_its_text(refusing, status):
    """What S3 says is not passed on; that it refused access is."""
    bucket = refusing(status)
    for call in (lambda: bucket.read("key"), lambda: bucket.create("key", b"", "text/plain", {})):
        with pytest.raises(Unavailable) as caught:
            call()
        assert "secret" not in caught.value.message
        assert isinstance(caught.value, AccessDenied) == (status == 403)


@pytest.mark.parametrize("status", [404, 403])
def test_an_absent_object_is_none_to_who_looks_for_it(refusing, status):
    """To a role that may not list the bucket, S3 answers 403 for a missing object."""
    bucket = refusing(status)
    assert bucket.find("key") is None
    assert bucket.find_metadata("key") is None


def test_who_looks_for_an_object_hears_of_other_faults(refusing):
    """An object that S3 could not be asked for is not absent."""
    bucket = refusing(400)
    for find in (bucket.find, bucket.find_metadata):
        with pytest.raises(Unavailable):
            find("key")
