"""What a request names instead of holding it: objects below one prefix of the result bucket."""

import contextlib
from collections.abc import Iterator

from lambda_inference._errors import BadRequest, Unavailable
from lambda_inference._settings import Settings
from lambda_inference._storage import Bucket, Missing, bucket

PREFIX = "inputs/"
"""The function's role may read nothing else there but its results."""


def read(key: str, field: str, most: int) -> memoryview:
    """Return the bytes of an object.

    Args:
        key: such as ``inputs/cat.png``.
        field: the request's field that has it, for errors.
        most: how many bytes the object may have.

    Raises:
        BadRequest: it lies elsewhere, is not there, or is larger.
        Unavailable: S3 did not answer, or refused.

    """
    with _named(key, field) as store:
        size = store.size(key)
        if size > most:
            raise BadRequest(
                f"{field} names an object of {size:,} bytes, and {most:,} are taken at most", field=field
            )
        return store.read(key)[0]


def read_range(key: str, field: str, start: int, end: int) -> tuple[memoryview, int]:
    """Return an object's bytes from ``start`` to before ``end`` as far as there are any, and its size.

    Raises:
        BadRequest: it lies elsewhere, or is not there.
        Unavailable: S3 did not answer, or refused.

    """
    with _named(key, field) as store:
        try:
            return store.read_range(key, start, end)
        except Unavailable:
            # S3's clients tell "it ends before that" like any other failure.
            if (size := store.size(key)) > start:
                raise
            return memoryview(b""), size


@contextlib.contextmanager
def _named(key: str, field: str) -> Iterator[Bucket]:
    """Give the bucket of an input, and say what is wrong with its key in terms of the request."""
    elsewhere = BadRequest(f"{field} takes the key of an object below {PREFIX}", field=field)
    if not key.startswith(PREFIX) or ".." in key.split("/"):
        raise elsewhere
    store = bucket(Settings.read().require("result_bucket"))
    try:
        yield store
    except BadRequest:
        raise
    except ValueError:  # such as an empty part, or half of a character
        raise elsewhere from None
    except Missing:
        raise BadRequest(
            f"{field} names an object that is not in the bucket {store.name}; upload it first", field=field
        ) from None
    except Unavailable as fault:
        # To a role that may not list, S3 answers so for what is not there.
        if not fault.refused:
            raise
        raise BadRequest(
            f"{field} names an object that is not in the bucket {store.name}, or that the function's role "
            "may not read; upload it first",
            field=field,
        ) from None
