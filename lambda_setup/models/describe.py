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

``card``, which may be missing too, says in a sentence what the model is.

A folder without a ``model.toml`` is taken for what its files look like: one ``*.pt`` and one SentencePiece
``*.model`` are an OpenNMT-py model, named as the folder.
"""

import base64
import hashlib
import re
import tomllib
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from lambda_inference._models import PART_SIZE, File, Manifest
from lambda_setup.models import channels

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

Progress = Callable[[int], None]

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,30}")
"""What the template takes as ModelName."""


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
        ValueError: ``model.toml`` lacks something, or has a name that cannot be used.

    """
    description = folder / "model.toml"
    stated = tomllib.loads(description.read_text()) if description.exists() else _guessed(folder)
    if missing := {"name", "engine", "precision", "libraries", "files"} - stated.keys():
        raise ValueError(f"{description} lacks {', '.join(sorted(missing))}; see models/en-es/model.toml")
    try:
        check_files(stated["files"])
    except ValueError as error:
        raise ValueError(f"{description}: {error}") from None
    return Published(
        name=checked_name(stated["name"]),
        engine=stated["engine"],
        precision=stated["precision"],
        libraries=stated["libraries"],
        files=[_file(folder / name) for name in stated["files"]],
        smoke=_smoke(stated.get("smoke"), description),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        card=stated.get("card", ""),
    )


def checked_name(name: str) -> str:
    """Return a model's name if functions can be told it.

    Raises:
        ValueError: they cannot.

    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no model's name; expected 1 to 31 of a-z, 0-9 and -, the first no -")
    return name


def check_files(names: Collection[str]) -> None:
    """See that names of files are plain, and each another one.

    Raises:
        ValueError: they are not.

    """
    for name in names:
        plain = name.isprintable() and name[:1] not in {"", "."} and not set(name) & set("/\\:")
        if not plain or name in {"manifest.json", "model.toml"}:
            raise ValueError(
                f"{name!r} may not be used; expected a plain name without / \\ : or a leading dot, and "
                "neither manifest.json nor model.toml"
            )
    if len({name.casefold() for name in names}) < len(names):
        raise ValueError("it names a file twice")


def publish(folder: Path, client: "S3Client", bucket: str, channel: str = "dev", by: str = "unknown") -> bool:
    """Upload the model in a folder as ``upload`` does, and return whether anything was uploaded."""
    return upload(folder, describe(folder), client, bucket, channel, by=by)


def upload(
    folder: Path,
    manifest: Published,
    client: "S3Client",
    bucket: str,
    channel: str = "dev",
    *,
    progress: Progress = lambda _: None,
    by: str = "unknown",
) -> bool:
    """Upload a model, point the channel to it, and return whether anything was uploaded.

    The manifest goes last, so that a version is there whole or not at all. What S3 has already, by the
    checksums that it keeps, is not uploaded again; of a version that was interrupted or damaged only what
    is missing or differs. A channel that points to the version already is not moved.

    Args:
        folder: holds the files.
        manifest: says what they are.
        client: of S3.
        bucket: its name.
        channel: dev or prod.
        progress: is called with bytes as they are sent.
        by: who moves the channel, for its history.

    Raises:
        botocore.exceptions.ClientError: with the code PreconditionFailed when somebody else moved the
            channel at the same time.

    """
    from boto3.s3.transfer import TransferConfig

    prefix = _prefix(manifest)
    lacking = [
        one for one in manifest.files if _checksum(client, bucket, f"{prefix}/{one.name}") != _expected(one)
    ]
    for file in lacking:
        client.upload_file(
            str(folder / file.name),
            bucket,
            f"{prefix}/{file.name}",
            ExtraArgs={"ChecksumAlgorithm": "SHA256"},
            Callback=progress,
            Config=TransferConfig(multipart_threshold=PART_SIZE + 1, multipart_chunksize=PART_SIZE),
        )
    new = bool(lacking) or not _is_described(client, bucket, manifest)
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
        raise FileNotFoundError(f"{folder} holds half of a model; run lambda_setup.models.download again")
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


def _expected(file: File) -> str:
    """Return the checksum of S3 for a file that is uploaded in its own parts.

    It is the sha256 of all bytes, or of the sha256 of the parts (Amazon S3 User Guide, "Checking object
    integrity", composite checksums).
    """
    digests = [bytes.fromhex(part) for part in file.parts] or [hashlib.sha256().digest()]
    if len(digests) == 1:
        return base64.b64encode(digests[0]).decode()
    return f"{base64.b64encode(hashlib.sha256(b''.join(digests)).digest()).decode()}-{len(digests)}"


def _checksum(client: "S3Client", bucket: str, key: str) -> str | None:
    """Return the sha256 that S3 keeps of an object, None when there is no object or no sha256 of it."""
    from botocore.exceptions import ClientError

    try:
        return client.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED").get("ChecksumSHA256")
    except ClientError as error:
        if error.response["Error"]["Code"] != "404":
            raise
        return None


def _is_described(client: "S3Client", bucket: str, manifest: Published) -> bool:
    """Return whether the version's manifest is there, and says what it has to."""
    try:
        found = client.get_object(Bucket=bucket, Key=f"{_prefix(manifest)}/manifest.json")["Body"].read()
        return msgspec.json.decode(found, type=Published).version == manifest.version
    except (client.exceptions.NoSuchKey, msgspec.DecodeError, UnicodeDecodeError):
        return False


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
