"""The model that serves: from the cold start on, and through every move of its channel.

The channel's model is ``Empty``, ``Loading`` or ``Serving``::

    Empty ──start──▶ Loading ──finish──▶ Serving ──swap──▶ Serving
      ▲                 │ failed            │ MODEL_SWAP=instead: until the new one is loaded
      └─────────────────┴───────────────────┘

A warm function checks its channel inside an invocation, at most every MODEL_REFRESH_SECONDS, and swaps at
once if there is time. If anything fails, the old model serves on.

A request may also pin a version, so that one model answers a whole run while the channel moves. One pinned
model besides the channel's is kept.
"""

import gc
import time
from collections.abc import Callable
from contextlib import suppress
from threading import Event

from msgspec import Struct
from msgspec.structs import replace

from lambda_inference import _layer_marker, _storage, _telemetry
from lambda_inference._background import BackgroundTask, slow_storage
from lambda_inference._deadline import Deadline, process_age
from lambda_inference._errors import BadRequest, Fault, MissingVersion, Unavailable
from lambda_inference._model_store import ModelStore, Pointer
from lambda_inference._models import Manifest, Model
from lambda_inference._predictor import Predictor
from lambda_inference._settings import Settings

_INIT_SECONDS = 5
"""Age of the process from which an initialisation begins no further step: the first request goes on.

Lambda restarts an initialisation that exceeds ten. A step that takes no longer than all before it is in time.
"""
_LONG_INIT_SECONDS = 100
"""The same without that limit: with provisioned concurrency, and before a snapshot is taken."""
_CHECK_SECONDS = 2
"""How long a warm function waits for its channel."""
_MARGIN = 2
"""A load starts only if this many times the last load's duration is left."""
_MAX_SHARE = 0.8
"""The most of an invocation's time that a load may require."""
_REFUSED_CHECKS = 10
"""Checks of the channel after which a refused version is tried again."""


class Empty(Struct, frozen=True):
    """No model is loaded.

    Attributes:
        previous: the model that was given up for one that did not load; it comes back.

    """

    previous: Manifest | None = None


class Loading(Struct, frozen=True):
    """A model is on its way.

    Attributes:
        task: reads the model and the ETag of its pointer.
        previous: as before.
        predictor: constructed while the model arrives.

    """

    task: "BackgroundTask[tuple[Model, str | None]]"
    previous: Manifest | None
    predictor: Predictor | None = None


class Serving(Struct, frozen=True):
    """A predictor with its model loaded.

    Attributes:
        manifest: the model's; its bytes are the predictor's, if it keeps them.
        version: the model's.
        etag: of the pointer that led to it.
        seconds: how long reading and loading took.

    """

    predictor: Predictor
    manifest: Manifest
    version: str
    etag: str | None
    seconds: float


class Refusal(Struct, frozen=True):
    """A version that could not be loaded, and when it was tried, in wall-clock time."""

    version: str
    at: float


