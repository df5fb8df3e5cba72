"""A bucket's models, versions and channels."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import msgspec

from lambda_setup.errors import CommandError
from lambda_setup.models import channels
from lambda_setup.models.describe import PublishedManifest

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

SHORT_VERSION = 12
"""Characters of a version in tables and messages; commands accept any unique beginning."""
UPLOAD_SECONDS = 24 * 60 * 60
"""How long after its last object a version without a manifest may still be on its way."""


@dataclass(frozen=True)
class Version:
    """A version in the bucket; one without a manifest is incomplete.

    Attributes:
        age: seconds since its newest object was written, on S3's clock.

    """

    version: str
    manifest: PublishedManifest | None
    keys: tuple[str, ...]
    bytes: int
    age: float

    @property
    def created(self) -> str:
        """The time of publication."""
        return self.manifest.created if self.manifest else ""


class ModelBucket:
    """The models of a bucket; a function on this machine reads it by ``environment``'s variables."""

    def __init__(
        self,
        client: "S3Client",
        name: str,
        *,
        identify: Callable[[], str] = lambda: "unknown",
        environment: Mapping[str, str] = MappingProxyType({}),
        arguments: str = "",
    ) -> None:
        self.client = client
        self.name = name
        self.identify = identify  # returns the identity to record when a channel moves
        self.environment = {**environment, "MODEL_BUCKET": name}
        self.arguments = arguments or f"--bucket {name}"  # by which a command that is printed finds it

    def models(self) -> list[str]:
        """Return the names of all models."""
        pages = self.client.get_paginator("list_objects_v2").paginate(
            Bucket=self.name, Prefix="models/", Delimiter="/"
        )
        prefixes = [entry["Prefix"] for page in pages for entry in page.get("CommonPrefixes", [])]
        return sorted(prefix.split("/")[1] for prefix in prefixes)

    def summarize(self, model: str) -> dict[str, Any]:
        """Return a model's channels and the number and size of its versions, ready for JSON."""
        versions = self.versions(model)
        return {
            "name": model,
            "channels": {channel: pointer.version for channel, pointer in self.pointers(model).items()},
            "versions": len(versions),
            "bytes": sum(version.bytes for version in versions),
        }

    def versions(self, model: str) -> list[Version]:
        """Return a model's versions, the newest first."""
        prefix = f"models/{model}/versions/"
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
        sizes: dict[str, dict[str, int]] = {}
        ages: dict[str, float] = {}
        for page in pages:
            date = page["ResponseMetadata"]["HTTPHeaders"].get("date")
            now = parsedate_to_datetime(date) if date else datetime.now(UTC)
            for entry in page.get("Contents", []):
                version = entry["Key"].split("/")[3]
                sizes.setdefault(version, {})[entry["Key"]] = entry["Size"]
                age = (now - entry["LastModified"]).total_seconds()
                ages[version] = min(age, ages.get(version, age))
        versions = []
        for version, objects in sizes.items():
            key = f"{prefix}{version}/manifest.json"
            manifest = self._read_manifest(key) if key in objects else None
            size = sum(objects.values())
            versions.append(Version(version, manifest, tuple(sorted(objects)), size, ages[version]))
        return sorted(versions, key=lambda version: (version.created, version.version), reverse=True)

    def version(self, model: str, start: str) -> Version:
        """Return the version that begins with some characters; CommandError if none does, or several do."""
        matches = [version for version in self.versions(model) if version.version.startswith(start)]
        if len(matches) != 1:
            raise CommandError(
                f"{len(matches) or 'no'} versions of {model} in s3://{self.name} begin with {start}; "
                f"see: python -m lambda_setup model show {model} {self.arguments}"
            )
        return matches[0]

    def channel_version(self, model: str, channel: str) -> Version:
        """Return the version that a channel points to; CommandError if either does not exist."""
        pointer = self.pointer(model, channel)
        if pointer is None:
            verb = f"promote {model}" if channel == "prod" else "publish DIR"
            raise CommandError(
                f"there is no channel {channel} of {model} in s3://{self.name}; put a model there: "
                f"python -m lambda_setup model {verb} {self.arguments}"
            )
        return self.version(model, pointer.version)

    def manifest(self, model: str, channel: str) -> PublishedManifest:
        """Return the manifest of a channel's version; CommandError if it is missing or damaged."""
        version = self.channel_version(model, channel)
        if version.manifest is None or version.manifest.version != version.version:
            raise CommandError(
                f"version {version.version[:SHORT_VERSION]} of {model} is incomplete; publish it again"
            )
        return version.manifest

    def has_manifest(self, model: str, version: str) -> bool:
        """Return whether a version has a manifest, that is, whether it is complete."""
        prefix = f"models/{model}/versions/{version}/manifest.json"
        return bool(self.client.list_objects_v2(Bucket=self.name, Prefix=prefix).get("Contents"))

    def pointer(self, model: str, channel: str) -> channels.Pointer | None:
        """Return a channel's pointer, None if there is no such channel."""
        return channels.read(self.client, self.name, model, channel)

    def pointers(self, model: str) -> dict[str, channels.Pointer]:
        """Return the pointers of a model's channels, by channel."""
        pointers = {channel: self.pointer(model, channel) for channel in channels.CHANNELS}
        return {channel: pointer for channel, pointer in pointers.items() if pointer}

    def verify(self, model: str, version: Version, progress: Callable[[int], None]) -> list[str]:
        """Read every byte of a version, and return its faults, a line each."""
        if version.manifest is None:
            return ["manifest.json is missing: the upload was not finished"]
        if version.manifest.version != version.version:
            return ["manifest.json is not the one of this version"]
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

    def unused_versions(self, model: str, keep: int) -> list[Version]:
        """Return the versions that may go.

        All but the ``keep`` newest complete ones, the channels' last two, and those that are incomplete
        because somebody may still be uploading them.
        """
        used, versions = self._used_versions(model), self.versions(model)
        used |= {version.version for version in [one for one in versions if one.manifest][:keep]}
        return [
            version
            for version in versions
            if version.version not in used and (version.manifest or version.age > UPLOAD_SECONDS)
        ]

    def _used_versions(self, model: str) -> set[str | None]:
        pointers = self.pointers(model).values()
        return {version for pointer in pointers for version in (pointer.version, pointer.previous)}

    def delete_unused(self, model: str, version: Version) -> bool:
        """Delete a version unless a channel has moved to it meanwhile, and return whether it was deleted."""
        if version.version in self._used_versions(model):
            return False
        self.delete(version)
        return True

    def delete(self, version: Version) -> None:
        """Delete a version, its manifest first, so that an interrupted deletion leaves no usable version."""
        for key in sorted(version.keys, key=lambda key: not key.endswith("/manifest.json")):
            self.client.delete_object(Bucket=self.name, Key=key)

    def _read_manifest(self, key: str) -> PublishedManifest | None:
        try:
            return msgspec.json.decode(
                self.client.get_object(Bucket=self.name, Key=key)["Body"].read(), type=PublishedManifest
            )
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
