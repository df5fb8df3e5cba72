"""Channels: the pointers that functions follow, each moved by compare-and-swap, with its history.

::

    models/<name>/channels/<channel>.json   {"version": …, "history": [{"from", "to", "when", "by"}, …]}

Functions read ``version`` alone. The history has the latest moves, the last one at its end.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CHANNELS = ("dev", "prod")
KEPT = 50
"""Moves that a pointer remembers."""


@dataclass(frozen=True)
class Pointer:
    """What a channel points to, and how it came there.

    Attributes:
        etag: of the object that says so; a move replaces that one or none.

    """

    version: str
    history: tuple[dict[str, str | None], ...]
    etag: str

    @property
    def former(self) -> str | None:
        """The version before the last move, None if there was none."""
        return self.history[-1]["from"] if self.history else None


def key(name: str, channel: str) -> str:
    """Return where a channel's pointer lies."""
    return f"models/{name}/channels/{channel}.json"


def read(client: "S3Client", bucket: str, name: str, channel: str) -> Pointer | None:
    """Return what a channel points to, None if there is no such channel.

    Raises:
        RuntimeError: the pointer is damaged.

    """
    try:
        found = client.get_object(Bucket=bucket, Key=key(name, channel))
    except client.exceptions.NoSuchKey:
        return None
    try:
        said = json.loads(found["Body"].read())
        return Pointer(said["version"], tuple(said.get("history", ())), found["ETag"])
    except (ValueError, LookupError, TypeError, AttributeError):
        raise RuntimeError(
            f"s3://{bucket}/{key(name, channel)} is damaged: publish again, which writes it anew"
        ) from None


def move(
    client: "S3Client", bucket: str, name: str, channel: str, version: str, *, before: Pointer | None, by: str
) -> None:
    """Point a channel to a version, unless it has been moved since ``before`` was read.

    Raises:
        botocore.exceptions.ClientError: with the code PreconditionFailed when it has.

    """
    step: dict[str, str | None] = {
        "from": before.version if before else None,
        "to": version,
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "by": by,
    }
    history = [*(before.history if before else ()), step][-KEPT:]
    condition: dict[str, Any] = {"IfMatch": before.etag} if before else {"IfNoneMatch": "*"}
    client.put_object(
        Bucket=bucket,
        Key=key(name, channel),
        Body=json.dumps({"version": version, "history": history}).encode(),
        ContentType="application/json",
        **condition,
    )