class ModelManager:
    """The model of a function's channel, and one that requests pin.

    No method keeps a reference to a ``Serving`` while it replaces one: where memory holds one model
    only, the old one has to be freed first.
    """

    def __init__(self, predictor_type: type[Predictor]) -> None:
        self._predictor_type = predictor_type
        self._channel: Empty | Loading | Serving = Empty()
        self._pinned: Serving | None = None
        self._refusal: Refusal | None = None
        self._checked_at = 0.0

    def initialise(self, age: Callable[[], float] = process_age) -> None:
        """Load the model while the function initialises, or as much of it as there is time for.

        Args:
            age: tells for how many seconds the function has been initialising.

        Raises:
            Unavailable: there is no model, or S3 did not answer.

        """
        kind = Settings.read().initialization_type
        if kind == "snap-start":
            from snapshot_restore_py import register_after_restore  # type: ignore[import-untyped]

            register_after_restore(self._invalidate)
        limit = _INIT_SECONDS if kind == "on-demand" else _LONG_INIT_SECONDS
        task = self._start_reading().task
        if age() < limit:
            self._start()
        if task.wait(limit - age()) and age() < limit:
            self._finish()
        else:
            _telemetry.log("the first request goes on with the initialisation", seconds=round(age(), 1))

    def select(self, deadline: Deadline, version: str | None = None) -> Serving:
        """Return the model that answers a request: the version that it pins, or the channel's.

        Raises:
            BadRequest: there is no such version.
            Unavailable: no model is loaded, and none can be loaded now.

        """
        if version:
            return self._select_pinned(version, deadline)
        if isinstance(self._channel, Serving):
            self._check_channel(deadline)
        if isinstance(self._channel, Serving):
            return self._channel
        if _memory_holds_one():
            self._unpin()
        inherited = isinstance(self._channel, Loading)
        try:
            return self._finish(deadline)
        except Unavailable:
            # A download of an earlier invocation reports what was wrong then: ask again. One that has
            # not ended goes on.
            if not inherited or isinstance(self._channel, Loading):
                raise
        return self._finish(deadline)

    def _select_pinned(self, version: str, deadline: Deadline) -> Serving:
        """Return a version of the model; it is nearly always the channel's."""
        if self._pinned is None and not isinstance(self._channel, Serving):
            with suppress(Unavailable):
                self._finish(deadline)
        if isinstance(self._channel, Serving) and self._channel.version == version:
            return self._channel
        if self._pinned is None or self._pinned.version != version:
            self._pinned = self._pin(version, deadline)
        return self._pinned

    def _pin(self, version: str, deadline: Deadline) -> Serving:
        store = ModelStore.from_environment()
        try:
            manifest = BackgroundTask(lambda _: store.read_manifest(version)).result(deadline.remaining() / 2)
        except MissingVersion as missing:
            raise BadRequest(
                f"model_version takes a version of the model {store.name} that is in the bucket; {missing}",
                field="model_version",
            ) from None
        if _memory_holds_one() and isinstance(self._channel, Serving):
            self._channel = Empty(self._channel.manifest)
        self._unpin()
        return self._read(store, manifest, None, deadline.remaining)

    def _unpin(self) -> None:
        """Make room: drop the pinned model."""
        self._pinned = None
        _release_memory()

    def _invalidate(self) -> None:
        """Have the channel checked before the next answer: a snapshot may be older than its last move."""
        _storage.disconnect()
        self._checked_at = 0.0

    def _start(self) -> Loading:
        """Start reading a model, and construct its predictor meanwhile."""
        loading = self._start_reading()
        if loading.predictor is None:
            loading = self._channel = replace(loading, predictor=self._predictor_type())
        return loading

    def _start_reading(self) -> Loading:
        """Start reading the channel's model, unless it is on its way."""
        if not isinstance(self._channel, Loading):
            assert isinstance(self._channel, Empty)  # noqa: S101 - nobody loads what serves
            store, previous = ModelStore.from_environment(), self._channel.previous

            def read(stop: Event) -> tuple[Model, str | None]:
                if previous:
                    with suppress(Unavailable):
                        return store.read(previous, stop), None
                return store.load(stop)

            self._channel = Loading(BackgroundTask(read), previous)
        return self._channel

    def _finish(self, deadline: Deadline | None = None) -> Serving:
        """Load the model that is on its way; if there is too little time, a later request goes on."""
        loading = self._start()
        if deadline and not loading.task.wait(deadline.remaining()):
            raise slow_storage()
        self._channel = Empty(loading.previous)
        model, etag = loading.task.result(0)
        assert loading.predictor is not None  # noqa: S101 - start() has constructed it
        self._channel = _load(loading.predictor, model, etag, loading.task.seconds)
        self._checked_at = time.time()
        if _layer_marker.nested:
            from lambda_inference import _unpack

            if unpacked := _unpack.result():
                _telemetry.record_duration("LayerUnpack", unpacked.seconds * 1000)
        return self._channel

    def _check_channel(self, deadline: Deadline) -> None:
        """Check whether the channel has moved, if a check is due, and swap; on a failure nothing changes."""
        assert isinstance(self._channel, Serving)  # noqa: S101 - only a loaded model is checked
        refresh = Settings.read().model_refresh_seconds
        # Wall-clock time: monotonic() may stop while the process is frozen.
        if abs(time.time() - self._checked_at) < refresh:
            return
        self._checked_at = time.time()
        version, etag = self._channel.manifest.version, self._channel.etag
        store = ModelStore.from_environment()
        try:
            pointer = BackgroundTask(lambda _: store.read_pointer(etag)).result(
                min(_CHECK_SECONDS, deadline.remaining() / 4)
            )
        except Unavailable as fault:
            _telemetry.count("ModelUnchecked")
            _telemetry.warn("the channel could not be read", reason=fault.message, version=version)
            return
        if pointer is None:
            return
        if pointer.version == version:
            self._channel = replace(self._channel, etag=pointer.etag)
            return
        if self._refuses(pointer.version, _REFUSED_CHECKS * refresh):
            return
        self._refusal = None
        try:
            if not self._swap(store, pointer, deadline):
                return
        except Exception as error:  # noqa: BLE001 - whatever it is, the old model serves
            reason = error.message if isinstance(error, Fault) else type(error).__name__
            self._refusal = Refusal(pointer.version, time.time())
            _telemetry.count("ModelRefused")
            _telemetry.warn("the model is refused", reason=reason, refused=pointer.version, version=version)
        _release_memory()

    def _refuses(self, version: str, seconds: float) -> bool:
        """Return whether a version was refused less than so many seconds ago; the clock may be set back."""
        refusal = self._refusal
        return bool(refusal and refusal.version == version and abs(time.time() - refusal.at) < seconds)

    def _swap(self, store: ModelStore, pointer: Pointer, deadline: Deadline) -> bool:
        """Load the version that the channel points to and let it serve, if there is time."""
        assert isinstance(self._channel, Serving)  # noqa: S101 - only a loaded model is checked
        old, seconds = self._channel.manifest, self._channel.seconds
        manifest = BackgroundTask(lambda _: store.read_manifest(pointer.version)).result(
            deadline.remaining() / 4
        )
        needed = _MARGIN * seconds * max(1.0, manifest.size / max(old.size, 1))
        # S3 may have been slow when the last model was read.
        needed = min(needed, _MAX_SHARE * deadline.seconds)
        if deadline.remaining() < needed:
            _telemetry.count("ModelPostponed")
            _telemetry.log(
                "the model moved, and there is no time to load it",
                needed_seconds=round(needed, 1),
                moved_to=pointer.version,
                version=old.version,
            )
            return False
        if self._pinned and self._pinned.version == pointer.version:
            self._channel, self._pinned = replace(self._pinned, etag=pointer.etag), None
            return True
        self._unpin()
        if _memory_holds_one():
            self._channel = Empty(old)
            _release_memory()
        self._channel = self._read(store, manifest, pointer.etag, lambda: deadline.remaining() / 2)
        return True

    def _read(
        self, store: ModelStore, manifest: Manifest, etag: str | None, seconds: Callable[[], float]
    ) -> Serving:
        """Read a version while a predictor is constructed for it, in as many seconds as are left then."""
        task = BackgroundTask(lambda stop: store.read(manifest, stop))
        predictor = self._predictor_type()
        model = task.result(seconds())
        return _load(predictor, model, etag, task.seconds)


