"""Objects that a request names: from one prefix, of bounded size, and clear when they cannot be had."""

import pytest
from obstore import put
from obstore.store import MemoryStore

from lambda_inference import BadRequest, Unavailable, _storage, inputs
from lambda_inference._errors import AccessDenied


@pytest.fixture
def store(monkeypatch):
    """Return a bucket in memory, in the place of S3."""
    memory = MemoryStore()
    monkeypatch.setenv("RESULT_BUCKET", "results-of-inputs")
    monkeypatch.setattr(_storage.Bucket, "_connect", lambda _: memory)
    return memory


def test_reads_what_lies_below_the_prefix(store):
    """The object's bytes come back, as many as are allowed."""
    put(store, "inputs/a/b.png", b"12345")
    assert bytes(inputs.read("inputs/a/b.png", "data[0].key", most=5)) == b"12345"


@pytest.mark.parametrize(
    "key",
    [
        "prediction_outputs/x/predictions.jsonl.gz",
        "inputs",
        "/inputs/a",
        "inputs/../models/a",
        "",
        "inputs//a",
        "inputs/./a",
        "inputs/a\n",
        "inputs/\0",
        "inputs/\ud800",
    ],
)
def test_reads_nothing_else(store, key):
    """A key that lies elsewhere is the caller's mistake, told with the field."""
    put(store, "inputs/a", b"1")
    with pytest.raises(BadRequest, match="below inputs/") as caught:
        inputs.read(key, "data[0].key", most=5)
    assert caught.value.field == "data[0].key"


def test_what_is_too_large_is_not_read(store):
    """The size is asked for first."""
    put(store, "inputs/large", b"123456")
    with pytest.raises(BadRequest, match="6 bytes, and 5 are taken"):
        inputs.read("inputs/large", "data[0].key", most=5)


@pytest.mark.usefixtures("store")
def test_what_is_not_there_is_the_callers_mistake():
    """It says in which bucket it was looked for."""
    with pytest.raises(BadRequest, match="not in the bucket results-of-inputs; upload it first"):
        inputs.read("inputs/nothing", "data[0].key", most=5)


@pytest.mark.parametrize(
    ("fault", "expected"), [(AccessDenied("no"), BadRequest), (Unavailable("no"), Unavailable)]
)
def test_a_refusal_is_what_a_missing_object_looks_like(monkeypatch, fault, expected):
    """S3 denies access to a missing object to a role that may not list; other faults of S3 stay its own."""
    monkeypatch.setenv("RESULT_BUCKET", "results-of-inputs")

    def fails(*_):
        raise fault

    monkeypatch.setattr(_storage.Bucket, "read_size", fails)
    with pytest.raises(expected) as caught:
        inputs.read("inputs/a", "data[0].key", most=5)
    assert type(caught.value) is expected
    assert (", or that the function's role may not read; " in caught.value.message) == (
        expected is BadRequest
    )
