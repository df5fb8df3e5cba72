"""The usual way to keep predictions: a gzipped pickle of lists, dicts and numpy arrays, put into S3 by boto3.

Written by us from the public descriptions of pickle, gzip and boto3, and run as they are without options:
pickle's default protocol, and gzip's default level, which is 9. Records and arrays go into one pickle,
which keeps what they share. Neither a digest nor a condition is sent with it.
"""

import gzip
import pickle
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from mypy_boto3_s3 import S3Client


def store(
    client: "S3Client",
    bucket: str,
    key: str,
    records: Sequence[dict[str, Any]],
    arrays: "Sequence[np.ndarray[Any, Any]]",
) -> None:
    """Put records and arrays into S3 as one object."""
    data = gzip.compress(pickle.dumps({"records": records, "attention": arrays}))
    client.put_object(Bucket=bucket, Key=key, Body=data)


def load(client: "S3Client", bucket: str, key: str) -> dict[str, Any]:
    """Return records and arrays as they were put."""
    data = client.get_object(Bucket=bucket, Key=key)["Body"].read()
    found: dict[str, Any] = pickle.loads(gzip.decompress(data))  # noqa: S301 - our own object
    return found