def _load(predictor: Predictor, model: Model, etag: str | None, seconds: float) -> Serving:
    """Have a predictor load its model, which took so many seconds to read.

    Raises:
        Unavailable: the predictor cannot load it.

    """
    start = time.perf_counter()
    try:
        predictor.load(model)
    except Fault as fault:
        _telemetry.warn("the model cannot be loaded", reason=fault.message, version=model.version)
        raise
    except Exception as error:
        # No request is read meanwhile, so that no message can quote one.
        _telemetry.log_failure(error, reason=str(error), version=model.version)
        raise Unavailable(
            f"version {model.version} of model {model.manifest.name} cannot be loaded "
            f"({type(error).__name__}); the log says why. Publish another one, or roll back"
        ) from error
    seconds += time.perf_counter() - start
    _telemetry.record_duration("ModelLoad", seconds * 1000)
    _telemetry.log(
        "model loaded",
        model=model.manifest.name,
        version=model.version,
        milliseconds=round(seconds * 1000),
    )
    return Serving(predictor, model.manifest, model.version, etag, seconds)


def _memory_holds_one() -> bool:
    """Return whether the function's memory holds one model only."""
    return Settings.read().model_swap == "instead"


def _release_memory() -> None:
    """Free an old model: reference cycles, and memory that the allocator would keep."""
    gc.collect()
    with suppress(AttributeError):  # only glibc, which Lambda has, provides it
        import ctypes

        ctypes.CDLL(None).malloc_trim(0)
