"""What a request names instead of holding it: objects below one prefix of the result bucket."""

import os

from lambda_inference.errors import BadRequest, Unavailable
from lambda_inference.storage import Missing, bucket

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
    elsewhere = BadRequest(f"{field} takes the key of an object below {PREFIX}", field=field)
    if not key.startswith(PREFIX) or ".." in key.split("/"):
        raise elsewhere
    store = bucket(os.environ["RESULT_BUCKET"])
    try:
        try:
            size = store.size(key)
        except ValueError:  # such as an empty part, or half of a character
            raise elsewhere from None
        if size > most:
            raise BadRequest(
                f"{field} names an object of {size:,} bytes, and {most:,} are taken at most", field=field
            )
        return store.read(key)[0]
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
