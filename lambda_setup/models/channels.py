"""Channels: the pointers that functions follow, each moved by compare-and-swap, with its history.

::

    models/<name>/channels/<channel>.json   {"version": …, "history": [{"from", "to", "when", "by", "id"}, …]}

Functions read ``version`` alone. The history has the latest moves, the newest last. By its ``id`` whoever
made a move recognises it, also if S3's answer was lost.
"""

import json
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from lambda_setup.errors import CommandError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CHANNELS = ("dev", "prod")
HISTORY_LENGTH = 50
"""Moves that a pointer keeps."""


class DamagedPointer(CommandError):
    """A pointer that cannot be read; ``pointer`` has its ETag, so that a publication can replace it."""

    def __init__(self, url: str, etag: str) -> None:
        super().__init__(f"{url} is damaged: publish again, which writes it anew")
        self.pointer = Pointer("", (), etag)


@dataclass(frozen=True)
class Pointer:
    """The version that a channel points to, and its history."""

    version: str
    history: tuple[dict[str, str | None], ...]
    etag: str  # the object's ETag, the condition of the next move

    @property
    def previous(self) -> str | None:
        """The version before the last move, None before the second version."""
        return self.history[-1].get("from") if self.history else None


class _Fields(Struct):
    """A pointer's object."""

    version: str
    history: list[dict[str, str | None]] = []


def key(name: str, channel: str) -> str:
    """Return the S3 key of a channel's pointer."""
    return f"models/{name}/channels/{channel}.json"


def read(client: "S3Client", bucket: str, name: str, channel: str) -> Pointer | None:
    """Return a channel's pointer, None if there is no such channel; DamagedPointer if it cannot be read."""
    try:
        response = client.get_object(Bucket=bucket, Key=key(name, channel))
    except client.exceptions.NoSuchKey:
        return None
    try:
        fields = msgspec.json.decode(response["Body"].read(), type=_Fields)
        return Pointer(fields.version, tuple(fields.history), response["ETag"])
    except (ValueError, RecursionError):
        raise DamagedPointer(f"s3://{bucket}/{key(name, channel)}", response["ETag"]) from None


def move(
    client: "S3Client", bucket: str, name: str, channel: str, version: str, *, before: Pointer | None, by: str
) -> None:
    """Point a channel to a version.

    A request whose answer is lost is repeated by boto3, and then meets its own move; so after an error the
    channel's history says whether this move was made.

    Raises:
        ClientError: PreconditionFailed, if the channel has moved since ``before``.
        CommandError: whether this move was made is not known.

    """
    from botocore.exceptions import BotoCoreError, ClientError

    step: dict[str, str | None] = {
        "from": (before.version or None) if before else None,
        "to": version,
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "by": by,
        "id": secrets.token_hex(8),
    }
    history = [*(before.history if before else ()), step][-HISTORY_LENGTH:]
    condition: dict[str, Any] = {"IfMatch": before.etag} if before else {"IfNoneMatch": "*"}
    try:
        client.put_object(
            Bucket=bucket,
            Key=key(name, channel),
            Body=json.dumps({"version": version, "history": history}).encode(),
            ContentType="application/json",
            **condition,
        )
    except (ClientError, BotoCoreError) as error:
        try:
            pointer = read(client, bucket, name, channel)
        except (ClientError, BotoCoreError, CommandError) as unread:
            raise CommandError(
                f"{channel} of {name} may have moved: S3 did not say so ({error}), and where it points to "
                f"could not be read ({unread}). See: model show {name}"
            ) from error
        if pointer and step in pointer.history:
            return
        raise
