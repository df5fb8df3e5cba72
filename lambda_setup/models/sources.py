"""Sources of models: a folder, a web server or an S3 prefix, whose files can be read from any byte on."""

import functools
import http.client
import os
import re
import ssl
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit

from lambda_setup.errors import CommandError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

TIMEOUT = 30
"""Seconds to wait for a silent server."""
EXPECTED = "a folder, http(s):// URL or s3://bucket/prefix with a model.toml and the files it names"
_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z")


class DownloadError(CommandError):
    """A file did not arrive, or arrived damaged; the exit code is 1, not 2 as for a wrong argument."""


class Stream(NamedTuple):
    """A file being read: its ETag, empty if it cannot be resumed, its size, and the offset of the stream."""

    body: Any
    etag: str
    total: int | None
    start: int


class Source:
    """A source of a model; ``retryable`` are the exceptions of a broken connection."""

    retryable: tuple[type[Exception], ...] = ()

    def __init__(self, location: str) -> None:
        self.location = location

    def open(self, name: str, start: int = 0, etag: str = "") -> Stream:
        """Open a file at an offset if it still has this ETag, else at its beginning."""
        raise NotImplementedError


class Folder(Source):
    """A local folder."""

    def open(self, name: str, start: int = 0, etag: str = "") -> Stream:
        """Open a file; its modification time and size serve as ETag."""
        try:
            file = Path(self.location, name).open("rb")  # noqa: SIM115 - the response closes it
        except (FileNotFoundError, NotADirectoryError):
            raise CommandError(f"{self.location} has no {name}; expected {EXPECTED}") from None
        status = os.fstat(file.fileno())
        tag = f"{status.st_mtime_ns}-{status.st_size}"
        return Stream(file, tag, status.st_size, file.seek(start if tag == etag else 0))


class Http(Source):
    """A folder on a web server."""

    retryable = (URLError, http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError)

    def open(self, name: str, start: int = 0, etag: str = "") -> Stream:
        """Open a file, resumed by Range and If-Range."""
        headers = {"Range": f"bytes={start}-", "If-Range": etag} if start and etag else {}
        request = urllib.request.Request(f"{self.location}/{quote(name)}", headers=headers)  # noqa: S310 - checked
        try:
            response = _build_opener().open(request, timeout=TIMEOUT)
        except HTTPError as error:
            error.close()
            if headers and error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                return self.open(name)
            raise DownloadError(f"{request.full_url} answered {error.code}; expected {EXPECTED}") from None
        tag = response.headers.get("ETag", "")
        extent = _parse_extent(response.headers.get("Content-Range"), response.headers.get("Content-Length"))
        return Stream(response, "" if tag.startswith("W/") else tag, *extent)


@functools.cache
def _build_opener() -> urllib.request.OpenerDirector:
    """Return an opener for http and https alone: the default one follows redirects to ftp."""
    opener = urllib.request.OpenerDirector()
    for handler in ("Proxy", "HTTP", "HTTPS", "HTTPRedirect", "HTTPDefaultError", "Unknown"):
        opener.add_handler(getattr(urllib.request, f"{handler}Handler")())
    opener.add_handler(urllib.request.HTTPErrorProcessor())
    return opener


class S3(Source):
    """A prefix in a bucket."""

    def __init__(self, location: str, open_client: Callable[..., "S3Client"]) -> None:
        from botocore.exceptions import BotoCoreError

        super().__init__(location)
        self._open_client = open_client
        self.retryable = (BotoCoreError, ConnectionError, TimeoutError)

    @functools.cached_property
    def _client(self) -> "S3Client":
        from botocore.config import Config

        return self._open_client(config=Config(connect_timeout=TIMEOUT, read_timeout=TIMEOUT))

    def open(self, name: str, start: int = 0, etag: str = "") -> Stream:
        """Open an object, resumed by Range and If-Match."""
        from botocore.exceptions import ClientError

        rest: dict[str, Any] = {"Range": f"bytes={start}-", "IfMatch": etag} if start and etag else {}
        bucket, _, key = f"{self.location}/{name}".removeprefix("s3://").partition("/")
        try:
            response = self._client.get_object(Bucket=bucket, Key=key, **rest)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if rest and code in {"PreconditionFailed", "InvalidRange"}:
                return self.open(name)
            raise DownloadError(f"{self.location}/{name} answered {code}; expected {EXPECTED}") from None
        extent = _parse_extent(response.get("ContentRange"), response["ContentLength"])
        return Stream(response["Body"], response["ETag"], *extent)


def parse_source(text: str, open_client: Callable[..., "S3Client"]) -> Source:
    """Return the source for a folder or URL on the command line; ``open_client`` is called for s3:// alone.

    CommandError for another scheme, an archive, or a URL with a query or credentials, which is not repeated.
    """
    url = urlsplit(text) if "://" in text else None
    if url and url.scheme not in {"http", "https", "s3"}:
        raise CommandError(f"{url.scheme}:// is not supported; expected {EXPECTED}")
    if url and (not url.hostname or url.query or url.fragment or "@" in url.netloc):
        raise CommandError(
            f"the {url.scheme} URL needs a host, and no user, query or fragment; expected {EXPECTED}"
        )
    if text.rstrip("/").lower().endswith(_ARCHIVES):
        raise CommandError(f"{text} is an archive; unpack it and name its folder: expected {EXPECTED}")
    if not url:
        return Folder(text)
    location = f"{url.scheme}://{url.netloc}{url.path}".rstrip("/")
    return S3(location, open_client) if url.scheme == "s3" else Http(location)


def _parse_extent(content_range: str | None, length: str | int | None) -> tuple[int | None, int]:
    """Return a file's size and the offset at which the response's body begins."""
    if match := re.fullmatch(r"bytes (\d+)-\d+/(\d+)", content_range or ""):
        return int(match[2]), int(match[1])
    return None if length is None else int(length), 0
