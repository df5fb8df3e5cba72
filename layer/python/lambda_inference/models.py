"""Models in S3: what a manifest says, and how its files come into memory.

::

    models/<name>/versions/<version>/manifest.json + files    immutable, named by their content
    models/<name>/channels/<channel>.json                     {"version": …}, the one that moves
"""

import ctypes
import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Struct

from lambda_inference import compatible
from lambda_inference.errors import Unavailable
from lambda_inference.storage import Bucket, Missing, bucket

PART_SIZE = 8 * 1024 * 1024
"""Bytes of a part: what one ranged read fetches and one hash covers."""

_HEX = 64
_ATTEMPTS = 3
_SECONDS = 10
"""How long one request for a part may take: it ends what trickles."""


class File(Struct, frozen=True):
    """One file of a model: its size in bytes, and the sha256 of each of its parts."""

    name: str
    size: int
    part_size: int
    parts: list[str]

    def __post_init__(self) -> None:
        if not self.name or "/" in self.name or self.name == "manifest.json":
            raise ValueError("a file's name is none")
        if self.size < 0 or self.part_size < 1 or len(self.parts) != -(-self.size // self.part_size):
            raise ValueError("a file's size is not that of its parts")


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

    def __post_init__(self) -> None:
        if len({file.name for file in self.files}) != len(self.files):
            raise ValueError("two files have one name")

    @property
    def size(self) -> int:
        """The bytes of all files together."""
        return sum(file.size for file in self.files)

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


T = TypeVar("T")


@dataclass(frozen=True)
class Model:
    """A model version in memory.

    Attributes:
        manifest: what it is.
        version: its version, a sha256.
        files: name to bytes; read-only views of ``bytes`` objects (``view.obj``), which stay valid for as
            long as they are referenced.

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


@dataclass(frozen=True)
class Pointer:
    """What a channel points to, and the ETag of the object that says so."""

    version: str
    etag: str | None


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
        return cls(bucket(bucket_name, _SECONDS), name, os.environ.get("MODEL_CHANNEL", "dev"))

    def load(self, stop: threading.Event | None = None) -> tuple[Model, str | None]:
        """Read the version that the channel points to, every byte checked against its hash.

        Args:
            stop: when it is set, nothing more is read.

        Returns:
            The model, and the ETag of the pointer that led to it.

        Raises:
            Unavailable: there is none, S3 did not answer, what it has is damaged or not for this function.

        """
        pointer = self.pointer()
        assert pointer is not None  # noqa: S101 - only an ETag makes it None
        return self.read(self.manifest(pointer.version), stop), pointer.etag

    def pointer(self, etag: str | None = None) -> Pointer | None:
        """Return what the channel points to, None if that has still this ETag.

        Raises:
            Unavailable: there is no such channel, S3 did not answer, or what it has is damaged.

        """
        key = f"models/{self.name}/channels/{self.channel}.json"
        try:
            found = self.bucket.read_unless(key, etag)
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
        if found is None:
            return None
        (data, seen) = found
        version = self._decode(key, data, _Pointer).version
        if len(version) != _HEX or not set(version) <= set("0123456789abcdef"):
            raise Unavailable(f"{self._url(key)} is damaged: it does not name a version")
        return Pointer(version, seen)

    def manifest(self, version: str) -> Manifest:
        """Return the manifest of a version that this function can load.

        Raises:
            Unavailable: there is none, S3 did not answer, it is damaged or not for this function.

        """
        key = f"models/{self.name}/versions/{version}/manifest.json"
        try:
            manifest = self._decode(key, self.bucket.read(key)[0], Manifest)
        except Missing:
            fault = Unavailable(f"version {version} of model {self.name} is incomplete: no {key}")
            fault.missing = True
            raise fault from None
        if manifest.version != version:
            raise Unavailable(f"{self._url(key)} is damaged: it is not what its name says")
        compatible.check(manifest)
        return manifest

    def read(self, manifest: Manifest, stop: threading.Event | None = None) -> Model:
        """Read the files of a version, each into one buffer, as many parts at once as there are cores.

        Raises:
            Unavailable: a file is missing or damaged, or S3 did not answer.

        """
        prefix = f"models/{self.name}/versions/{manifest.version}"
        files = {file.name: _Unwritten(file.size) for file in manifest.files}
        parts = _each_once(
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

        workers = [threading.Thread(target=work, daemon=True) for _ in range((os.cpu_count() or 1) - 1)]
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
            raise slow()
        return Model(
            manifest, manifest.version, {name: memoryview(file.content) for name, file in files.items()}
        )

    def _read_part(
        self, key: str, view: memoryview, start: int, expected: str, stop: threading.Event | None
    ) -> None:
        """Read a part and compare its hash; once more, and once more, if it does not come as it should."""
        for attempt in range(1, _ATTEMPTS + 1):
            last = attempt == _ATTEMPTS or bool(stop and stop.is_set())
            try:
                self.bucket.read_into(key, view, start)
            except Unavailable as fault:
                if last or fault.refused:
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


class Fetch(Generic[T]):
    """Something on its way from S3, while something else happens.

    Lambda freezes the process between invocations: whoever starts one waits for it, for as long as there
    is time, and stops it then.

    Attributes:
        seconds: how long it took, once it has ended.

    """

    def __init__(self, read: Callable[[threading.Event], T]) -> None:
        self._read = read
        self._stop = threading.Event()
        self._found: list[T] = []
        self._failure: BaseException | None = None
        self.seconds = 0.0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        start = time.perf_counter()
        try:
            self._found.append(self._read(self._stop))
        except BaseException as failure:  # noqa: BLE001 - raised again by result()
            self._failure = failure
        self.seconds = time.perf_counter() - start

    def ready(self, seconds: float) -> bool:
        """Wait so many seconds, and return whether it has ended; if not, it goes on."""
        self._thread.join(max(seconds, 0))
        return not self._thread.is_alive()

    def result(self, seconds: float) -> T:
        """Wait at most so many seconds, and return what came; it is handed out once.

        Raises:
            Unavailable: as what is read does; or there was not enough time, and it is stopped.

        """
        if not self.ready(seconds):
            self._stop.set()
            raise slow()
        if self._failure is not None:
            raise self._failure
        return self._found.pop()


def publish_command() -> str:
    """Return the command that fills the model bucket, for a message."""
    stack = os.environ.get("STACK_NAME", "STACK")
    return (
        f"python -m lambda_setup model publish models/{os.environ.get('MODEL_NAME', 'NAME')} --stack {stack}"
    )


class _Pointer(Struct, frozen=True):
    version: str


class _Unwritten:
    """Bytes that somebody else fills: they are neither written twice nor copied into their final place.

    As C code makes them: ``PyBytes_FromStringAndSize`` without a string, written before anybody has them.
    """

    def __init__(self, size: int) -> None:
        make = ctypes.pythonapi.PyBytes_FromStringAndSize
        make.restype, make.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.c_ssize_t)
        self.content: bytes = make(None, size)
        address = ctypes.pythonapi.PyBytes_AsString
        address.restype, address.argtypes = ctypes.c_void_p, (ctypes.py_object,)
        memory = (ctypes.c_char * size).from_address(address(self.content))
        memory.owner = self.content  # type: ignore[attr-defined] # which lives for as long as somebody can write there
        self.view = memoryview(memory).cast("B")


def slow() -> Unavailable:
    """Return the fault of a model that has not come in time."""
    return Unavailable("S3 did not send the model in the time there was; try again, or raise the timeout")


def _each_once(each: Iterable[Any]) -> Callable[[], Iterator[Any]]:
    """Let several threads share what is iterated over."""
    items = iter(each)
    lock = threading.Lock()

    def share() -> Iterator[Any]:
        while True:
            with lock:
                item = next(items, None)
            if item is None:
                return
            yield item

    return share
