"""When a function looks at its channel, and when it takes up what it finds; the store is made up."""

import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest

from lambda_inference import _layer_marker, _serving, _telemetry, _unpack
from lambda_inference._background import BackgroundTask
from lambda_inference._deadline import Deadline
from lambda_inference._errors import BadRequest, MissingVersion, Unavailable
from lambda_inference._model_store import Pointer
from lambda_inference._models import File, Manifest, Model
from lambda_inference._serving import ModelManager


def long() -> Deadline:
    """Return a deadline that is far away, from now."""
    return Deadline.after(120)


class Store:
    """A channel, and versions whose reading may take its time or fail."""

    def __init__(self) -> None:
        self.version, self.size = "1", 1
        self.looks = 0
        self.reads: list[str] = []
        self.fault: Exception | None = None
        self.name = "m"
        self.unread: Exception | None = None
        self.hold = threading.Event()
        self.hold.set()

    def read_pointer(self, etag: str | None = None) -> Pointer | None:
        self.looks += 1
        if self.unread:
            raise self.unread
        return None if etag == self.version else Pointer(self.version, self.version)

    def read_manifest(self, version: str) -> Manifest:
        files = [File("f", self.size, self.size, ["0"])]
        return Manifest(name=version, engine="e", precision="p", libraries={}, files=files)

    def read(self, manifest: Manifest, _: threading.Event | None = None) -> Model:
        self.reads.append(manifest.name)
        self.hold.wait()
        if self.fault and manifest.name != "1":
            raise self.fault
        return Model(manifest, manifest.name, {})

    def load(self, _: threading.Event | None = None) -> tuple[Model, str | None]:
        pointer = self.read_pointer()
        return self.read(self.read_manifest(pointer.version)), pointer.etag


class Predictor:
    """A predictor that remembers what it loaded, and may refuse it."""

    refused: str | None = None
    made = 0

    def __init__(self) -> None:
        Predictor.made += 1

    def load(self, model: Model) -> None:
        if model.version == Predictor.refused:
            raise KeyError("something in the model")
        self.version = model.version


@pytest.fixture
def store(monkeypatch):
    """Return the made-up store in the place of S3."""
    made = Store()
    monkeypatch.setattr(_serving.ModelStore, "from_environment", classmethod(lambda _: made))
    monkeypatch.setattr(Predictor, "refused", None)
    return made


@pytest.fixture
def counted(monkeypatch):
    """Return the metrics that were counted."""
    names: list[str] = []
    monkeypatch.setattr(_telemetry, "count", names.append)
    return names


@pytest.fixture
def clock(monkeypatch):
    """Return the clock on the wall, which a test may set."""
    hands = [1_000_000.0]
    monkeypatch.setattr(time, "time", lambda: hands[0])
    return hands


def served(models: ModelManager, deadline: Deadline | None = None) -> str:
    """Return the version that serves, by its predictor and by its name."""
    now = models.select(deadline or long())
    assert now.predictor.version == now.version
    return now.version


def test_channel_is_looked_at_after_a_while(store, clock, monkeypatch):
    """Not before MODEL_REFRESH_SECONDS have passed; then once, and what it points to now serves."""
    monkeypatch.setenv("MODEL_REFRESH_SECONDS", "30")
    models = ModelManager(Predictor)
    assert served(models) == "1"
    store.version = "2"
    clock[0] += 29
    assert (served(models), store.looks) == ("1", 1)
    clock[0] += 1
    assert (served(models), store.looks) == ("2", 2)
    assert (served(models), store.looks) == ("2", 2)


def test_a_clock_that_was_set_back_is_no_excuse(store, clock):
    """The channel is looked at all the same."""
    models = ModelManager(Predictor)
    served(models)
    store.version = "2"
    clock[0] -= 3600
    assert served(models) == "2"


def test_a_channel_that_cannot_be_read_changes_nothing(store, counted, clock, monkeypatch):
    """The old model serves, and the metric says that nobody knows whether it is still right."""
    models = ModelManager(Predictor)
    served(models)
    store.version, store.unread = "2", Unavailable("no")
    clock[0] += 60
    told = []
    monkeypatch.setattr(_telemetry, "warn", lambda _, **fields: told.append(fields["reason"]))
    assert served(models) == "1"
    assert "ModelUnchecked" in counted
    assert told == ["no"]
    store.unread = None
    clock[0] += 60
    assert served(models) == "2"


