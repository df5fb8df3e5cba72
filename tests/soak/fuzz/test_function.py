"""What a function reads: events, requests, pointers, manifests, batches, archives."""

import io
import json
import os
from contextlib import suppress
from typing import Annotated, Any
from unittest import mock

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Meta
from support.events import cases

from lambda_inference import BadRequest, BaseRequest, Fault, _batches, _unpack
from lambda_inference._errors import Unavailable
from lambda_inference._events import parse_event
from lambda_inference._model_store import ModelStore
from lambda_inference._models import File, Manifest
from lambda_inference._predictor import Array, Prediction
from lambda_inference._requests import parse
from lambda_inference._results import encode_lines, encode_npz
from lambda_inference.results import decode_arrays, decode_result
from lambda_inference.tensors import load_checkpoint, load_safetensors
from soak.fuzz.documents import JSON, draw_damage, draw_mutation

TRIED = int(os.environ.get("FUZZ_EXAMPLES") or 5000)
TRIES = settings(max_examples=TRIED, deadline=None, database=None)
EVENTS = [one.event for one in cases()]


class Request(BaseRequest):
    """A request with a field of each kind."""

    data: Annotated[list[str], Meta(min_length=1, description="strings")]
    top: Annotated[int, Meta(ge=1, description="a number")] = 1
    form: Annotated[dict[str, float] | None, Meta(description="numbers by name")] = None


@TRIES
@given(event=draw_mutation(EVENTS) | JSON)
def test_events(event: Any) -> None:
    """Each is a number of calls whose requests are read, or refused in the answer's form."""
    calls, _ = parse_event(event)
    assert calls
    for call in calls:
        try:
            payload = call.payload()
            if not call.manifest:
                parse(payload, Request)
        except Fault as fault:
            answer = call.answer(fault.status, fault.body())
            if not 400 <= json.loads(json.dumps(answer))["statusCode"] < 500:
                raise


BUCKET = mock.Mock()
BUCKET.name = "models"
STORE = ModelStore(BUCKET, "m", "dev")
MANIFEST = Manifest(
    name="m", engine="e", precision="p", libraries={"six": "1"}, files=[File("f", 5, 4, ["0" * 64, "1" * 64])]
)


