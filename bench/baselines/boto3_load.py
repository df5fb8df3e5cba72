"""The usual way to load a checkpoint from S3: boto3 into a BytesIO, and torch.load of its bytes.

Written by us from its public description, that of many posts about models in Lambda. The pointer and
the manifest are read first, as ours are, and ``weights_only`` is torch's default. boto3's transfer
manager fetches by ten threads, its default. Nothing is checked against a hash.
"""

import argparse
import io
import json
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def load(client: "S3Client", bucket: str, name: str, channel: str) -> dict[str, Any]:
    """Return the checkpoint of the version that a channel points to."""
    pointer = client.get_object(Bucket=bucket, Key=f"models/{name}/channels/{channel}.json")["Body"].read()
    prefix = f"models/{name}/versions/{json.loads(pointer)['version']}"
    manifest = json.loads(client.get_object(Bucket=bucket, Key=f"{prefix}/manifest.json")["Body"].read())
    (file,) = (file["name"] for file in manifest["files"] if file["name"].endswith(".pt"))
    downloaded = io.BytesIO()
    client.download_fileobj(bucket, f"{prefix}/{file}", downloaded)
    with torch.serialization.safe_globals([argparse.Namespace]):
        checkpoint: dict[str, Any] = torch.load(io.BytesIO(downloaded.getvalue()), weights_only=True)
    return checkpoint
