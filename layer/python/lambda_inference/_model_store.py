"""Models in S3, and how their files are read into memory.

::

    models/<name>/versions/<version>/manifest.json + files    immutable, content-addressed
    models/<name>/channels/<channel>.json                     {"version": …}, the pointer that moves
"""

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from lambda_inference import _compatibility
from lambda_inference._background import slow_storage
from lambda_inference._errors import AccessDenied, MissingVersion, Refused, Unavailable
from lambda_inference._hints import publish_command
from lambda_inference._models import Manifest, Model
from lambda_inference._settings import Settings
from lambda_inference._storage import Bucket, get_bucket
from lambda_inference._storage_errors import Missing

_HEX = 64
_ATTEMPTS = 3
_AT_ONCE = 4
"""Parts that are on their way at once, at least: while an import holds the interpreter, none is asked for."""
_SECONDS = 10
"""How long one request for a part may take: a slower transfer is given up."""

T = TypeVar("T")


class Pointer(Struct, frozen=True):
    """The version that a channel points to, and the ETag of the channel's object."""

    version: str
    etag: str | None


class ModelStore:
    """The channel and the versions of one model in a bucket."""

    def __init__(self, bucket: Bucket, name: str, channel: str) -> None:
        self.bucket = bucket
        self.name = name
        self.channel = channel

    @classmethod
    def from_environment(cls) -> "ModelStore":
        """Return the store of MODEL_BUCKET, MODEL_NAME and MODEL_CHANNEL."""
        settings = Settings.read()
        models = get_bucket(settings.require("model_bucket"), _SECONDS)
        return cls(models, settings.require("model_name"), settings.model_channel)

    def load(self, stop: threading.Event | None = None) -> tuple[Model, str | None]:
        """Read the version that the channel points to, every byte checked against its hash.

        Args:
            stop: ends the reading once it is set.

        Returns:
            The model, and the ETag of the pointer that led to it.

        Raises:
            Unavailable: there is no version, it is damaged or not for this function, or S3 did not answer.

        """
        pointer = self.read_pointer()
        assert pointer is not None  # noqa: S101 - it is None only with an ETag
        return self.read(self.read_manifest(pointer.version), stop), pointer.etag

    def read_pointer(self, etag: str | None = None) -> Pointer | None:
        """Return the channel's pointer, or None if its ETag is still this one.

        Raises:
            Unavailable: there is no such channel, it is damaged, or S3 did not answer.

        """
        key = f"models/{self.name}/channels/{self.channel}.json"
        try:
            response = self.bucket.read_if_changed(key, etag)
        except Missing:
            raise Unavailable(
                f"there is no model yet: no {self._url(key)}. Put one there: {publish_command()}"
            ) from None
        except AccessDenied as denied:
            raise Unavailable(
                f"{denied.message}. If there is no model yet, put one there: {publish_command()}"
            ) from None
        if response is None:
            return None
        data, new_etag = response
        version = self._decode(key, data, _Pointer).version
        if len(version) != _HEX or not set(version) <= set("0123456789abcdef"):
            raise Unavailable(f"{self._url(key)} is damaged: it does not name a version")
        return Pointer(version, new_etag)

    def read_manifest(self, version: str) -> Manifest:
        """Return the manifest of a version that this function can load.

        Raises:
            MissingVersion: there is no such version.
            Unavailable: it is damaged or not for this function, or S3 did not answer.

        """
        key = f"models/{self.name}/versions/{version}/manifest.json"
        try:
            manifest = self._decode(key, self.bucket.read(key), Manifest)
        except Missing:
            raise MissingVersion(f"version {version} of model {self.name} is incomplete: no {key}") from None
        _compatibility.check_requirements(manifest)
        if manifest.version != version:
            raise Unavailable(f"{self._url(key)} is damaged: its content does not have the hash in its name")
        _compatibility.check(manifest)
        return manifest

    def read(self, manifest: Manifest, stop: threading.Event | None = None) -> Model:
        """Read the files of a version, each into one buffer, several parts at once.

        Raises:
            Unavailable: a file is missing or damaged, or S3 did not answer.

        """
        from lambda_inference._buffers import PreallocatedBytes

        prefix = f"models/{self.name}/versions/{manifest.version}"
        files = {file.name: PreallocatedBytes(file.size) for file in manifest.files}
        parts = _share(
            (
                f"{prefix}/{file.name}",
                files[file.name].view,
                number * file.part_size,
                file.part_size,
                expected,
            )
            for file in manifest.files
            for number, expected in enumerate(file.parts)
        )
        failures: list[BaseException] = []

        def work() -> None:
            try:
                for key, buffer, start, size, expected in parts():
                    if failures or (stop and stop.is_set()):
                        return
                    self._read_part(key, buffer[start : start + size], start, expected, stop)
            except BaseException as failure:  # noqa: BLE001 - raised again below, in the caller's thread
                failures.append(failure)

        workers = [
            threading.Thread(target=work, daemon=True) for _ in range(max(_AT_ONCE, os.cpu_count() or 1) - 1)
        ]
        for worker in workers:
            worker.start()
        work()
        for worker in workers:
            worker.join()
        if failures and isinstance(failures[0], Missing):
            raise Unavailable(
                f"version {manifest.version} of model {self.name} is incomplete: no {failures[0]}"
            ) from None
        if failures:
            raise failures[0]
        if stop and stop.is_set():
            raise slow_storage()
        return Model(
            manifest, manifest.version, {name: memoryview(file.content) for name, file in files.items()}
        )

    def _read_part(
        self, key: str, view: memoryview, start: int, expected: str, stop: threading.Event | None
    ) -> None:
        """Read a part and compare its hash, in up to three attempts."""
        import hashlib

        for attempt in range(1, _ATTEMPTS + 1):
            last = attempt == _ATTEMPTS or bool(stop and stop.is_set())
            try:
                self.bucket.read_into(key, view, start)
            except (AccessDenied, Refused):
                raise
            except Unavailable:
                if last:
                    raise
                continue
            if hashlib.sha256(view).hexdigest() == expected:
                return
            if last:
                raise Unavailable(f"{self._url(key)} is damaged in the part at byte {start}")

    def _decode(self, key: str, data: memoryview, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(data, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Unavailable(f"{self._url(key)} is damaged: {error}") from None

    def _url(self, key: str) -> str:
        return f"s3://{self.bucket.name}/{key}"


class _Pointer(Struct, frozen=True):
    version: str


def _share(values: Iterable[Any]) -> Callable[[], Iterator[Any]]:
    """Let several threads consume one iterable: each item goes to one of them."""
    items = iter(values)
    lock = threading.Lock()

    def consume() -> Iterator[Any]:
        while True:
            with lock:
                item = next(items, None)
            if item is None:
                return
            yield item

    return consume
