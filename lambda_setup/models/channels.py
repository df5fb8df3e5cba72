"""Channels: the pointers that functions follow, each moved by compare-and-swap, with its history.

::

    models/<name>/channels/<channel>.json   {"version": …, "history": [{"from", "to", "when", "by"}, …]}

Functions read ``version`` alone. The history has the latest moves, the newest last.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from lambda_setup.errors import CommandError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CHANNELS = ("dev", "prod")
HISTORY_LENGTH = 50
"""Moves that a pointer keeps."""


@dataclass(frozen=True)
class Pointer:
    """The version that a channel points to, and its history."""

    version: str
    history: tuple[dict[str, str | None], ...]
    etag: str  # the object's ETag, the condition of the next move

    @property
    def previous(self) -> str | None:
        """The version before the last move, None before the second version."""
        return self.history[-1]["from"] if self.history else None


def key(name: str, channel: str) -> str:
    """Return the S3 key of a channel's pointer."""
    return f"models/{name}/channels/{channel}.json"


def read(client: "S3Client", bucket: str, name: str, channel: str) -> Pointer | None:
    """Return a channel's pointer, None if there is no such channel; CommandError if it is damaged."""
    try:
        response = client.get_object(Bucket=bucket, Key=key(name, channel))
    except client.exceptions.NoSuchKey:
        return None
    try:
        fields = json.loads(response["Body"].read())
        return Pointer(fields["version"], tuple(fields.get("history", ())), response["ETag"])
    except (ValueError, LookupError, TypeError, AttributeError):
        raise CommandError(
            f"s3://{bucket}/{key(name, channel)} is damaged: publish again, which writes it anew"
        ) from None


def move(
    client: "S3Client", bucket: str, name: str, channel: str, version: str, *, before: Pointer | None, by: str
) -> None:
    """Point a channel to a version; ClientError PreconditionFailed if it has moved since ``before``."""
    step: dict[str, str | None] = {
        "from": before.version if before else None,
        "to": version,
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "by": by,
    }
    history = [*(before.history if before else ()), step][-HISTORY_LENGTH:]
    condition: dict[str, Any] = {"IfMatch": before.etag} if before else {"IfNoneMatch": "*"}
    client.put_object(
        Bucket=bucket,
        Key=key(name, channel),
        Body=json.dumps({"version": version, "history": history}).encode(),
        ContentType="application/json",
        **condition,
    )