@pytest.mark.parametrize("fault", [Unavailable("damaged"), KeyError("whatever"), MemoryError()])
def test_a_version_that_cannot_be_had_is_tried_again_later(store, counted, clock, fault):
    """Not with every look: reading it takes time from requests."""
    models = ModelManager(Predictor)
    served(models)
    store.version, store.fault = "2", fault
    for _ in range(9):
        clock[0] += 60
        assert served(models) == "1"
    assert (store.reads, counted.count("ModelRefused")) == (["1", "2"], 1)
    store.fault = None
    clock[0] += 120
    assert served(models) == "2"


def test_the_log_says_why_a_version_is_refused(store, clock, monkeypatch):
    """A fault by its message; of anything else only the type, because it may quote what it met."""
    told = []
    monkeypatch.setattr(
        _telemetry, "warn", lambda _, reason, refused, **_fields: told.append((refused, reason))
    )
    models = ModelManager(Predictor)
    served(models)
    for version, fault in (("2", Unavailable("damaged")), ("3", KeyError("whatever"))):
        store.version, store.fault = version, fault
        clock[0] += 60
        served(models)
    assert told == [("2", "damaged"), ("3", "KeyError")]


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(("unpacked", "took"), [(SimpleNamespace(seconds=1.5), [1500]), (None, [])])
def test_a_nested_layers_unpacking_is_measured(monkeypatch, unpacked, took):
    """If this process did it; another one may have been first."""
    found = []
    record = lambda name, value: found.append(value) if name == "LayerUnpack" else None  # noqa: E731
    monkeypatch.setattr(_telemetry, "record_duration", record)
    monkeypatch.setattr(_layer_marker, "nested", True)
    monkeypatch.setattr(_unpack, "result", lambda: unpacked)
    served(ModelManager(Predictor))
    assert found == took


@pytest.mark.usefixtures("store")
def test_a_load_is_measured(monkeypatch):
    """Reading and loading together, in the metric and in the log."""
    told = []
    monkeypatch.setattr(_telemetry, "record_duration", lambda name, value: told.append((name, value)))
    monkeypatch.setattr(_telemetry, "log", lambda text, **fields: told.append((text, fields)))
    monkeypatch.setattr(time, "perf_counter", iter(range(0, 1000, 3)).__next__)
    now = ModelManager(Predictor).select(long())
    fields = {"model": "1", "version": "1", "milliseconds": round(now.seconds * 1000)}
    assert now.seconds >= 6
    assert told == [("ModelLoad", now.seconds * 1000), ("model loaded", fields)]


def test_an_old_model_is_freed(store, clock, monkeypatch):
    """Before the new one is read, whatever a request had pinned, and once nothing refers to the old one."""
    freed, models = [], ModelManager(Predictor)
    served(models)
    monkeypatch.setattr(_serving, "_release_memory", lambda: freed.append(models._channel.version))
    for store.version, Predictor.refused, expected in (("2", None, ["1", "2"]), ("3", "3", ["2", "2"])):
        freed.clear()
        clock[0] += 60
        served(models)
        assert freed == expected


def test_an_old_model_is_freed_before_its_successor_is_read(store, clock, monkeypatch):
    """Where memory holds one, what was pinned goes first, and then the channel's."""
    monkeypatch.setenv("MODEL_SWAP", "instead")
    steps, models, read = [], ModelManager(Predictor), store.read
    served(models)
    monkeypatch.setattr(_serving, "_release_memory", lambda: steps.append(type(models._channel).__name__))
    monkeypatch.setattr(store, "read", lambda *given: steps.append("read") or read(*given))
    store.version = "2"
    clock[0] += 60
    assert served(models) == "2"
    assert steps == ["Serving", "Empty", "read", "Serving"]


