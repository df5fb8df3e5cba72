"""Models on their way into S3: described, uploaded, pointed to.

A model's folder holds ``model.toml`` beside its files::

    name = "en-es"
    engine = "opennmt"
    precision = "float16"
    files = ["en-es.pt", "enes.model"]

    [libraries]
    torch = "2.13.0"

``[smoke]``, which may be missing, holds a ``request`` that the model is tried with before it is promoted,
and the ``predictions`` that it then answers inline.

A folder without a ``model.toml`` is taken for what its files look like: one ``*.pt`` and one SentencePiece
``*.model`` are an OpenNMT-py model, named as the folder.
"""

import hashlib
import re
import tomllib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from lambda_inference.models import PART_SIZE, File, Manifest
from lambda_setup import channels

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

Progress = Callable[[int], None]


class Smoke(Struct, frozen=True):
    """A request that a model is tried with before it is promoted, and what it then predicts."""

    request: dict[str, Any]
    predictions: list[Any]


class Published(Manifest, frozen=True, kw_only=True):
    """A manifest, with what only the operator's commands read in it."""

    smoke: Smoke | None = None


def describe(folder: Path) -> Published:
    """Return the manifest of the model in a folder.

    Raises:
        FileNotFoundError: there is no model, or no file that its ``model.toml`` names.
        ValueError: ``model.toml`` lacks something.

    """
    description = folder / "model.toml"
    stated = tomllib.loads(description.read_text()) if description.exists() else _guessed(folder)
    if missing := {"name", "engine", "precision", "libraries", "files"} - stated.keys():
        raise ValueError(f"{description} lacks {', '.join(sorted(missing))}; see models/en-es/model.toml")
    return Published(
        name=stated["name"],
        engine=stated["engine"],
        precision=stated["precision"],
        libraries=stated["libraries"],
        files=[_file(folder / name) for name in stated["files"]],
        smoke=_smoke(stated.get("smoke"), description),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def publish(
    folder: Path,
    client: "S3Client",
    bucket: str,
    channel: str = "dev",
    progress: Progress = lambda _: None,
    by: str = "unknown",
) -> bool:
    """Upload the model in a folder, point the channel to it, and return whether it was new.

    The manifest goes last, so that a version is there whole or not at all. A version that is there already
    is not uploaded again, of one that was interrupted only what is missing; and a channel that points to
    it already is not moved.

    Args:
        folder: holds the model.
        client: of S3.
        bucket: its name.
        channel: dev or prod.
        progress: is called with bytes as they are sent.
        by: who moves the channel, for its history.

    Raises:
        botocore.exceptions.ClientError: with the code PreconditionFailed when somebody else moved the
            channel at the same time.

    """
    manifest = describe(folder)
    prefix = _prefix(manifest)
    missing = [file for file in manifest.files if _size(client, bucket, f"{prefix}/{file.name}") != file.size]
    for file in missing:
        client.upload_file(str(folder / file.name), bucket, f"{prefix}/{file.name}", Callback=progress)
    new = bool(missing) or _size(client, bucket, f"{prefix}/manifest.json") is None
    if new:
        client.put_object(
            Bucket=bucket,
            Key=f"{prefix}/manifest.json",
            Body=msgspec.json.format(msgspec.json.encode(manifest)),
            ContentType="application/json",
        )
    before = channels.read(client, bucket, manifest.name, channel)
    if before is None or before.version != manifest.version:
        channels.move(client, bucket, manifest.name, channel, manifest.version, before=before, by=by)
    return new


def calls(manifest: Manifest, bucket: str, channel: str) -> list[str]:
    """Return what publishing would write, in order."""
    prefix = _prefix(manifest)
    written = [*(f"{prefix}/{file.name}" for file in manifest.files), f"{prefix}/manifest.json"]
    pointer = channels.key(manifest.name, channel)
    return [
        *(f"put s3://{bucket}/{key}, unless it is there" for key in written),
        f"put s3://{bucket}/{pointer}",
    ]


def _guessed(folder: Path) -> dict[str, Any]:
    if any(folder.glob(".*.partial")):
        raise FileNotFoundError(f"{folder} holds half of a model; run lambda_setup.download_model again")
    files = [path.name for suffix in ("*.pt", "*.model") for path in sorted(folder.glob(suffix))]
    if [Path(name).suffix for name in files] != [".pt", ".model"]:
        raise FileNotFoundError(
            f"{folder} is no model: it has neither a model.toml (see models/en-es/model.toml) nor exactly "
            "one *.pt and one *.model"
        )
    name = re.sub(r"[^a-z0-9]+", "-", folder.resolve().name.lower()).strip("-")[:31] or "model"
    return {"name": name, "engine": "opennmt", "precision": "unstated", "libraries": {}, "files": files}


def _prefix(manifest: Manifest) -> str:
    return f"models/{manifest.name}/versions/{manifest.version}"


def _size(client: "S3Client", bucket: str, key: str) -> int | None:
    """Return the bytes of an object, None when there is none."""
    from botocore.exceptions import ClientError

    try:
        return client.head_object(Bucket=bucket, Key=key)["ContentLength"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "404":
            raise
        return None


def _smoke(stated: Any, description: Path) -> Smoke | None:
    try:
        return msgspec.convert(stated, Smoke | None)
    except msgspec.ValidationError as error:
        raise ValueError(f"{description}: smoke holds no request with its predictions: {error}") from None


def _file(path: Path) -> File:
    parts = []
    with path.open("rb") as file:
        while part := file.read(PART_SIZE):
            parts.append(hashlib.sha256(part).hexdigest())
    return File(name=path.name, size=path.stat().st_size, part_size=PART_SIZE, parts=parts)
