"""Where models are fetched from: a folder, a web server, S3; each file by name, from any byte on."""

import functools
import http.client
import os
import re
import ssl
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

TIMEOUT = 30
"""Seconds that a silent server is waited for."""
EXPECTED = "a folder, http(s):// URL or s3://bucket/prefix that holds model.toml and the files it names"
_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z")


class Refused(ValueError):
    """What was asked for cannot be done the way it was asked."""


class Failed(RuntimeError):
    """What was asked for did not come, or is not what it has to be."""


class Opened(NamedTuple):
    """A file being read: its tag, "" when it cannot be continued; its size; the byte it is read from."""

    stream: Any
    etag: str
    total: int | None
    start: int


class Source(Protocol):
    """Where a model comes from: a place for messages, and the errors of a broken connection."""

    location: str
    broken: tuple[type[Exception], ...]

    def open(self, name: str, start: int = 0, etag: str = "") -> Opened:
        """Open a file at a byte if it still has this tag, else at its beginning."""


class Folder:
    """A folder of this machine."""

    broken: tuple[type[Exception], ...] = ()

    def __init__(self, location: str) -> None:
        self.location, self.path = location, Path(location)

    def open(self, name: str, start: int = 0, etag: str = "") -> Opened:
        """Open a file; its tag is its time and size."""
        try:
            file = (self.path / name).open("rb")
        except (FileNotFoundError, NotADirectoryError):
            raise Refused(f"{self.location} holds no {name}; expected {EXPECTED}") from None
        status = os.fstat(file.fileno())
        tag = f"{status.st_mtime_ns}-{status.st_size}"
        return Opened(file, tag, status.st_size, file.seek(start if tag == etag else 0))


class Http:
    """A folder of a web server."""

    broken: tuple[type[Exception], ...] = (
        URLError, http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError
    )  # fmt: skip

    def __init__(self, location: str) -> None:
        self.location = location
        # Not what urlopen uses: that one would follow a redirect to ftp.
        self._opener = urllib.request.OpenerDirector()
        for handler in ("Proxy", "HTTP", "HTTPS", "HTTPRedirect", "HTTPDefaultError", "Unknown"):
            self._opener.add_handler(getattr(urllib.request, f"{handler}Handler")())
        self._opener.add_handler(urllib.request.HTTPErrorProcessor())

    def open(self, name: str, start: int = 0, etag: str = "") -> Opened:
        """Open a file, the rest of it by Range and If-Range."""
        headers = {"Range": f"bytes={start}-", "If-Range": etag} if start and etag else {}
        request = urllib.request.Request(f"{self.location}/{quote(name)}", headers=headers)  # noqa: S310 - checked
        try:
            answer = self._opener.open(request, timeout=TIMEOUT)
        except HTTPError as error:
            error.close()
            if headers and error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                return self.open(name)
            raise Failed(f"{request.full_url} answered {error.code}; expected {EXPECTED}") from None
        tag = answer.headers.get("ETag", "")
        extent = _extent(answer.headers.get("Content-Range"), answer.headers.get("Content-Length"))
        return Opened(answer, "" if tag.startswith("W/") else tag, *extent)


class S3:
    """A prefix in a bucket."""

    def __init__(self, location: str) -> None:
        from botocore.exceptions import BotoCoreError

        self.location = location
        self.broken: tuple[type[Exception], ...] = (BotoCoreError, ConnectionError, TimeoutError)

    @functools.cached_property
    def _client(self) -> "S3Client":
        import boto3
        from botocore.config import Config

        return boto3.client("s3", config=Config(connect_timeout=TIMEOUT, read_timeout=TIMEOUT))

    def open(self, name: str, start: int = 0, etag: str = "") -> Opened:
        """Open an object, the rest of it by Range and If-Match."""
        from botocore.exceptions import ClientError

        rest: dict[str, Any] = {"Range": f"bytes={start}-", "IfMatch": etag} if start and etag else {}
        bucket, _, key = f"{self.location}/{name}".removeprefix("s3://").partition("/")
        try:
            answer = self._client.get_object(Bucket=bucket, Key=key, **rest)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if rest and code in {"PreconditionFailed", "InvalidRange"}:
                return self.open(name)
            raise Failed(f"{self.location}/{name} answered {code}; expected {EXPECTED}") from None
        extent = _extent(answer.get("ContentRange"), answer["ContentLength"])
        return Opened(answer["Body"], answer["ETag"], *extent)


def source_of(given: str) -> Source:
    """Return the source that was given on the command line."""
    url = urlsplit(given) if "://" in given else None
    if url and url.scheme not in {"http", "https", "s3"}:
        raise Refused(f"{url.scheme}:// is not supported; expected {EXPECTED}")
    if url and (not url.hostname or url.query or url.fragment or "@" in url.netloc):
        raise Refused(f"the {url.scheme} URL has no host, or a user, query or fragment; expected {EXPECTED}")
    if given.rstrip("/").lower().endswith(_ARCHIVES):
        raise Refused(f"{given} is an archive; unpack it and name its folder: expected {EXPECTED}")
    if not url:
        return Folder(given)
    location = f"{url.scheme}://{url.netloc}{url.path}".rstrip("/")
    return S3(location) if url.scheme == "s3" else Http(location)


def _extent(content_range: str | None, length: str | int | None) -> tuple[int | None, int]:
    """Return how long a file is, and where the part of it starts that is the answer's body."""
    if found := re.fullmatch(r"bytes (\d+)-\d+/(\d+)", content_range or ""):
        return int(found[2]), int(found[1])
    return None if length is None else int(length), 0
