"""Which model serves: from the cold start on, and through every move of its channel.

A warm function looks at its channel inside an invocation, at most every MODEL_REFRESH_SECONDS, and takes
what it then points to up at once, if there is time. Whatever goes wrong with that, the old model serves.

A request may also name its version, so that a run of many of them is answered by one model while the channel
moves. A version that is not the channel's is kept beside it, one at a time.
"""

import ctypes
import gc
import os
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, replace

from lambda_inference import _layer_marker, _storage, _telemetry
from lambda_inference._background import BackgroundTask, slow_storage
from lambda_inference._deadline import Deadline
from lambda_inference._errors import BadRequest, Fault, Unavailable
from lambda_inference._model_store import ModelStore, Pointer
from lambda_inference._models import Manifest, Model
from lambda_inference._predictor import Predictor

_INIT_SECONDS = 4
"""Lambda begins an initialisation anew that takes ten; the first request waits for what is still missing."""
_LONG_INIT_SECONDS = 100
"""Where there is no such limit: with provisioned concurrency, and before a snapshot is taken."""
_LOOK_SECONDS = 2
"""How long a warm function waits for its channel."""
_MARGIN = 2
"""How many times as long as the last one a load may take, for it to be begun."""
_MOST = 0.8
"""What of an invocation's time may be asked for at most, for a model no larger than the last one."""
_PATIENCE = 10
"""Looks at the channel after which a version that was refused is tried again."""


@dataclass(frozen=True)
class Serving:
    """A predictor with its model loaded.

    Attributes:
        manifest: of the model; its bytes are the predictor's, if it keeps them.
        version: the model's.
        etag: of the pointer that led to it.
        seconds: what reading and loading took, side by side with imports.

    """

    predictor: Predictor
    manifest: Manifest
    version: str
    etag: str | None
    seconds: float


@dataclass(frozen=True)
class _Refused:
    """A version that could not be taken up, and when it is tried again."""

    version: str
    until: float


