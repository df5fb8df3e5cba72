"""What S3 refuses, as a function's caller is told it: a server answers as S3 does."""

import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer

import obstore
import pytest
from obstore.exceptions import GenericError
from obstore.store import MemoryStore
from support.refusals import CLOCK, DENIED, KMS

from lambda_inference import _storage
from lambda_inference._errors import AccessDenied, Refused, Unavailable
from lambda_inference._storage import Bucket
from lambda_inference._storage_errors import Missing

CODES = {404: "NoSuchBucket", 403: "AccessDenied", 400: "InvalidRequest", 200: ""}


@pytest.fixture
def refusing(monkeypatch):
    """Start a server that answers with statuses in turn, the last one for ever, and lead a bucket to it."""
    servers = []
    monkeypatch.setitem(_storage._RETRIES, "max_retries", 1)
    monkeypatch.setattr(_storage, "_CONFLICT_PAUSES", (0, 0))

    def start(*statuses: int, code: str = "", more: str = "") -> Bucket:
        left = list(statuses)

        class Refusal(BaseHTTPRequestHandler):
            def answer(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status = left.pop(0) if len(left) > 1 else left[0]
                error = f"<Error><Code>{code or CODES[status]}</Code><Message>secret</Message>{more}"
                body = f"{error}<RequestId>4442587FB7D0A2F9</RequestId></Error>".encode()
                server.asked.append(self.command)
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("ETag", '"1"')
                if status == HTTPStatus.PARTIAL_CONTENT:
                    self.send_header("Content-Range", "bytes 0-999/1000")  # and the body has fewer
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_GET = do_PUT = do_HEAD = answer  # noqa: N815 - the base class names them

            def log_message(self, *_) -> None:
                pass

        server = HTTPServer(("127.0.0.1", 0), Refusal)
        server.asked = []
        threading.Thread(target=server.serve_forever, args=[0.05], daemon=True).start()
        servers.append(server)
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{server.server_port}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "any")
        monkeypatch.setenv("AWS_REGION", "us-east-1")
        bucket = Bucket("bucket")
        bucket.asked = server.asked
        return bucket

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def read(bucket):
    """Read an object."""
    return bucket.read("key")


def create(bucket):
    """Write an object unless it exists."""
    return bucket.create("key", b"", "text/plain", {})


def replace(bucket):
    """Write an object."""
    return bucket.replace("key", b"", "text/plain")


REGION = "<Region>eu-west-1</Region>"
KEY = "<Message>User: x is not authorized to perform: kms:Decrypt</Message>"
ANSWERS = [
    # status, code, more of the document, operations, fault, what the message has
    (301, "PermanentRedirect", "", (read, create, replace), Refused, "another region, and"),
    (400, "AuthorizationHeaderMalformed", REGION, (read, create), Refused, "in eu-west-1, and"),
    (403, "AccessDenied", KEY, (read, create, replace), Refused, "KmsKeyArn"),
    (400, "KMS.DisabledException", "", (read, create), Refused, "KmsKeyArn"),
    (403, "RequestTimeTooSkewed", "", (read, create), Unavailable, "clock"),
    (403, "AccessDenied", "", (create, replace), Refused, "may not write"),
    (403, "AccessDenied", "", (read,), AccessDenied, "it is missing, or"),
    (409, "ConditionalRequestConflict", "", (create,), Unavailable, "same time"),
    (409, "OperationAborted", "", (replace,), Unavailable, "same time"),
    (503, "SlowDown", "", (read, create, replace), Unavailable, "fewer requests"),
    (500, "InternalError", "", (read, create), Unavailable, "try again"),
    (400, "ExpiredToken", "", (read, create), Unavailable, "try again"),
    (416, "InvalidRange", "", (read,), Unavailable, "try again"),
    (400, "InvalidRequest", "", (read, create), Refused, "InvalidRequest"),
]  # fmt: skip


@pytest.mark.parametrize(("status", "code", "more", "calls", "kind", "text"), ANSWERS,
                         ids=[f"{one[0]}-{one[1]}-{one[4].__name__}" for one in ANSWERS])  # fmt: skip
