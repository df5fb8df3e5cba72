"""Stores of batches: the bucket with corpora and results, and the S3 that local runs keep in ``.batches``."""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lambda_setup.deployment.local import RESULT_BUCKET, LocalDeployment, S3Server
from lambda_setup.errors import CommandError
from lambda_setup.functions import ROOT
from lambda_setup.output import relative_path, status

if TYPE_CHECKING:
    from botocore.response import StreamingBody
    from mypy_boto3_s3 import S3Client

STORE = ROOT / ".batches"
"""Folder of the S3 that local runs keep."""


@dataclass(frozen=True)
class ResultBucket:
    """Bucket with corpora and results."""

    client: "S3Client"
    name: str

    def open(self, key: str) -> "StreamingBody | None":
        """Return an object's bytes as a stream, None if there is no such object."""
        from botocore.exceptions import ClientError

        try:
            return self.client.get_object(Bucket=self.name, Key=key)["Body"]
        except ClientError as error:
            # To a role that may not list, S3 answers the second for a missing object; with a KMS key that it
            # may not use, for one that is there.
            said = error.response["Error"]
            if said["Code"] not in {"NoSuchKey", "AccessDenied"} or "kms:" in said["Message"]:
                raise
        return None

    def create(self, key: str, data: bytes) -> bool:
        """Write JSON unless there is such an object, and return whether it holds these bytes now.

        A request whose answer is lost is repeated by boto3, and then meets its own object.
        """
        from botocore.exceptions import ClientError

        try:
            self.client.put_object(
                Bucket=self.name, Key=key, Body=data, ContentType="application/json", IfNoneMatch="*"
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "PreconditionFailed":
                raise
            stream = self.open(key)
            return stream is not None and stream.read() == data
        return True


@contextlib.contextmanager
def open_local_bucket() -> Iterator[ResultBucket]:
    """Serve the S3 of local runs and give its result bucket."""
    if not STORE.exists():
        raise CommandError(
            f"there are no local runs: {relative_path(STORE)} is missing; start one with batch run --local"
        )
    with lock_store(), S3Server(folder=STORE) as server:
        yield ResultBucket(server.client(), RESULT_BUCKET)


@contextlib.contextmanager
def open_local_deployment(model: Path, workers: int = 0) -> Iterator[LocalDeployment]:
    """Start a deployment on the S3 of local runs, with a model and as many functions as workers or cores."""
    workers = workers or os.cpu_count() or 1
    log_file = STORE / "functions.log"
    with lock_store(), log_file.open("ab") as log:
        status(f"starting S3 in {relative_path(STORE)}, with the model in {relative_path(model)}")
        with LocalDeployment.from_folder(model, s3=S3Server(folder=STORE), log=log) as deployment:
            status(f"starting {workers} functions and Step Functions; log: {relative_path(log_file)}")
            deployment.start_functions(workers)
            yield deployment


def delete_local_store() -> None:
    """Delete the S3 of local runs."""
    if not STORE.exists():
        status(f"nothing to delete: {relative_path(STORE)} is missing")
        return
    with lock_store():
        shutil.rmtree(STORE)
    status(f"deleted {relative_path(STORE)}")


@contextlib.contextmanager
def lock_store() -> Iterator[None]:
    """Keep other commands from the S3 of local runs; CommandError if one has the lock."""
    STORE.mkdir(exist_ok=True)
    with (STORE / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CommandError(
                f"another batch command is using {relative_path(STORE)}; wait for it to end"
            ) from None
        yield
