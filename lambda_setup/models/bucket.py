"""A model bucket: which one a command works on, and what is in it."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import msgspec

from lambda_setup.models import channels
from lambda_setup.models.describe import PublishedManifest

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

SHOWN = 12
"""Characters of a version as it is shown; commands take them too."""


@dataclass(frozen=True)
class Version:
    """A version in the bucket; without its manifest it is not whole."""

    version: str
    manifest: PublishedManifest | None
    keys: tuple[str, ...]
    bytes: int

    @property
    def created(self) -> str:
        """When it was published."""
        return self.manifest.created if self.manifest else ""


class ModelBucket:
    """The models of a bucket, as the operator sees them.

    Attributes:
        client: of the S3 that has it.
        name: the bucket's.

    """

    def __init__(
        self,
        client: "S3Client",
        name: str,
        *,
        identify: Callable[[], str] = lambda: "unknown",
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Take a bucket.

        Args:
            client: of the S3 that has it.
            name: the bucket's.
            identify: returns who moves its channels.
            environment: variables that give a function on this machine access to that S3.

        """
        self.client = client
        self.name = name
        self.identify = identify
        self.environment = {**environment, "MODEL_BUCKET": name}

    def models(self) -> list[str]:
        """Return the names of all models."""
        pages = self.client.get_paginator("list_objects_v2").paginate(
            Bucket=self.name, Prefix="models/", Delimiter="/"
        )
        return sorted(one["Prefix"].split("/")[1] for page in pages for one in page.get("CommonPrefixes", []))

    def versions(self, model: str) -> list[Version]:
        """Return a model's versions, the newest first."""
        prefix = f"models/{model}/versions/"
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
        sizes: dict[str, dict[str, int]] = {}
        for page in pages:
            for one in page.get("Contents", []):
                sizes.setdefault(one["Key"].split("/")[3], {})[one["Key"]] = one["Size"]
        found = [
            Version(
                version,
                self._manifest(f"{prefix}{version}/manifest.json")
                if f"{prefix}{version}/manifest.json" in of
                else None,
                tuple(sorted(of)),
                sum(of.values()),
            )
            for version, of in sizes.items()
        ]
        return sorted(found, key=lambda one: (one.created, one.version), reverse=True)

    def version(self, model: str, start: str) -> Version:
        """Return the version that begins with some characters.

        Raises:
            RuntimeError: there is none, or more than one.

        """
        found = [one for one in self.versions(model) if one.version.startswith(start)]
        if len(found) != 1:
            raise RuntimeError(
                f"{len(found) or 'no'} versions of {model} in s3://{self.name} begin with {start}; "
                f"see: python -m lambda_setup model show {model}"
            )
        return found[0]

    def pointed(self, model: str, channel: str) -> Version:
        """Return the version that a channel points to.

        Raises:
            RuntimeError: there is no such channel, or nothing where it points.

        """
        pointer = channels.read(self.client, self.name, model, channel)
        if pointer is None:
            raise RuntimeError(f"there is no channel {channel} of {model} in s3://{self.name}; publish one")
        return self.version(model, pointer.version)

    def manifest(self, model: str, channel: str) -> PublishedManifest:
        """Return the manifest of the version that a channel points to.

        Raises:
            RuntimeError: there is none, or its manifest is missing or damaged.

        """
        version = self.pointed(model, channel)
        if version.manifest is None or version.manifest.version != version.version:
            raise RuntimeError(f"version {version.version[:SHOWN]} of {model} is not whole; publish it again")
        return version.manifest

    def pointers(self, model: str) -> dict[str, channels.Pointer]:
        """Return what each channel of a model points to."""
        found = {name: channels.read(self.client, self.name, model, name) for name in channels.CHANNELS}
        return {name: pointer for name, pointer in found.items() if pointer}

    def verify(self, model: str, version: Version, progress: Callable[[int], None]) -> list[str]:
        """Read every byte of a version, and return what is wrong with it."""
        if version.manifest is None:
            return ["manifest.json is missing: it was not published to its end"]
        if version.manifest.version != version.version:
            return ["manifest.json is not what the version's name says"]
        faults = []
        for file in version.manifest.files:
            key = f"models/{model}/versions/{version.version}/{file.name}"
            if key not in version.keys:
                faults.append(f"{file.name} is missing")
                continue
            body = self.client.get_object(Bucket=self.name, Key=key)["Body"]
            size = 0
            for number, expected in enumerate(file.parts):
                part = body.read(file.part_size)
                size += len(part)
                progress(len(part))
                if hashlib.sha256(part).hexdigest() != expected:
                    faults.append(f"{file.name} is damaged in the part at byte {number * file.part_size:,}")
            size += len(body.read())
            if size != file.size:
                faults.append(f"{file.name} has {size:,} bytes, not {file.size:,}")
        return faults

    def delete(self, version: Version) -> None:
        """Remove a version, its manifest first: what a failure leaves is no version, and goes next time."""
        for key in sorted(version.keys, key=lambda one: not one.endswith("/manifest.json")):
            self.client.delete_object(Bucket=self.name, Key=key)

    def _manifest(self, key: str) -> PublishedManifest | None:
        try:
            return msgspec.json.decode(
                self.client.get_object(Bucket=self.name, Key=key)["Body"].read(), type=PublishedManifest
            )
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