@TRIES
@given(
    data=draw_mutation([msgspec.to_builtins(MANIFEST)]).map(json.dumps).map(str.encode)
    | st.binary(max_size=50)
)
def test_manifests(data: bytes) -> None:
    """One is what its version says, or unavailable."""
    BUCKET.read = lambda _: memoryview(data)
    try:
        version = msgspec.json.decode(data, type=Manifest).version
    except ValueError:
        version = "0" * 64
    try:
        found = STORE.read_manifest(version)
    except Unavailable:
        return
    assert found.version == version
    assert all(len(file.parts) == -(-file.size // file.part_size) for file in found.files)


@TRIES
@given(data=draw_mutation([{"version": "0" * 64}]).map(json.dumps).map(str.encode) | st.binary(max_size=50))
def test_pointers(data: bytes) -> None:
    """One names a version, or is unavailable."""
    BUCKET.read_if_changed = lambda *_: (memoryview(data), None)
    try:
        pointer = STORE.read_pointer()
    except Unavailable:
        return
    assert len(pointer.version) == 64


INDEX = [{"id": "a-0-2", "lines": 1, "source": {"key": "inputs/a", "start": 0, "end": 2, "sha256": "0" * 64}}]
BATCH = {"run": "r", "index": "inputs/batches/a/index.json", "request": {"model_version": "1"}, "corpus": {}}
CAUSE = json.dumps({"errorMessage": json.dumps({"body": {"error": {"message": "no"}}})})


class Objects(dict[str, bytes]):
    """A bucket in memory."""

    name = "results"

    def find(self, key: str) -> Any:
        return memoryview(self[key]) if key in self else None

    def find_metadata(self, _: str) -> None:
        return None

    def replace(self, key: str, data: bytes, _: str) -> None:
        self[key] = data


@TRIES
@given(
    batch=draw_mutation([BATCH]) | st.just(BATCH),
    index=draw_mutation([INDEX]) | st.just(INDEX),
    error=draw_mutation([{"Error": "E", "Cause": CAUSE}, json.dumps({"Error": "E", "Cause": CAUSE})]),
)
def test_batches(batch: Any, index: Any, error: Any) -> None:
    """A manifest is written in which each range has an error as text, or the batch is refused."""
    bucket = Objects({"prediction_outputs/a-0-2/error.json": json.dumps(error).encode()})
    with (
        mock.patch.object(_batches.ResultStore, "from_environment", return_value=mock.Mock(bucket=bucket)),
        mock.patch.object(_batches.inputs, "read", return_value=memoryview(json.dumps(index).encode())),
    ):
        try:
            body = _batches.write_manifest(batch)
        except BadRequest:
            return
    _, *entries = bucket[body["s3_key"]].splitlines()
    for entry in map(json.loads, entries):
        assert {type(value) for value in entry["error"].values()} == {str}


PREDICTIONS = [
    Prediction({"index": 0}, {"v": [Array(b"\0" * 8, "f", (2,), ("hypotheses", 0))]}),
    Prediction({"index": 1}, {"v": []}),
]
NPZ = encode_npz("v", PREDICTIONS)
LINES = encode_lines(PREDICTIONS)


@TRIES
@given(data=draw_damage([NPZ]))
def test_arrays(data: bytes) -> None:
    """They are as many bytes as their index says, or a ValueError says that they are damaged."""
    try:
        found = decode_arrays(data)
    except ValueError:
        return
    assert all(isinstance(array.data, bytes) for group in found.values() for array in group)


@TRIES
@given(data=draw_damage([LINES]))
def test_results(data: bytes) -> None:
    """A result is read, with its arrays or without, or a ValueError says that it is damaged."""
    for files in ({"v": NPZ}, {}):
        with suppress(ValueError):
            decode_result(data, files)


ARCHIVE = {
    "version": 1,
    "bytes": 3,
    "frames": [[0, 10, 1024, "0" * 64], [10, 5, 1024, "1" * 64]],
    "files": [["a/b.py", 2, 512], ["c", 1, 1536, 1]],
}


@TRIES
@given(index=draw_mutation([ARCHIVE]))
def test_archives(index: Any) -> None:
    """An index is wrong, or all its files lie inside of the folder and of the stream."""
    index = json.loads(json.dumps(index))
    try:
        found = _unpack._parse_index(index, 15)
    except (ValueError, TypeError, KeyError):
        return
    for file in found.files:
        assert not {"", ".", ".."} & set(file.path.split("/"))
        assert file.size >= 0


HEADER = json.dumps({"a": {"dtype": "F32", "shape": [2, 1], "data_offsets": [0, 8]}, "__metadata__": {}})
SAFETENSORS = len(HEADER).to_bytes(8, "little") + HEADER.encode() + b"\0" * 8


@TRIES
@given(data=draw_damage([SAFETENSORS]))
def test_safetensors(data: bytes) -> None:
    """Its tensors lie inside of it, or the model is unavailable."""
    try:
        tensors = load_safetensors(memoryview(data))
    except Unavailable:
        return
    assert all(tensor.untyped_storage().nbytes() <= len(data) for tensor in tensors.values())


def save_checkpoint() -> bytes:
    """Return a small file of ``torch.save``."""
    import torch

    file = io.BytesIO()
    torch.save({"a": torch.ones(2, 3), "b": [1, "c"]}, file)
    return file.getvalue()


@TRIES
@given(data=draw_damage([save_checkpoint()]))
def test_checkpoints(data: bytes) -> None:
    """It is weights, and options, or the model is unavailable."""
    with suppress(Unavailable):
        load_checkpoint(memoryview(data))
