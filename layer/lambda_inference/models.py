"""Models in S3: what a manifest says, and how its files come into memory.

::

    models/<name>/versions/<version>/manifest.json + files    immutable, named by their content
    models/<name>/channels/<channel>.json                     {"version": …}, the one that moves
"""

import hashlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeVar

import msgspec
from msgspec import Struct

from lambda_inference.errors import Unavailable
from lambda_inference.storage import Bucket, Missing, bucket

PART_SIZE = 8 * 1024 * 1024
"""Bytes of a part: what one ranged read fetches and one hash covers."""


class File(Struct, frozen=True):
    """One file of a model: its size in bytes, and the sha256 of each of its parts."""

    name: str
    size: int
    part_size: int
    parts: list[str]


class Manifest(Struct, frozen=True, kw_only=True):
    """What a model version consists of, and what it was made with.

    Attributes:
        engine: which engine loads it.
        precision: of its weights as they are stored, in the engine's own words.
        libraries: versions of the libraries that saved it, by distribution name.
        files: its files.

    """

    name: str
    engine: str
    precision: str
    libraries: dict[str, str]
    files: list[File]
    created: str = ""
    card: str = ""

    @property
    def version(self) -> str:
        """The sha256 of the canonical JSON of what makes the answers: not of name, date or card."""
        content = {
            "engine": self.engine,
            "precision": self.precision,
            "libraries": self.libraries,
            "files": sorted(msgspec.to_builtins(self.files), key=lambda file: file["name"]),
        }
        return hashlib.sha256(msgspec.json.encode(content, order="sorted")).hexdigest()


@dataclass(frozen=True)
class Model:
    """A model version in memory.

    Attributes:
        manifest: what it is.
        version: its version, a sha256.
        files: name to bytes; views, which stay valid for as long as they are referenced.

    """

    manifest: Manifest
    version: str
    files: Mapping[str, memoryview]

    def only(self, suffix: str) -> memoryview:
        """Return the one file whose name ends with a suffix.

        Raises:
            Unavailable: there is none, or more than one.

        """
        names = [name for name in self.files if name.endswith(suffix)]
        if len(names) != 1:
            raise Unavailable(
                f"model {self.manifest.name} holds {len(names)} files *{suffix}, and needs one; "
                "publish it again"
            )
        return self.files[names[0]]


class ModelStore:
    """The channel of one model in a bucket, as a function reads it."""

    def __init__(self, bucket: Bucket, name: str, channel: str) -> None:
        self.bucket = bucket
        self.name = name
        self.channel = channel

    @classmethod
    def from_environment(cls) -> "ModelStore":
        """Return the store that MODEL_BUCKET, MODEL_NAME and MODEL_CHANNEL name."""
        try:
            bucket_name, name = os.environ["MODEL_BUCKET"], os.environ["MODEL_NAME"]
        except KeyError as missing:
            raise Unavailable(f"the function's environment lacks {missing}; the template sets it") from None
        return cls(bucket(bucket_name), name, os.environ.get("MODEL_CHANNEL", "dev"))

    def load(self) -> Model:
        """Read the version that the channel points to, every byte checked against its hash.

        Raises:
            Unavailable: there is none, S3 did not answer, or what it has is damaged.

        """
        version = self._pointed_version()
        prefix = f"models/{self.name}/versions/{version}"
        try:
            manifest = _decode(self.bucket.read(f"{prefix}/manifest.json")[0], Manifest)
            if manifest.version != version:
                raise Unavailable(
                    f"{self._url(prefix)}/manifest.json is damaged: it is not what its name says"
                )
            files = {file.name: self._read(prefix, file) for file in manifest.files}
        except Missing as missing:
            raise Unavailable(f"version {version} of model {self.name} is incomplete: no {missing}") from None
        return Model(manifest, version, files)

    def _pointed_version(self) -> str:
        key = f"models/{self.name}/channels/{self.channel}.json"
        try:
            return _decode(self.bucket.read(key)[0], _Pointer).version
        except Missing:
            raise Unavailable(
                f"there is no model yet: no {self._url(key)}. Publish one: {publish_command()}"
            ) from None
        except Unavailable as fault:
            if not fault.refused:
                raise
            raise Unavailable(
                f"{fault.message}. If there is no model yet, publish one: {publish_command()}"
            ) from None

    def _read(self, prefix: str, file: File) -> memoryview:
        """Read a file's parts into one buffer, as many at once as there are cores."""
        buffer = memoryview(bytearray(file.size))
        parts = _each_once(enumerate(file.parts))
        failures: list[BaseException] = []

        def work() -> None:
            try:
                for number, expected in parts():
                    start = number * file.part_size
                    view = buffer[start : start + file.part_size]
                    self._read_part(f"{prefix}/{file.name}", view, start, expected)
            except BaseException as failure:  # noqa: BLE001 - raised again below, in the caller's thread
                failures.append(failure)

        count = min(os.cpu_count() or 1, len(file.parts))
        workers = [threading.Thread(target=work) for _ in range(count - 1)]
        for worker in workers:
            worker.start()
        work()
        for worker in workers:
            worker.join()
        if failures:
            raise failures[0]
        return buffer.toreadonly()

    def _read_part(self, key: str, view: memoryview, start: int, expected: str) -> None:
        self.bucket.read_into(key, view, start)
        if hashlib.sha256(view).hexdigest() != expected:
            raise Unavailable(f"{self._url(key)} is damaged in the part at byte {start}")

    def _url(self, key: str) -> str:
        return f"s3://{self.bucket.name}/{key}"


class Fetch:
    """A model on its way into memory, while something else happens.

    It ends inside the ``with`` block: Lambda freezes the process between invocations.
    """

    def __init__(self, store: ModelStore) -> None:
        self._store = store
        self._model: Model | None = None
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            self._model = self._store.load()
        except BaseException as failure:  # noqa: BLE001 - raised again by result()
            self._failure = failure

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()

    def result(self) -> Model:
        """Wait for the model and return it.

        Raises:
            Unavailable: as ModelStore.load does.

        """
        self._thread.join()
        if self._failure is not None:
            raise self._failure
        assert self._model is not None  # noqa: S101 - one of the two is there once the thread has ended
        return self._model


def publish_command() -> str:
    """Return the command that fills the model bucket, for a message."""
    stack = os.environ.get("STACK_NAME", "STACK")
    return (
        f"python -m lambda_setup model publish models/{os.environ.get('MODEL_NAME', 'NAME')} --stack {stack}"
    )


T = TypeVar("T")


class _Pointer(Struct, frozen=True):
    version: str


def _decode(data: memoryview, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Unavailable(f"the model's {kind.__name__.strip('_').lower()} in S3 is damaged") from None


def _each_once(items: Iterator[Any]) -> Callable[[], Iterator[Any]]:
    """Let several threads share one iterator."""
    lock = threading.Lock()

    def share() -> Iterator[Any]:
        while True:
            with lock:
                item = next(items, None)
            if item is None:
                return
            yield item

    return share
