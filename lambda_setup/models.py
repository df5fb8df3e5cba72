"""Models on their way into S3: described, uploaded, pointed to.

A model's folder holds ``model.toml`` beside its files::

    name = "en-es"
    engine = "opennmt"
    precision = "float16"
    files = ["en-es.pt", "enes.model"]

    [libraries]
    torch = "2.13.0"
"""

import hashlib
import json
import tomllib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from lambda_inference.models import PART_SIZE, File, Manifest

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

Progress = Callable[[str], None]


def describe(folder: Path) -> Manifest:
    """Return the manifest of the model in a folder.

    Raises:
        FileNotFoundError: there is no ``model.toml``, or no file that it names.

    """
    description = folder / "model.toml"
    if not description.exists():
        raise FileNotFoundError(f"{folder} is no model: it has no model.toml (see models/en-es/model.toml)")
    stated = tomllib.loads(description.read_text())
    return Manifest(
        name=stated["name"],
        engine=stated["engine"],
        precision=stated["precision"],
        libraries=stated["libraries"],
        files=[_file(folder / name) for name in stated["files"]],
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def publish(
    folder: Path,
    client: "S3Client",
    bucket: str,
    channel: str = "dev",
    progress: Progress = lambda _: None,
) -> Manifest:
    """Upload the model in a folder, then point the channel to it.

    The manifest goes last, so that a version is there whole or not at all; a version that is
    there already is not uploaded again.
    """
    from botocore.exceptions import ClientError

    manifest = describe(folder)
    prefix = f"models/{manifest.name}/versions/{manifest.version}"
    try:
        client.head_object(Bucket=bucket, Key=f"{prefix}/manifest.json")
        progress(f"version {manifest.version[:12]} is there already")
    except ClientError as error:
        if error.response["Error"]["Code"] not in {"404", "NoSuchKey", "NotFound"}:
            raise
        for file in manifest.files:
            progress(f"uploading {file.name}, {file.size:,} bytes")
            client.upload_file(str(folder / file.name), bucket, f"{prefix}/{file.name}")
        client.put_object(
            Bucket=bucket,
            Key=f"{prefix}/manifest.json",
            Body=msgspec.json.format(msgspec.json.encode(manifest)),
            ContentType="application/json",
        )
    point(client, bucket, manifest, channel)
    progress(f"channel {channel} of {manifest.name} is at version {manifest.version[:12]}")
    return manifest


def point(client: "S3Client", bucket: str, manifest: Manifest, channel: str) -> None:
    """Move a channel to a version, unless somebody else moves it at the same time.

    Raises:
        botocore.exceptions.ClientError: with the code PreconditionFailed when somebody did.

    """
    from botocore.exceptions import ClientError

    key = f"models/{manifest.name}/channels/{channel}.json"
    condition: dict[str, Any]
    try:
        condition = {"IfMatch": client.head_object(Bucket=bucket, Key=key)["ETag"]}
    except ClientError as error:
        if error.response["Error"]["Code"] not in {"404", "NoSuchKey", "NotFound"}:
            raise
        condition = {"IfNoneMatch": "*"}
    client.put_object(
        Bucket=bucket,
        Key=key,
        Body=json.dumps({"version": manifest.version}).encode(),
        ContentType="application/json",
        **condition,
    )


def _file(path: Path) -> File:
    parts = []
    with path.open("rb") as file:
        while part := file.read(PART_SIZE):
            parts.append(hashlib.sha256(part).hexdigest())
    return File(name=path.name, size=path.stat().st_size, part_size=PART_SIZE, parts=parts)
