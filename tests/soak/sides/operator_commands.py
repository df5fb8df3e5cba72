"""An operator of either release: ``publish FOLDER``, ``rollback NAME``, ``show NAME``."""

import json
import os
import sys
from pathlib import Path

import boto3

try:
    from lambda_setup.models import channels, moves
    from lambda_setup.models.bucket import ModelBucket
    from lambda_setup.models.describe import describe
    from lambda_setup.models.upload import upload
except ImportError:  # the old release
    from lambda_setup import channels
    from lambda_setup.models import describe, upload
    from lambda_setup.store import ModelBucket

    moves = None


def main(command: str, argument: str) -> object:
    """Carry out a command."""
    client = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL_S3"])
    if command == "publish":
        manifest = describe(Path(argument))
        upload(Path(argument), manifest, client, "models", "dev", by="sides")
        return manifest.version
    bucket = ModelBucket(client, "models")
    pointer = channels.read(client, "models", argument, "dev")
    if command == "rollback":
        if moves:
            return moves.rollback(bucket, argument, "dev")["to"]
        version = pointer.former
        channels.move(client, "models", argument, "dev", version, before=pointer, by="sides")
        return version
    return [pointer.version, len(pointer.history), [one.version for one in bucket.versions(argument)]]


if __name__ == "__main__":
    sys.stdout.write(f"ANSWER {json.dumps(main(*sys.argv[1:]))}\n")