def test_another_version_is_tried_at_once(store, clock):
    """One that was refused does not hold up the next."""
    models = ModelManager(Predictor)
    served(models)
    store.version, Predictor.refused = "2", "2"
    clock[0] += 60
    assert served(models) == "1"
    store.version = "3"
    clock[0] += 60
    assert served(models) == "3"


def test_a_channel_that_moved_back_serves_what_it_has(store, clock):
    """A version that was refused and is not asked for any more is not read again."""
    models = ModelManager(Predictor)
    served(models)
    store.version, store.fault = "2", Unavailable("damaged")
    clock[0] += 60
    served(models)
    store.version = "1"
    clock[0] += 6000
    assert served(models) == "1"
    assert store.reads == ["1", "2"]


@pytest.mark.parametrize("jump", [-86_400, 86_400])
def test_a_refused_version_is_tried_again_whichever_way_the_clock_jumps(store, clock, jump):
    """A clock that is set back does not keep it refused until it has caught up."""
    models = ModelManager(Predictor)
    served(models)
    store.version, Predictor.refused = "2", "2"
    clock[0] += 60
    assert served(models) == "1"
    Predictor.refused = None
    clock[0] += jump
    assert served(models) == "2"


def test_a_predictor_is_not_used_twice(store, clock):
    """What has failed to load a model may be half of it; the next try has a new one."""
    models = ModelManager(Predictor)
    served(models)
    store.version, Predictor.refused = "2", "2"
    clock[0] += 60
    served(models)
    Predictor.refused = None
    clock[0] += 600
    made = Predictor.made
    assert served(models) == "2"
    assert Predictor.made == made + 1


def test_too_little_time_is_no_time(store, counted, clock, monkeypatch):
    """A request that has less than twice what the last load took keeps its time; one with more loads it."""
    monkeypatch.setattr(time, "perf_counter", iter(range(0, 1000, 3)).__next__)
    models = ModelManager(Predictor)
    now = models.select(long())
    assert now.seconds >= 6
    store.version = "2"
    clock[0] += 60
    assert served(models, Deadline(time.monotonic() + 5, 20)) == "1"
    assert "ModelPostponed" in counted
    clock[0] += 60
    assert served(models, Deadline.after(60)) == "2"


def test_a_slow_load_does_not_keep_larger_models_out(store, clock, monkeypatch):
    """One that took most of a request's time, as with a slow S3, postpones no larger model for ever."""
    monkeypatch.setattr(time, "perf_counter", iter(range(0, 1000, 30)).__next__)
    models = ModelManager(Predictor)
    assert models.select(long()).seconds >= 30
    store.version, store.size = "2", 1000
    clock[0] += 60
    assert served(models, Deadline(time.monotonic() + 15, 20)) == "1"
    clock[0] += 60
    assert served(models, Deadline(time.monotonic() + 19, 20)) == "2"


def test_a_load_that_takes_too_long_is_given_up(store, counted, clock, monkeypatch):
    """Half of what is left of the request's time is the request's."""
    waits = []

    class Recording(BackgroundTask):
        def result(self, seconds):
            waits.append(seconds)  # for the pointer, the manifest, and the files, which do not come
            return super().result(0 if len(waits) == 3 else seconds)

    models = ModelManager(Predictor)
    served(models)
    monkeypatch.setattr(_serving, "BackgroundTask", Recording)
    store.version = "2"
    store.hold.clear()
    clock[0] += 60
    assert served(models, Deadline.after(400)) == "1"
    # Of the time, ten seconds are kept for the answer.
    assert waits == [2, pytest.approx(390 / 4, abs=1), pytest.approx(390 / 2, abs=1)]
    assert "ModelRefused" in counted
    store.hold.set()


def test_instead_of_the_old_one(store, clock, monkeypatch):
    """Where both do not fit, the old model goes first, and comes back if the new one does not come."""
    monkeypatch.setenv("MODEL_SWAP", "instead")
    models = ModelManager(Predictor)
    served(models)
    store.version, Predictor.refused = "2", "2"
    clock[0] += 60
    assert served(models) == "1"
    assert store.reads == ["1", "2", "1"]
    Predictor.refused = None
    clock[0] += 600
    assert served(models) == "2"
    assert store.reads == ["1", "2", "1", "2"]


