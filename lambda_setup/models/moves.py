"""Moves of a channel: promotion of dev's version to prod after a smoke test, and rollback."""

import json
from collections.abc import Callable
from typing import Any

from lambda_setup.errors import CommandError
from lambda_setup.models import channels
from lambda_setup.models.bucket import SHORT_VERSION, ModelBucket
from lambda_setup.models.describe import PublishedManifest
from layer.builder.verify.compare import TOLERANCE, differences

Move = dict[str, Any]
"""``name``, ``channel``, the versions ``from`` and ``to``, and whether it was ``moved``."""


def rollback(bucket: ModelBucket, name: str, channel: str, *, dry_run: bool = False) -> Move:
    """Move a channel back to its version before the last move; CommandError if there is none."""
    pointer = bucket.pointer(name, channel)
    if pointer is None or pointer.previous is None:
        raise CommandError(f"{channel} of {name} has not moved yet; see: model show {name}")
    manifests = {version.version: version.manifest for version in bucket.versions(name)}
    if not manifests.get(pointer.previous):
        version = pointer.previous[:SHORT_VERSION]
        raise CommandError(f"version {version} is missing or incomplete; publish it again")
    return _move(bucket, name, channel, pointer, pointer.previous, dry_run=dry_run)


def promote(
    bucket: ModelBucket, name: str, invoke: Callable[[PublishedManifest, Any], Any], *, dry_run: bool = False
) -> Move:
    """Test dev's version, and move prod to it if it answers as expected.

    ``invoke`` sends an event to a function that serves the candidate. The move comes with the test's
    ``faults``, which prevent it.
    """
    candidate, pointer = bucket.manifest(name, "dev"), bucket.pointer(name, "prod")
    unchanged = pointer is not None and pointer.version == candidate.version
    faults = [] if dry_run or unchanged else run_smoke_test(candidate, invoke)
    skip = dry_run or unchanged or bool(faults)
    return {**_move(bucket, name, "prod", pointer, candidate.version, dry_run=skip), "faults": faults}


def run_smoke_test(
    candidate: PublishedManifest, invoke: Callable[[PublishedManifest, Any], Any]
) -> list[str]:
    """Return a candidate's differences from the expected answer; without a smoke request, only load it."""
    smoke = candidate.smoke
    response = invoke(candidate, {**smoke.request, "result": "inline"} if smoke else {"warmup": True})
    if not isinstance(response, dict) or response.get("statusCode") != 200:  # noqa: PLR2004
        return [f"it answers {json.dumps(response, ensure_ascii=False)[:500]}"]
    if smoke is None:
        return []
    body = response["body"]
    if (version := body["model"]["version"]) != candidate.version:
        return [
            f"{version[:SHORT_VERSION]} answered: did dev move, or does the function follow another channel?"
        ]
    return differences(body["predictions"], smoke.predictions, TOLERANCE)


def describe_move(move: Move) -> str:
    """Return a move as part of a sentence."""
    before, after = ((move[end] or "nothing")[:SHORT_VERSION] for end in ("from", "to"))
    return f"{move['channel']} of {move['name']} from {before} to {after}"


def _move(
    bucket: ModelBucket,
    name: str,
    channel: str,
    pointer: channels.Pointer | None,
    version: str,
    *,
    dry_run: bool,
) -> Move:
    if not dry_run:
        channels.move(
            bucket.client, bucket.name, name, channel, version, before=pointer, by=bucket.identify()
        )
        # A `model prune` that looked at the channels before the move may have removed what it did not find.
        if not bucket.has_manifest(name, version):
            raise CommandError(
                f"{channel} of {name} has moved to {version[:SHORT_VERSION]}, and somebody has removed "
                "that version; roll back, or publish it again. Functions keep the model that they have"
            )
    before = pointer.version if pointer else None
    return {"name": name, "channel": channel, "from": before, "to": version, "moved": not dry_run}
