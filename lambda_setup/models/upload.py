"""Uploads of models: the files with their checksums, the manifest, and last the channel's pointer."""

import base64
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from lambda_inference._models import PART_SIZE, File, Manifest
from lambda_setup.errors import CommandError
from lambda_setup.models import channels
from lambda_setup.models.describe import PublishedManifest, describe

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_ATTEMPTS = 3


def publish(folder: Path, client: "S3Client", bucket: str, channel: str = "dev", by: str = "unknown") -> bool:
    """Upload the model in a folder as ``upload`` does, and return whether anything was uploaded."""
    return upload(folder, describe(folder), client, bucket, channel, by=by)


def upload(
    folder: Path,
    manifest: PublishedManifest,
    client: "S3Client",
    bucket: str,
    channel: str = "dev",
    *,
    progress: Callable[[int], None] = lambda _: None,
    by: str = "unknown",
) -> bool:
    """Upload a model, point the channel to it, and return whether anything was uploaded.

    The upload is idempotent: objects whose checksum in S3 is right are skipped, so an interrupted or damaged
    version is repaired. The manifest is written last, so a version is complete once it has one. Whatever
    somebody else removes meanwhile is uploaded again. ``progress`` gets the number of bytes as they are sent.

    Raises:
        CommandError: a file changes while it is uploaded, or somebody goes on removing the version.
        ClientError: PreconditionFailed, if somebody else moved the channel at the same time. A channel that
            points to the version already is not moved.

    """
    changed = _upload_missing(folder, manifest, client, bucket, progress)
    try:
        pointer = channels.read(client, bucket, manifest.name, channel)
    except channels.DamagedPointer as damage:
        pointer = damage.pointer
    if pointer is None or pointer.version != manifest.version:
        channels.move(client, bucket, manifest.name, channel, manifest.version, before=pointer, by=by)
    for _ in range(_ATTEMPTS):
        # A `model prune` that looked at the channels before the move may remove what it did not find there.
        if _is_whole(client, bucket, manifest):
            return changed
        _upload_missing(folder, manifest, client, bucket, progress)
        changed = True
    raise CommandError(
        f"version {manifest.version} of {manifest.name} is removed again and again; "
        "let `model prune` end, then publish again"
    )


def _upload_missing(
    folder: Path,
    manifest: PublishedManifest,
    client: "S3Client",
    bucket: str,
    progress: Callable[[int], None],
) -> bool:
    """Upload what the bucket lacks of a version, and return whether that was anything."""
    from boto3.s3.transfer import TransferConfig

    prefix = _prefix(manifest)
    missing = [
        file
        for file in manifest.files
        if _read_checksum(client, bucket, f"{prefix}/{file.name}") != _s3_checksum(file)
    ]
    for file in missing:
        client.upload_file(
            str(folder / file.name),
            bucket,
            f"{prefix}/{file.name}",
            ExtraArgs={"ChecksumAlgorithm": "SHA256"},
            Callback=progress,
            Config=TransferConfig(multipart_threshold=PART_SIZE + 1, multipart_chunksize=PART_SIZE),
        )
        if _read_checksum(client, bucket, f"{prefix}/{file.name}") not in {_s3_checksum(file), None}:
            raise CommandError(
                f"{folder / file.name} has changed since its checksum was taken; let whatever writes it end, "
                "then publish again"
            )
    if not missing and _has_manifest(client, bucket, manifest):
        return False
    client.put_object(
        Bucket=bucket,
        Key=f"{prefix}/manifest.json",
        Body=msgspec.json.format(msgspec.json.encode(manifest)),
        ContentType="application/json",
    )
    return True


def plan(manifest: Manifest, bucket: str, channel: str) -> list[str]:
    """Return the objects that publishing would write, in order, a line each."""
    prefix = _prefix(manifest)
    keys = [*(f"{prefix}/{file.name}" for file in manifest.files), f"{prefix}/manifest.json"]
    pointer = channels.key(manifest.name, channel)
    return [*(f"put s3://{bucket}/{key}, unless it is there" for key in keys), f"put s3://{bucket}/{pointer}"]


def _prefix(manifest: Manifest) -> str:
    return f"models/{manifest.name}/versions/{manifest.version}"


def _s3_checksum(file: File) -> str:
    """Return the checksum that S3 computes for a file uploaded in its own parts.

    It is the sha256 of all bytes, or the composite sha256 of the parts' sha256 (Amazon S3 User Guide,
    "Checking object integrity").
    """
    digests = [bytes.fromhex(part) for part in file.parts] or [hashlib.sha256().digest()]
    if len(digests) == 1:
        return base64.b64encode(digests[0]).decode()
    return f"{base64.b64encode(hashlib.sha256(b''.join(digests)).digest()).decode()}-{len(digests)}"


def _read_checksum(client: "S3Client", bucket: str, key: str) -> str | None:
    """Return an object's sha256 as S3 stores it, None without an object or a sha256."""
    from botocore.exceptions import ClientError

    try:
        return client.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED").get("ChecksumSHA256")
    except ClientError as error:
        if error.response["Error"]["Code"] != "404":
            raise
        return None


def _is_whole(client: "S3Client", bucket: str, manifest: PublishedManifest) -> bool:
    """Return whether the bucket has a version's manifest and an object for each of its files."""
    prefix = f"{_prefix(manifest)}/"
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    keys = {entry["Key"] for page in pages for entry in page.get("Contents", [])}
    return keys >= {f"{prefix}{name}" for name in ("manifest.json", *(file.name for file in manifest.files))}


def _has_manifest(client: "S3Client", bucket: str, manifest: PublishedManifest) -> bool:
    """Return whether the bucket holds the version's manifest, undamaged."""
    try:
        body = client.get_object(Bucket=bucket, Key=f"{_prefix(manifest)}/manifest.json")["Body"].read()
        return msgspec.json.decode(body, type=PublishedManifest).version == manifest.version
    except (client.exceptions.NoSuchKey, msgspec.DecodeError, UnicodeDecodeError):
        return False
