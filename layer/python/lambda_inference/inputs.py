"""Objects that a request names instead of holding them, below one prefix of the result bucket."""

import contextlib
from collections.abc import Iterator

from lambda_inference._errors import BadRequest, Unavailable
from lambda_inference._settings import Settings
from lambda_inference._storage import ABSENT, Bucket, get_bucket
from lambda_inference._storage_errors import Missing

__all__ = ["PREFIX", "read", "read_range"]

PREFIX = "inputs/"
"""The function's role may read nothing else in that bucket but results."""


def read(key: str, field: str, most: int) -> memoryview:
    """Return the bytes of an object.

    Args:
        key: such as ``inputs/cat.png``.
        field: the request's field that has it, for errors.
        most: the most bytes that the object may have.

    Raises:
        BadRequest: the key is outside of the prefix, or its object is missing or too large.
        Unavailable: S3 did not answer.

    """
    with _open_bucket(key, field) as bucket:
        size = bucket.read_size(key)
        if size > most:
            raise BadRequest(
                f"{field} names an object of {size:,} bytes, and {most:,} are taken at most", field=field
            )
        return bucket.read(key)


def read_range(key: str, field: str, start: int, end: int) -> tuple[memoryview, int]:
    """Return an object's bytes from ``start`` up to ``end`` or its own end, and its size.

    Raises:
        BadRequest: the key is outside of the prefix, or its object is missing.
        Unavailable: S3 did not answer.

    """
    with _open_bucket(key, field) as bucket:
        try:
            return bucket.read_range(key, start, end)
        except Unavailable:
            # S3's clients report a range behind the object's end like any other failure.
            if (size := bucket.read_size(key)) > start:
                raise
            return memoryview(b""), size


@contextlib.contextmanager
def _open_bucket(key: str, field: str) -> Iterator[Bucket]:
    """Yield the bucket of an input, and turn errors of its key into errors of the request's field."""
    outside = BadRequest(f"{field} takes the key of an object below {PREFIX}", field=field)
    if not key.startswith(PREFIX) or ".." in key.split("/"):
        raise outside
    bucket = get_bucket(Settings.read().require("result_bucket"))
    try:
        yield bucket
    except BadRequest:
        raise
    except ValueError:  # such as an empty part, or a lone surrogate
        raise outside from None
    except ABSENT as error:
        denied = "" if isinstance(error, Missing) else ", or that the function's role may not read"
        raise BadRequest(
            f"{field} names an object that is not in the bucket {bucket.name}{denied}; upload it first",
            field=field,
        ) from None
