"""Removal of a stack with all that it leaves behind, buckets that a change of parameters left included.

CloudFormation keeps the template's buckets when it deletes a stack or when a parameter names another
bucket. It tags them with the stack's name, and the tags stay: they find buckets also of a stack that is gone.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lambda_setup.deployment.aws import explain_failure
from lambda_setup.errors import CommandError

if TYPE_CHECKING:
    from boto3 import Session

_STACK, _RESOURCE = "aws:cloudformation:stack-name", "aws:cloudformation:logical-id"
_PARAMETERS = {"ModelBucket": "ModelBucketName", "ResultBucket": "ResultBucketName"}
"""The template's buckets, and the parameters by which another stack takes them over."""
_GIVEN = ("BucketName", "ModelBucketName", "ResultBucketName")
"""Parameters that give a stack a bucket which it did not make."""
_OWN = {"Engine", "ModelName", "Channel"}
"""Parameters of every template of this project."""
_NESTED = "-Application-"
"""Between a stack's name and a random end in the name of the stack inside an example's."""


@dataclass(frozen=True)
class LeftBucket:
    """A bucket that a stack made: its name, its logical id, and what is in it, versions and markers too."""

    name: str
    logical_id: str
    objects: int
    bytes: int


@dataclass(frozen=True)
class Remains:
    """What there is of a stack."""

    stack: str
    exists: bool
    buckets: tuple[LeftBucket, ...]
    given: dict[str, str]
    """Buckets that it was given and that stay, each with the stack that made it, if any did."""

    @property
    def adoption(self) -> str:
        """Return the parameters by which a new stack takes the buckets over; of several, each by its name."""
        named: dict[str, list[str]] = {}
        for bucket in self.buckets:
            named.setdefault(_PARAMETERS[bucket.logical_id], []).append(bucket.name)
        return " ".join(f"{parameter}={' or '.join(names)}" for parameter, names in sorted(named.items()))


def find(session: "Session", stack: str) -> Remains:
    """Return what there is of a stack.

    Raises:
        CommandError: there is nothing of it, it is of another template, or another stack uses its buckets.

    """
    stacks = _list_stacks(session)
    made = _find_buckets(session)
    names = {
        name: logical_id
        for name, (owner, logical_id) in made.items()
        if owner == stack or owner.startswith(stack + _NESTED)
    }
    own = stacks.get(stack, {})
    if own and not own.keys() >= _OWN:
        raise CommandError(
            f"stack {stack} is of another template, and is left alone; if it is to go: "
            f"sam delete --stack-name {stack}"
        )
    buckets = tuple(
        LeftBucket(name, logical_id, *_measure(session, name)) for name, logical_id in sorted(names.items())
    )
    if stack not in stacks and not buckets:
        raise CommandError(
            f"no stack {stack} and no bucket of one was found in {session.region_name} of this account; "
            "if it was there, all of it is gone; else give another --region or --profile"
        )
    for name, parameters in stacks.items():
        used = [value for value in parameters.values() if value in names] or [
            value for key, value in parameters.items() if key == "ModelStackName" and value == stack
        ]
        if used and name != stack and not name.startswith(stack + _NESTED):
            raise CommandError(f"stack {name} uses {used[0]}; tear it down first, or give it another bucket")
    given = {own[key] for key in _GIVEN if own.get(key)} - names.keys()
    return Remains(
        stack, stack in stacks, buckets, {name: made.get(name, ("",))[0] for name in sorted(given)}
    )


def plan(remains: Remains) -> list[str]:
    """Return the steps of a removal, a line each."""
    steps = [f"delete stack {remains.stack}"] if remains.exists else []
    for bucket in remains.buckets:
        steps.append(
            f"empty s3://{bucket.name}: {bucket.objects:,} objects, versions and delete markers, "
            f"{bucket.bytes:,} bytes"
        )
        steps.append(f"delete bucket {bucket.name}")
    return steps


def remove(session: "Session", remains: Remains, say: Callable[[str], None]) -> None:
    """Delete a stack, and then its buckets with all versions and delete markers."""
    from botocore.exceptions import WaiterError

    if remains.exists:
        say(f"deleting stack {remains.stack}")
        client = session.client("cloudformation")
        client.delete_stack(StackName=remains.stack)
        try:
            client.get_waiter("stack_delete_complete").wait(StackName=remains.stack)
        except WaiterError:
            raise CommandError(
                f"stack {remains.stack} could not be deleted, and its buckets are as they were. "
                f"{explain_failure(session, remains.stack)}. Fix that, and give the same command again"
            ) from None
    for bucket in remains.buckets:
        say(f"emptying s3://{bucket.name}")
        _empty(session.client("s3"), bucket.name)
        session.client("s3").delete_bucket(Bucket=bucket.name)
        say(f"deleted bucket {bucket.name}")


def _list_stacks(session: "Session") -> dict[str, dict[str, str]]:
    """Return the parameters of all stacks in the region, by the stacks' names."""
    pages = session.client("cloudformation").get_paginator("describe_stacks").paginate()
    return {
        stack["StackName"]: {
            one["ParameterKey"]: one.get("ParameterValue", "") for one in stack.get("Parameters", [])
        }
        for page in pages
        for stack in page["Stacks"]
    }


def _find_buckets(session: "Session") -> dict[str, tuple[str, str]]:
    """Return the buckets that stacks of this project made, by name: the stack and the logical id."""
    pages = session.client("resourcegroupstaggingapi").get_paginator("get_resources").paginate(
        TagFilters=[{"Key": _STACK}], ResourceTypeFilters=["s3"]
    )  # fmt: skip
    found = {}
    for page in pages:
        for resource in page["ResourceTagMappingList"]:
            tags = {tag["Key"]: tag["Value"] for tag in resource["Tags"]}
            if (logical_id := tags.get(_RESOURCE, "")) in _PARAMETERS:
                found[resource["ResourceARN"].rpartition(":")[2]] = (tags.get(_STACK, ""), logical_id)
    return found


def _list_versions(client: Any, bucket: str) -> Iterator[list[dict[str, Any]]]:
    """Yield pages of a bucket's versions and delete markers."""
    for page in client.get_paginator("list_object_versions").paginate(Bucket=bucket):
        yield [*page.get("Versions", []), *page.get("DeleteMarkers", [])]


def _measure(session: "Session", bucket: str) -> tuple[int, int]:
    """Return the number of a bucket's versions and delete markers, and their bytes."""
    count = size = 0
    for page in _list_versions(session.client("s3"), bucket):
        count += len(page)
        size += sum(entry.get("Size", 0) for entry in page)
    return count, size


def _empty(client: Any, bucket: str) -> None:
    """Delete everything in a bucket, uploads that were not finished included."""
    for page in _list_versions(client, bucket):
        objects = [{"Key": entry["Key"], "VersionId": entry["VersionId"]} for entry in page]
        if objects:
            answer = client.delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True})
            for error in answer.get("Errors", []):
                raise CommandError(f"s3://{bucket}/{error['Key']}: {error['Code']}: {error['Message']}")
    for page in client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket):
        for upload in page.get("Uploads", []):
            client.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
