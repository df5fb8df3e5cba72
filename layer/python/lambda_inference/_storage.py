"""S3 as the function needs it: ranged reads into memory, and writes that happen once.

obstore is imported and connected at first use: it costs a cold start less than a tenth of what boto3 does.
"""

import os
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from lambda_inference import _credentials
from lambda_inference._errors import Unavailable

if TYPE_CHECKING:
    from obstore import GetOptions, GetResult
    from obstore.store import S3Store

# A storage that does not answer is told to the caller after some seconds, well inside any
# timeout; whoever called can then try again.
_CONNECT_TIMEOUT = "3s"
_RETRIES: dict[str, Any] = {"max_retries": 4, "retry_timeout": timedelta(seconds=15)}


class Missing(Exception):
    """There is no such object."""


class Bucket:
    """One S3 bucket, with the credentials and the endpoint that the environment names.

    Attributes:
        seconds: how long one request may take.

    """

    def __init__(self, name: str, seconds: int = 60) -> None:
        self.name = name
        self.seconds = seconds
        self._store: S3Store | None = None

    def read(self, key: str) -> tuple[memoryview, Mapping[str, str]]:
        """Return an object's bytes and its user-defined metadata.

        Raises:
            Missing: there is no such object.
            Unavailable: S3 did not answer, or refused.

        """
        data, answer = self._whole(key)
        return data, dict(answer.attributes)

    def size(self, key: str) -> int:
        """Return how many bytes an object has.

        Raises:
            Missing: there is no such object.
            Unavailable: S3 did not answer, or refused.

        """
        import obstore

        with self._explained(key):
            return obstore.head(self._connected(), key)["size"]

    def metadata(self, key: str) -> Mapping[str, str]:
        """Return an object's user-defined metadata.

        Raises:
            Missing: there is no such object.
            Unavailable: S3 did not answer, or refused.

        """
        import obstore

        with self._explained(key):
            return dict(obstore.get(self._connected(), key, options={"head": True}).attributes)

    def read_range(self, key: str, start: int, end: int) -> tuple[memoryview, int]:
        """Return an object's bytes from ``start`` to before ``end``, or to its own end, and its size.

        Raises:
            Missing: there is no such object.
            Unavailable: S3 did not answer, refused, or has nothing at ``start``.

        """
        data, answer = self._whole(key, {"range": (start, end)})
        return data, answer.meta["size"]

    def read_unless(self, key: str, etag: str | None) -> tuple[memoryview, str | None] | None:
        """Return an object's bytes and its ETag, None if it has this one.

        Raises:
            Missing: there is no such object.
            Unavailable: S3 did not answer, or refused.

        """
        from obstore.exceptions import NotModifiedError

        try:
            data, answer = self._whole(key, {"if_none_match": etag} if etag else None)
        except NotModifiedError:
            return None
        return data, answer.meta["e_tag"]

    def read_into(self, key: str, buffer: memoryview, start: int) -> None:
        """Fill a buffer with an object's bytes from ``start`` on.

        Raises:
            Missing: there is no such object.
            Unavailable: S3 did not answer, refused, or has fewer bytes.

        """
        import obstore

        with self._explained(key):
            part = memoryview(obstore.get_range(self._connected(), key, start=start, length=len(buffer)))
        if len(part) != len(buffer):
            raise Unavailable(f"s3://{self.name}/{key} ends before byte {start + len(buffer)}")
        buffer[:] = part

    def replace(self, key: str, data: bytes, content_type: str) -> None:
        """Write an object, whether there is one or not.

        Raises:
            Unavailable: S3 did not answer, or refused.

        """
        import obstore

        with self._explained(key):
            obstore.put(self._connected(), key, data, attributes={"Content-Type": content_type})

    def create(self, key: str, data: bytes, content_type: str, metadata: Mapping[str, str]) -> bool:
        """Write an object unless there is one, and return whether it was written.

        Raises:
            Unavailable: S3 did not answer, or refused.

        """
        import obstore
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        with self._explained(key):
            try:
                obstore.put(
                    self._connected(),
                    key,
                    data,
                    mode="create",
                    attributes={"Content-Type": content_type, **metadata},
                )
            except (AlreadyExistsError, PreconditionError):
                return False
            except FileNotFoundError:  # only a bucket can be missing from a write
                raise Unavailable(f"there is no bucket {self.name}; the template names it") from None
            return True

    def _whole(self, key: str, options: "GetOptions | None" = None) -> "tuple[memoryview, GetResult]":
        """Return an object's bytes, asked for once more if they end too early, and what else S3 said."""
        import obstore
        from obstore.exceptions import BaseError

        with self._explained(key):
            answer = obstore.get(self._connected(), key, options=options)
            try:
                return memoryview(answer.bytes()), answer
            except BaseError:
                answer = obstore.get(self._connected(), key, options=options)
                return memoryview(answer.bytes()), answer

    def _connected(self) -> "S3Store":
        if self._store is None:
            from obstore.store import S3Store

            endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
            options: dict[str, Any] = {"endpoint": endpoint} if endpoint else {}
            if found := _credentials.provider():
                options["credential_provider"] = found
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
        """Forget connections and credentials; the next request makes new ones."""
        self._store = None

    def _explained(self, key: str) -> "_Explained":
        return _Explained(f"s3://{self.name}/{key}")


_buckets: dict[tuple[str, int], Bucket] = {}


def bucket(name: str, seconds: int = 60) -> Bucket:
    """Return the one Bucket of a name in this process, whose connections outlive an invocation."""
    return _buckets.setdefault((name, seconds), Bucket(name, seconds))


def disconnect() -> None:
    """Disconnect every bucket: what a snapshot holds of connections and credentials is of no use."""
    for each in _buckets.values():
        each.disconnect()


class _Explained:
    """Turns the client's errors into ours, without their detail: it may hold addresses and headers."""

    def __init__(self, url: str) -> None:
        self.url = url

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if error is None or not isinstance(error, Exception):
            return
        from obstore.exceptions import (
            BaseError,
            NotModifiedError,
            PermissionDeniedError,
            UnauthenticatedError,
        )

        if isinstance(error, NotModifiedError):  # an answer, and no fault
            return
        if isinstance(error, FileNotFoundError):
            raise Missing(self.url) from None
        if isinstance(error, PermissionDeniedError | UnauthenticatedError):
            fault = Unavailable(
                f"S3 refused access to {self.url}: the object is missing, or the function's role may not"
            )
            fault.refused = True
            raise fault from None
        if isinstance(error, BaseError):
            raise Unavailable(f"S3 did not answer for {self.url}; try again") from None