def test_what_s3_said_is_told(refusing, status, code, more, calls, kind, text):
    """A fault says S3's code, its status, the request's id, and what to do; S3's own words stay out."""
    for call in calls:
        with pytest.raises(Unavailable) as caught:
            call(refusing(status, code=code, more=more))
        assert type(caught.value) is kind
        message = caught.value.message
        assert text in message
        assert f"S3 answered {status} {code}" in message
        assert "secret" not in message
        assert "not authorized" not in message
        # obstore does not read what comes with a redirect.
        assert ("4442587FB7D0A2F9" in message) == (status != 301)


@pytest.mark.parametrize("status", [301, 400])
def test_a_head_in_another_region_names_the_region(refusing, status):
    """The answer to a HEAD has no document; the message still says where to look."""
    with pytest.raises(Refused, match="another region"):
        refusing(status, code="any").find_metadata("key")


def test_a_write_that_met_another_is_repeated(refusing):
    """409 asks for another attempt; the object is then written, or there."""
    bucket = refusing(409, 409, 200, code="ConditionalRequestConflict")
    assert create(bucket)
    assert bucket.asked == ["PUT"] * 3
    assert not create(refusing(409, 412, code="any"))


def test_a_key_that_may_not_be_used_is_no_missing_object(refusing):
    """Only a plain 403 may stand for an object that is not there."""
    with pytest.raises(Refused):
        refusing(403, code="AccessDenied", more=KEY).find("key")
    with pytest.raises(Unavailable, match="clock"):
        refusing(403, code="RequestTimeTooSkewed").find("key")


@pytest.mark.parametrize(
    ("refusal", "kind"),
    [(KMS, Refused), (CLOCK, Unavailable), (DENIED, AccessDenied)],
    ids=["kms", "clock", ""],
)
def test_why_a_head_is_denied(refusing, refusal, kind):
    """The answer to a HEAD has no document, so that a GET asks for the reason before an object is missing."""
    bucket = refusing(403, code=refusal.code, more=f"<Message>{refusal.message}</Message>")
    with pytest.raises(Unavailable) as caught:
        bucket.read_size("key")
    assert type(caught.value) is kind
    assert bucket.asked == ["HEAD", "GET"]


def test_a_missing_bucket_is_unavailable_to_a_writer(refusing):
    """A 404 to a write is a bucket that is not there, and no fault of the caller's."""
    with pytest.raises(Unavailable, match="no bucket bucket"):
        refusing(404).create("key", b"", "text/plain", {})


def test_a_missing_object_is_missing_to_a_reader(refusing):
    """A 404 to a read is an object that is not there."""
    with pytest.raises(Missing, match="s3://bucket/key"):
        refusing(404).read("key")


def test_a_range_that_ends_too_early_is_not_taken(refusing):
    """A range that has fewer bytes than S3 announces is an error, and is not taken for a shorter one."""
    with pytest.raises(Unavailable, match="s3://bucket/key ends before byte 1,000"):
        refusing(206, code="any").read_range("key", 0, 1000)


def test_a_body_that_ends_too_early_is_asked_for_again(refusing, monkeypatch):
    """Once: the second one is the object, or the fault."""
    bucket, whole = refusing(200), obstore.get

    class Cut:
        def bytes(self):
            raise GenericError("error decoding response body")

    def cut(times):
        left = [Cut()] * times
        monkeypatch.setattr(obstore, "get", lambda *args, **kw: left.pop() if left else whole(*args, **kw))

    cut(1)
    assert bytes(bucket.read("key")).startswith(b"<Error>")
    cut(2)
    with pytest.raises(Unavailable):
        bucket.read("key")


def test_a_buffer_is_filled_from_a_place_on(monkeypatch):
    """Or not at all, where the object has fewer bytes."""
    memory, buffer = MemoryStore(), bytearray(3)
    obstore.put(memory, "key", b"abcdef")
    monkeypatch.setattr(Bucket, "_connect", lambda _: memory)
    Bucket("bucket").read_into("key", memoryview(buffer), 2)
    assert buffer == b"cde"
    with pytest.raises(Unavailable, match="s3://bucket/key ends before byte 7"):
        Bucket("bucket").read_into("key", memoryview(buffer), 4)
    assert buffer == b"cde"


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
