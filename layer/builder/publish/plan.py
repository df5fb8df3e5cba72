"""The plan of a publication: every call of boto3 with its arguments, in order, region by region.

A plan is data: it can be printed, and tested without AWS. Each kind of call says what its response
means for the calls after it; ``execute`` makes the calls.
"""

import base64
from dataclasses import dataclass, field
from typing import Any, ClassVar

from layer.builder.errors import PublishError
from layer.builder.publish.package import Package
from layer.builder.report.facts import Report

_NOT_FOUND = 404


@dataclass(frozen=True)
class Answer:
    """An argument that an earlier call's response holds."""

    field: str

    def __repr__(self) -> str:
        return f"<{self.field}>"


VERSION = Answer("Version")


@dataclass
class Progress:
    """What a region's calls have answered so far: ``version`` is the response that made the version.

    ``account`` stands behind a command that an error prints.
    """

    account: str = ""
    uploaded: bool = False
    version: dict[str, Any] = field(default_factory=dict)

    @property
    def arn(self) -> str:
        """The new version's ARN; empty before there is one."""
        return str(self.version.get("LayerVersionArn", ""))


@dataclass(frozen=True)
class Call:
    """A call of boto3: of a client's method, with arguments.

    A plan shows ``note``, and execution ``status``. Errors with an ``accepted`` HTTP status are responses,
    too; a 404 is retried for ``patience`` seconds. Errors begin with ``subject``.
    """

    region: str
    arguments: dict[str, Any]

    service: ClassVar[str]
    method: ClassVar[str]
    note: ClassVar[str] = ""
    status: ClassVar[str] = ""
    accepted: ClassVar[frozenset[int]] = frozenset()
    patience: ClassVar[float] = 0

    def __str__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.arguments.items())
        note = f"  # {self.note}" if self.note else ""
        return f"boto3.client({self.service!r}, region_name={self.region!r}).{self.method}({arguments}){note}"

    def subject(self, progress: Progress) -> str:
        """Return how an error's line begins: with a HEAD request's bucket, or the new version."""
        if self.method.startswith("head_"):
            return f"s3://{self.arguments['Bucket']}"
        return f"{progress.arn} was published, and then: {self.method}" if progress.arn else self.method

    def take(self, response: Any, progress: Progress) -> None:
        """Note what the response means for the next calls, or raise a PublishError if it forbids them."""


class CheckBucket(Call):
    """The bucket exists, and in this region."""

    service, method = "s3", "head_bucket"
    note = "it must be of this region"
    # 301 and 403 name the region, too: a role that may write to a bucket need not be allowed to look at it.
    accepted = frozenset({301, 403, _NOT_FOUND})

    def take(self, response: Any, progress: Progress) -> None:
        """Refuse a bucket that does not exist, or in another region."""
        bucket, metadata = self.arguments["Bucket"], response["ResponseMetadata"]
        if metadata["HTTPStatusCode"] == _NOT_FOUND:
            raise PublishError(
                f"the bucket {bucket} does not exist; make it: aws s3 mb s3://{bucket}{progress.account}"
            )
        region = metadata["HTTPHeaders"].get("x-amz-bucket-region", self.region)
        if region != self.region:
            raise PublishError(
                f"bucket {bucket} is in {region}; Lambda takes a layer's zip only from a bucket of the same "
                "region"
            )


class FindPackage(Call):
    """Whether the zip is in the bucket already; a role that may not look uploads it."""

    service, method = "s3", "head_object"
    accepted = frozenset({403, _NOT_FOUND})

    def take(self, response: Any, progress: Progress) -> None:
        """Note whether there is something left to upload."""
        progress.uploaded = response["ResponseMetadata"]["HTTPStatusCode"] not in self.accepted


class UploadPackage(Call):
    """The zip goes to the bucket, unless it is there."""

    service, method = "s3", "upload_file"
    note = "unless it is there"
    status = "uploading"


class PublishVersion(Call):
    """A new version of the layer."""

    service, method = "lambda", "publish_layer_version"
    status = "publishing"

    def take(self, response: Any, progress: Progress) -> None:
        """Keep the version's number and ARN for the calls that follow."""
        progress.version = response


@dataclass(frozen=True)
class AwaitVersion(Call):
    """Lambda knows the version, which takes some seconds, and made it of the bytes with this hash."""

    sha256: str

    service, method = "lambda", "get_layer_version"
    note = "again, until it answers"
    status = "waiting until Lambda knows it"
    patience = 60

    def subject(self, progress: Progress) -> str:
        """Return that the version exists."""
        return f"{progress.arn} was published, and cannot be read"

    def take(self, response: Any, progress: Progress) -> None:
        """Refuse to go on with other bytes than were zipped."""
        if response["Content"]["CodeSha256"] != base64.b64encode(bytes.fromhex(self.sha256)).decode():
            raise PublishError(f"{progress.arn} was published, and S3 had other bytes than were zipped")


class AllowEverybody(Call):
    """Every AWS account may use the version."""

    service, method = "lambda", "add_layer_version_permission"
    status = "letting everybody use it"


def plan(
    report: Report, package: Package, regions: list[str], bucket: str, name: str, *, public: bool
) -> list[Call]:
    """Return all calls that publish a layer, in their order."""
    unproven = "" if report.proven else f", {report.proof.label}"
    description = f"{report.recipe} for {report.runtime} on {report.architecture}"
    # Lambda takes 256 characters, and what follows has at most 40.
    description = f"{description[:216]}, tree {report.digest[:16]}{unproven}"
    version = {"LayerName": name, "VersionNumber": VERSION}
    calls: list[Call] = []
    for region in regions:
        key = {"Bucket": bucket.replace("{region}", region), "Key": f"layers/{name}/{package.sha256}.zip"}
        calls += [
            CheckBucket(region, {"Bucket": key["Bucket"]}),
            FindPackage(region, {**key}),
            UploadPackage(region, {"Filename": str(package.path), **key}),
            PublishVersion(region, {
                "LayerName": name,
                "Description": description,
                "Content": {"S3Bucket": key["Bucket"], "S3Key": key["Key"]},
                "CompatibleRuntimes": [report.runtime],
                "CompatibleArchitectures": [report.architecture],
            }),
            AwaitVersion(region, {**version}, package.sha256),
        ]  # fmt: skip
        if public:
            statement = {"StatementId": "public", "Action": "lambda:GetLayerVersion", "Principal": "*"}
            calls.append(AllowEverybody(region, {**version, **statement}))
    return calls
