"""S3 as a function needs it: ranged reads into memory, and conditional writes.

obstore is imported and connected at first use: it costs a cold start less than a tenth of what boto3 does.
"""

import os
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from lambda_inference import _credentials
from lambda_inference._errors import AccessDenied, Refused, Unavailable
from lambda_inference._storage_errors import Missing, is_conflict, translate

if TYPE_CHECKING:
    from obstore import GetOptions, GetResult
    from obstore.store import S3Store

# A storage that does not answer becomes a fault after some seconds, well inside any timeout; the caller
# can then retry.
_CONNECT_TIMEOUT = "3s"
_CONFLICT_PAUSES = (0.1, 0.3, 0.9)
"""Seconds before a conditional write is repeated that met another one."""
_RETRIES: dict[str, Any] = {"max_retries": 4, "retry_timeout": timedelta(seconds=15)}


ABSENT = (Missing, AccessDenied)
"""The errors of a missing object: to a role that may not list a bucket, S3 answers 403 instead of 404."""


class Bucket:
    """One S3 bucket, with the credentials and the endpoint that the environment names.

    Attributes:
        seconds: how long one request may take.

    """

    def __init__(self, name: str, seconds: int = 60) -> None:
        self.name = name
        self.seconds = seconds
        self._store: S3Store | None = None

    def read(self, key: str) -> memoryview:
        """Return an object's bytes.

        Raises:
            Missing: there is no such object.
            Unavailable: S3 did not answer, or denied access.

        """
        return self._get(key)[0]

    def find(self, key: str) -> memoryview | None:
        """Return an object's bytes, or None if it is absent."""
        try:
            return self.read(key)
        except ABSENT:
            return None

    def find_metadata(self, key: str) -> Mapping[str, str] | None:
        """Return an object's user-defined metadata, or None if it is absent."""
        import obstore

        try:
            with self._translate_errors(key):
                return dict(obstore.get(self._connect(), key, options={"head": True}).attributes)
        except ABSENT:
            return None

    def read_size(self, key: str) -> int:
        """Return the bytes of an object.

        Raises:
            Missing: there is no such object.
            Unavailable: S3 did not answer, or denied access.

        """
        import obstore

        try:
            with self._translate_errors(key):
                return obstore.head(self._connect(), key)["size"]
        except AccessDenied:
            # The answer to a HEAD has no document. That to a GET says whether it is a key, or the clock.
            return self.read_range(key, 0, 1)[1]

    def read_range(self, key: str, start: int, end: int) -> tuple[memoryview, int]:
        """Return an object's bytes from ``start`` to before ``end``, or to its own end, and its size.

        Raises:
            Missing: there is no such object.
            Unavailable: S3 did not answer, denied access, has nothing at ``start``, or sent fewer bytes.

        """
        data, response = self._get(key, {"range": (start, end)})
        size = response.meta["size"]
        if start + len(data) < (end := min(end, size)):
            raise Unavailable(f"s3://{self.name}/{key} ends before byte {end:,}")
        return data, size

    def read_if_changed(self, key: str, etag: str | None) -> tuple[memoryview, str | None] | None:
        """Return an object's bytes and its ETag, or None if its ETag is still this one.

        Raises:
            Missing: there is no such object.
            Unavailable: S3 did not answer, or denied access.

        """
        from obstore.exceptions import NotModifiedError

        try:
            data, response = self._get(key, {"if_none_match": etag} if etag else None)
        except NotModifiedError:
            return None
        return data, response.meta["e_tag"]

    def read_into(self, key: str, buffer: memoryview, start: int) -> None:
        """Fill a buffer with an object's bytes from ``start`` on.

        Raises:
            Missing: there is no such object.
            Unavailable: S3 did not answer, denied access, or has fewer bytes.

        """
        import obstore

        from lambda_inference._buffers import copy_bytes

        with self._translate_errors(key):
            part = obstore.get_range(self._connect(), key, start=start, length=len(buffer))
        if len(part) != len(buffer):
            raise Unavailable(f"s3://{self.name}/{key} ends before byte {start + len(buffer)}")
        copy_bytes(part, buffer)

    def replace(self, key: str, data: bytes, content_type: str) -> None:
        """Write an object, in place of one that exists.

        Raises:
            Unavailable: S3 did not answer, or denied access.

        """
        import obstore

        with self._translate_errors(key, writing=True):
            obstore.put(self._connect(), key, data, attributes={"Content-Type": content_type})

    def create(self, key: str, data: bytes, content_type: str, metadata: Mapping[str, str]) -> bool:
        """Write an object unless it exists, and return whether it was written.

        Raises:
            Unavailable: S3 did not answer, or denied access.

        """
        import obstore
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        attributes = {"Content-Type": content_type, **metadata}
        pauses = iter(_CONFLICT_PAUSES)
        with self._translate_errors(key, writing=True):
            while True:
                try:
                    obstore.put(self._connect(), key, data, mode="create", attributes=attributes)
                except (AlreadyExistsError, PreconditionError) as error:
                    if not is_conflict(error):
                        return False
                    if (pause := next(pauses, None)) is None:
                        raise
                    time.sleep(pause)
                except FileNotFoundError:  # only a bucket can be missing from a write
                    raise Refused(f"there is no bucket {self.name}; the template names it") from None
                else:
                    return True

    def _get(self, key: str, options: "GetOptions | None" = None) -> "tuple[memoryview, GetResult]":
        """Return an object's bytes and S3's response; a body that ends too early is retried once."""
        import obstore
        from obstore.exceptions import BaseError

        with self._translate_errors(key):
            response = obstore.get(self._connect(), key, options=options)
            try:
                return memoryview(response.bytes()), response
            except BaseError:
                response = obstore.get(self._connect(), key, options=options)
                return memoryview(response.bytes()), response

    def _connect(self) -> "S3Store":
        if self._store is None:
            from obstore.store import S3Store

            endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
            options: dict[str, Any] = {"endpoint": endpoint} if endpoint else {}
            if provider := _credentials.find_provider():
                options["credential_provider"] = provider
            self._store = S3Store(
                self.name,
                client_options={
                    "connect_timeout": _CONNECT_TIMEOUT,
                    "timeout": f"{self.seconds}s",
                    "allow_http": bool(endpoint and endpoint.startswith("http://")),
                },
                retry_config=_RETRIES,  # type: ignore[arg-type]
                **options,
            )
        return self._store

    def disconnect(self) -> None:
        """Drop connections and credentials; the next request makes new ones."""
        self._store = None

    def _translate_errors(self, key: str, *, writing: bool = False) -> "_ErrorTranslator":
        return _ErrorTranslator(f"s3://{self.name}/{key}", writing=writing)


_buckets: dict[tuple[str, int], Bucket] = {}


def get_bucket(name: str, seconds: int = 60) -> Bucket:
    """Return this process's Bucket of a name; its connections outlive an invocation."""
    return _buckets.setdefault((name, seconds), Bucket(name, seconds))


def disconnect() -> None:
    """Disconnect every bucket: connections and credentials in a restored snapshot are stale."""
    for bucket in _buckets.values():
        bucket.disconnect()


class _ErrorTranslator:
    """A context that turns the client's errors into ours."""

    def __init__(self, url: str, *, writing: bool) -> None:
        self.url = url
        self.writing = writing

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if not isinstance(error, Exception):
            return
        from obstore.exceptions import BaseError, NotModifiedError

        # A response that says "not modified" is not a fault.
        if isinstance(error, BaseError | FileNotFoundError) and not isinstance(error, NotModifiedError):
            raise translate(error, self.url, writing=self.writing) from None