def test_first_model_that_is_not_ready_goes_on(store, monkeypatch):
    """What initialisation has no time for comes to the first request that waits long enough, read once."""
    monkeypatch.setattr(_serving, "_INIT_SECONDS", 0.05)
    store.hold.clear()
    models = ModelManager(Predictor)
    models.initialise()
    with pytest.raises(Unavailable, match="in the time there was"):
        models.select(Deadline.after(1.1))
    store.hold.set()
    assert served(models) == "1"
    assert store.reads == ["1"]


class Ageing:
    """A process that grows old while its predictor is constructed and loaded, by so many seconds each."""

    def __init__(self, start: float, construct: float, load: float) -> None:
        self.age = start
        ageing = self

        class Slow(Predictor):
            def __init__(self) -> None:
                ageing.age += construct
                steps.append("construct")

            def load(self, model: Model) -> None:
                ageing.age += load
                steps.append("load")
                super().load(model)

        steps: list[str] = []
        self.steps, self.models = steps, ModelManager(Slow)

    def initialise(self) -> float:
        """Initialise, and return the age of the process afterwards."""
        self.models.initialise(lambda: self.age)
        return self.age


@pytest.mark.parametrize(
    ("start", "construct", "load", "done", "age"),
    [
        (0.5, 2, 1, ["construct", "load"], 3.5),  # all of it
        (0.5, 4.4, 5, ["construct", "load"], 9.9),  # the longest that ends in time
        (0.5, 6, 3, ["construct"], 6.5),  # the model is there, and would end too late
        (5.2, 6, 3, [], 5.2),  # what was unpacked before took long
    ],
)
def test_an_initialisation_ends_in_time(store, start, construct, load, done, age):
    """After five seconds no step is begun, because Lambda ends it at ten; the first request goes on."""
    process = Ageing(start, construct, load)
    assert process.initialise() == age < 10
    assert process.steps == done
    assert served(process.models) == "1"
    assert process.steps == ["construct", "load"]
    assert store.reads == ["1"]


def test_a_snapshot_waits_for_its_model(store, monkeypatch):
    """Before a snapshot is taken there is more than a minute."""
    monkeypatch.setenv("AWS_LAMBDA_INITIALIZATION_TYPE", "provisioned-concurrency")
    process = Ageing(6, 20, 20)
    assert process.initialise() == 46
    assert process.steps == ["construct", "load"]
    assert store.reads == ["1"]


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize(
    ("kind", "looks"), [("snap-start", 2), ("on-demand", 1), ("provisioned-concurrency", 1)]
)
def test_a_restored_snapshot_looks_at_its_channel(store, monkeypatch, kind, looks):
    """It may be older than the channel's last move; what was no snapshot is never restored."""
    restored = []
    hooks = SimpleNamespace(register_after_restore=restored.append)
    monkeypatch.setitem(sys.modules, "snapshot_restore_py", hooks)
    monkeypatch.setenv("AWS_LAMBDA_INITIALIZATION_TYPE", kind)
    models = ModelManager(Predictor)
    models.initialise(lambda: 0)
    for hook in restored:
        hook()
    assert served(models) == "1"
    assert store.looks == looks