class ModelManager:
    """The model of a function's channel, as it is now."""

    def __init__(self, predictor_type: type[Predictor]) -> None:
        self._predictor_type = predictor_type
        self._fresh: Predictor | None = None
        self._first: BackgroundTask[tuple[Model, str | None]] | None = None
        self._former: Manifest | None = None
        self._serving: Serving | None = None
        self._named: Serving | None = None
        self._refused: _Refused | None = None
        self._looked = 0.0

    def initialise(self) -> None:
        """Load the model while the function initialises, or as much of it as there is time for.

        Raises:
            Unavailable: it cannot be had.

        """
        kind = os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand")
        if kind == "snap-start":
            from snapshot_restore_py import register_after_restore  # type: ignore[import-untyped]

            register_after_restore(self._restored)
        limit = time.monotonic() + (_INIT_SECONDS if kind == "on-demand" else _LONG_INIT_SECONDS)
        if self._begin().wait(limit - time.monotonic()):
            self._load()

    def current(self, deadline: Deadline, version: str | None = None) -> Serving:
        """Return what serves this request: the version that it names, or the channel's model.

        Where the channel's cannot be had, the last one that could serves.

        Raises:
            BadRequest: there is no such version.
            Unavailable: there is none yet.

        """
        if version:
            return self._version(version, deadline)
        refresh = float(os.environ.get("MODEL_REFRESH_SECONDS", "60"))
        # By the clock on the wall: the other one may stand still while the process is frozen.
        if self._serving and abs(time.time() - self._looked) >= refresh:
            self._looked = time.time()
            self._look(self._serving.manifest, self._serving.etag, deadline, refresh)
        if self._serving is None:
            if os.environ.get("MODEL_SWAP") == "instead":
                self._forget()
            carried = self._first is not None
            try:
                return self._load(deadline)
            except Unavailable:
                # What was begun before may have failed before; what is still on its way goes on.
                if not carried or self._first is not None:
                    raise
            return self._load(deadline)
        return self._serving

    def _version(self, version: str, deadline: Deadline) -> Serving:
        """Return what serves requests for one version: it is nearly always the channel's."""
        if self._serving is None and self._named is None:
            with suppress(Unavailable):
                self._load(deadline)
        for one in (self._serving, self._named):
            if one and one.version == version:
                return one
        store = ModelStore.from_environment()
        try:
            manifest = BackgroundTask(lambda _: store.manifest(version)).result(deadline.remaining() / 2)
        except Unavailable as fault:
            if not fault.missing:
                raise
            raise BadRequest(
                f"model_version takes a version of the model {store.name} that is in the bucket; {fault}",
                field="model_version",
            ) from None
        if os.environ.get("MODEL_SWAP") == "instead" and self._serving:
            self._former, self._serving = self._serving.manifest, None
        self._forget()
        fetch = BackgroundTask(lambda stop: store.read(manifest, stop))
        self._fresh = self._predictor_type()
        self._named = self._loaded(fetch.result(deadline.remaining()), None, fetch.seconds)
        return self._named

    def _forget(self) -> None:
        """Make room: give back a model that is not the channel's."""
        self._named = None
        _release()

    def _restored(self) -> None:
        """Look at the channel before the next answer: the snapshot may be older than its last move."""
        _storage.disconnect()
        self._looked = 0.0

    def _begin(self) -> "BackgroundTask[tuple[Model, str | None]]":
        """Have a model on its way, while everything is imported."""
        if self._first is None:
            store, former = ModelStore.from_environment(), self._former

            def read(stop: threading.Event) -> tuple[Model, str | None]:
                if former:
                    with suppress(Unavailable):
                        return store.read(former, stop), None
                return store.load(stop)

            self._first = BackgroundTask(read)
        self._fresh = self._fresh or self._predictor_type()
        return self._first

    def _load(self, deadline: Deadline | None = None) -> Serving:
        """Take up the model that is on its way; if there is not enough time, the next request goes on."""
        first = self._begin()
        if deadline and not first.wait(deadline.remaining()):
            raise slow_storage()
        self._first = None
        model, etag = first.result(0)
        self._serving = self._loaded(model, etag, first.seconds)
        self._former, self._looked = None, time.time()
        if _layer_marker.nested:
            from lambda_inference import _unpack

            if unpacked := _unpack.result():
                _telemetry.duration("LayerUnpack", unpacked.seconds * 1000)
        return self._serving

    def _loaded(self, model: Model, etag: str | None, seconds: float) -> Serving:
        start = time.perf_counter()
        predictor, self._fresh = self._fresh or self._predictor_type(), None
        try:
            predictor.load(model)
        except Fault:
            raise
        except Exception as error:
            _telemetry.failure(error)
            raise Unavailable(
                f"version {model.version} of model {model.manifest.name} cannot be loaded "
                f"({type(error).__name__}); the log says where. Publish another one, or roll back"
            ) from error
        seconds += time.perf_counter() - start
        _telemetry.duration("ModelLoad", seconds * 1000)
        _telemetry.info(
            "model loaded",
            model=model.manifest.name,
            version=model.version,
            milliseconds=round(seconds * 1000),
        )
        return Serving(predictor, model.manifest, model.version, etag, seconds)

    def _look(self, now: Manifest, etag: str | None, deadline: Deadline, refresh: float) -> None:
        """Look at the channel, and take up what it points to; whatever fails, the old model serves."""
        store = ModelStore.from_environment()
        try:
            pointer = BackgroundTask(lambda _: store.pointer(etag)).result(
                min(_LOOK_SECONDS, deadline.remaining() / 4)
            )
        except Unavailable as fault:
            _telemetry.count("ModelUnchecked")
            _telemetry.info("the channel could not be read", reason=fault.message, version=now.version)
            return
        if pointer is None:
            return
        if pointer.version == now.version:
            assert self._serving is not None  # noqa: S101 - only what serves looks
            self._serving = replace(self._serving, etag=pointer.etag)
            return
        if self._refused and self._refused.version == pointer.version and time.time() < self._refused.until:
            return
        self._refused = None
        try:
            if not self._take(store, pointer, deadline):
                return
        except Exception as error:  # noqa: BLE001 - whatever it is, the old model serves
            reason = error.message if isinstance(error, Fault) else type(error).__name__
            self._refused = _Refused(pointer.version, time.time() + _PATIENCE * refresh)
            _telemetry.count("ModelRefused")
            _telemetry.info(
                "the model is refused", reason=reason, refused=pointer.version, version=now.version
            )
        _release()

    def _take(self, store: ModelStore, pointer: Pointer, deadline: Deadline) -> bool:
        """Load the version that the channel points to, and let it serve from now on, if there is time."""
        assert self._serving is not None  # noqa: S101 - only what serves looks
        now, seconds = self._serving.manifest, self._serving.seconds
        manifest = BackgroundTask(lambda _: store.manifest(pointer.version)).result(deadline.remaining() / 4)
        # S3 may just have been slow when the last one was read.
        needed = min(_MARGIN * seconds, _MOST * deadline.seconds) * max(1.0, manifest.size / max(now.size, 1))
        if deadline.remaining() < needed:
            _telemetry.count("ModelPostponed")
            _telemetry.info(
                "the model moved, and there is no time to load it",
                needed_seconds=round(needed, 1),
                moved_to=pointer.version,
                version=now.version,
            )
            return False
        if self._named and self._named.version == pointer.version:
            self._serving, self._named = replace(self._named, etag=pointer.etag), None
            return True
        self._forget()
        if os.environ.get("MODEL_SWAP") == "instead":
            self._former, self._serving = now, None
            _release()
        fetch = BackgroundTask(lambda stop: store.read(manifest, stop))
        self._fresh = self._predictor_type()
        model = fetch.result(deadline.remaining() / 2)
        self._serving = self._loaded(model, pointer.etag, fetch.seconds)
        self._former = None
        return True


def _release() -> None:
    """Give back what an old model held: objects in circles, and memory that the allocator would keep."""
    gc.collect()
    with suppress(AttributeError):  # only GNU's C library, which Lambda has, can be asked to
        ctypes.CDLL(None).malloc_trim(0)