def test_the_age_of_a_process():
    """It is counted from the process's own start, by a clock that nobody sets."""
    start = time.monotonic()
    code = "import time; time.sleep(0.3); from lambda_inference import _deadline as d; print(d.process_age())"
    age = float(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
    assert 0.29 <= age <= time.monotonic() - start + 0.02


def test_a_first_model_that_cannot_be_had_is_asked_for_again(store):
    """Every request tries, until there is one."""
    models = ModelManager(Predictor)
    store.unread = Unavailable("there is no model yet")
    for _ in range(2):
        with pytest.raises(Unavailable, match="no model yet"):
            models.select(long())
    store.unread = None
    assert served(models) == "1"


def named(models: ModelManager, version: str) -> str:
    """Return the version that serves a request for one."""
    now = models.select(long(), version)
    assert now.predictor.version == now.version
    return now.version


def test_a_request_may_name_its_version(store):
    """It is read once and kept beside the channel's, which goes on serving all others."""
    models = ModelManager(Predictor)
    assert [served(models), named(models, "1"), named(models, "0"), named(models, "0"), served(models)] == [
        "1", "1", "0", "0", "1"
    ]  # fmt: skip
    assert store.reads == ["1", "0"]
    assert named(models, "00") == "00"
    assert named(models, "0") == "0"
    assert store.reads == ["1", "0", "00", "0"]


def test_a_named_versions_manifest_has_half_the_time(store, monkeypatch):
    """The other half is for its files, and for the answer."""
    waits = []

    class Recording(BackgroundTask):
        def result(self, seconds):
            waits.append(seconds)
            return super().result(seconds)

    models = ModelManager(Predictor)
    served(models)
    monkeypatch.setattr(_serving, "BackgroundTask", Recording)
    assert models.select(Deadline.after(400), "0").version == "0"
    assert waits[0] == pytest.approx(390 / 2, abs=1)
    assert store.reads == ["1", "0"]


def test_a_named_version_stays_when_the_channel_moves(store, clock, monkeypatch):
    """A run that began with one version ends with it, and nobody looks at the channel for it."""
    monkeypatch.setenv("MODEL_REFRESH_SECONDS", "0")
    models = ModelManager(Predictor)
    assert named(models, "1") == "1"
    looks, store.version = store.looks, "2"
    clock[0] += 3600
    assert named(models, "1") == "1"
    assert store.looks == looks
    assert [served(models), named(models, "1"), served(models)] == ["2", "1", "2"]


def test_a_named_version_that_the_channel_moves_to_is_not_read_again(store, clock):
    """It changes places."""
    models = ModelManager(Predictor)
    assert [served(models), named(models, "2")] == ["1", "2"]
    store.version = "2"
    clock[0] += 60
    assert served(models) == "2"
    assert store.reads == ["1", "2"]
    assert store.looks == 2
    clock[0] += 60
    assert served(models) == "2"


def test_a_named_version_needs_no_channel(store):
    """One that cannot be read keeps nobody from a version that can."""
    store.unread = Unavailable("no channel")
    models = ModelManager(Predictor)
    assert named(models, "0") == "0"
    with pytest.raises(Unavailable, match="no channel"):
        models.select(long())


def test_a_version_that_is_not_there_is_the_callers_mistake(store, monkeypatch):
    """It is told with the field; the channel's model serves on."""
    models = ModelManager(Predictor)

    def missing(_: str) -> Manifest:
        raise MissingVersion("no manifest.json")

    monkeypatch.setattr(store, "read_manifest", missing)
    store.load = lambda _: (Model(Store.read_manifest(store, "1"), "1", {}), "1")
    with pytest.raises(BadRequest, match=r"no manifest\.json") as caught:
        models.select(long(), "0")
    assert caught.value.field == "model_version"
    assert served(models) == "1"


def test_where_memory_holds_one_a_named_version_takes_its_place(store, monkeypatch):
    """Never are there two, and either comes back when it is asked for."""
    monkeypatch.setenv("MODEL_SWAP", "instead")
    models = ModelManager(Predictor)
    for version in ("1", "0", "1"):
        if version == "1":
            assert served(models) == "1"
        else:
            assert named(models, version) == version
        assert isinstance(models._channel, _serving.Serving) != isinstance(models._pinned, _serving.Serving)
    assert store.reads == ["1", "0", "1"]


@pytest.mark.usefixtures("store")
def test_a_failure_to_load_is_logged_with_its_message(monkeypatch):
    """No request is read meanwhile, so that it quotes nobody, and the operator sees what is wrong."""
    logged = []
    monkeypatch.setattr(_telemetry, "log_failure", lambda error, **fields: logged.append((error, fields)))
    monkeypatch.setattr(Predictor, "refused", "1")
    with pytest.raises(Unavailable, match="the log says why"):
        ModelManager(Predictor).select(long())
    [(error, fields)] = logged
    assert isinstance(error, KeyError)
    assert fields == {"reason": "'something in the model'", "version": "1"}
