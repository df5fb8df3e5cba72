"""How a model's files are read: parts, attempts, and what ends them; the bucket is a dictionary."""

import hashlib
import json
import threading

import msgspec
import pytest

from lambda_inference import _compatibility
from lambda_inference._errors import AccessDenied, MissingVersion, Refused, Unavailable
from lambda_inference._model_store import ModelStore
from lambda_inference._models import File, Manifest
from lambda_inference._storage_errors import Missing

CONTENT = {"a": bytes(range(250)) * 3, "b": b"", "c": b"xyz"}
PART = 100
DAMAGED = b"not what was written"


class Bucket:
    """Objects by the last letter of their keys, and what goes wrong with reads of one part, in turn."""

    name = "bucket"

    def __init__(self, *faults: Exception | bytes) -> None:
        self.faults = list(faults)
        self.reads = 0

    def read_into(self, key: str, buffer: memoryview, start: int) -> None:
        buffer[:] = CONTENT[key[-1]][start : start + len(buffer)]
        if (key[-1], start) == ("a", PART):
            self.reads += 1
            fault = self.faults.pop(0) if self.faults else b""
            if isinstance(fault, Exception):
                raise fault
            buffer[: len(fault)] = fault

    def read_if_changed(self, *_: object) -> tuple[memoryview, str]:
        fault = self.faults.pop()
        if isinstance(fault, Exception):
            raise fault
        return memoryview(fault), "etag"

    def read(self, _: str) -> memoryview:
        if self.faults:
            raise self.faults.pop()
        return memoryview(msgspec.json.encode(list_files()))


def list_files() -> Manifest:
    """Return the model's manifest."""
    parts = {
        name: [data[start : start + PART] for start in range(0, len(data), PART)]
        for name, data in CONTENT.items()
    }
    files = [
        File(name, len(CONTENT[name]), PART, [hashlib.sha256(part).hexdigest() for part in parts[name]])
        for name in CONTENT
    ]
    return Manifest(name="m", engine="e", precision="p", libraries={}, files=files)


def read(bucket: Bucket, stop: threading.Event | None = None) -> dict[str, bytes]:
    """Read the model, and return its files."""
    manifest = list_files()
    model = ModelStore(bucket, "m", "dev").read(manifest, stop)
    assert (model.manifest, model.version) == (manifest, manifest.version)
    return {name: bytes(view) for name, view in model.files.items()}


@pytest.mark.parametrize("faults", [[], [DAMAGED], [Unavailable("slow"), DAMAGED]])
def test_a_part_has_three_attempts(faults):
    """Whether it does not come, or comes damaged."""
    bucket = Bucket(*faults)
    assert read(bucket) == CONTENT
    assert bucket.reads == len(faults) + 1


@pytest.mark.parametrize(
    ("faults", "reads", "message"),
    [
        ([DAMAGED] * 4, 3, r"s3://bucket/models/m/versions/\w+/a is damaged in the part at byte 100"),
        ([DAMAGED, DAMAGED, Unavailable("slow"), DAMAGED], 3, "slow"),
        ([AccessDenied("denied")], 1, "denied"),
        ([DAMAGED, Refused("refused")], 2, "refused"),
        ([Missing("key a")], 1, "of model m is incomplete: no key a"),
    ],
)
def test_what_does_not_come_is_a_fault(faults, reads, message):
    """One that another attempt cannot mend is told at once."""
    bucket = Bucket(*faults)
    with pytest.raises(Unavailable, match=message):
        read(bucket)
    assert bucket.reads == reads


@pytest.mark.parametrize("fault", [Missing("no key"), AccessDenied("denied")])
@pytest.mark.parametrize(
    ("variables", "command"),
    [
        ({}, "publish models/NAME --stack STACK"),
        ({"MODEL_NAME": "m", "STACK_NAME": "s", "AWS_REGION": "r"}, "publish models/m --stack s --region r"),
        ({"MODEL_NAME": "m", "MODEL_CHANNEL": "prod"}, "promote m --stack STACK"),
    ],
)
def test_a_channel_without_a_model_names_the_command(monkeypatch, fault, variables, command):
    """To a role that may not list a bucket, what is missing is denied."""
    for name in ("MODEL_NAME", "MODEL_CHANNEL", "STACK_NAME", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(Unavailable) as caught:
        ModelStore(Bucket(fault), "m", "dev").read_pointer()
    assert caught.value.message.endswith(f": python -m lambda_setup model {command}")


def point_to(version: str) -> bytes:
    """Return a channel's content."""
    return json.dumps({"version": version}).encode()


def test_a_channel_leads_to_its_version(monkeypatch):
    """The model is the one that the pointer names, and the pointer's ETag comes with it."""
    monkeypatch.setattr(_compatibility, "check", lambda _: None)
    model, etag = ModelStore(Bucket(point_to(list_files().version)), "m", "dev").load()
    assert (model.version, etag) == (list_files().version, "etag")
    assert {name: bytes(view) for name, view in model.files.items()} == CONTENT


@pytest.mark.parametrize("version", ["", "a" * 63, "a" * 65, "A" * 64, "g" * 64])
def test_a_channel_that_names_no_version_is_damaged(version):
    """Its content never becomes a part of a key."""
    with pytest.raises(Unavailable, match=r"channels/dev\.json is damaged: it does not name a version"):
        ModelStore(Bucket(point_to(version)), "m", "dev").read_pointer()


@pytest.mark.parametrize("name", ["", "a/b", "/a", "manifest.json"])
def test_a_file_lies_beside_its_manifest(name):
    """Its name leads nowhere else, and is not the manifest's."""
    with pytest.raises(ValueError, match="file"):
        File(name, 1, 1, ["0"])


def test_no_two_files_have_one_name():
    """One would be read over the other."""
    files = [File("a", 1, 1, ["0"]), File("a", 2, 2, ["1"])]
    with pytest.raises(ValueError, match="two files have the same name"):
        Manifest(name="m", engine="e", precision="p", libraries={}, files=files)


def test_a_version_without_a_manifest_is_missing():
    """A request that names it is at fault, and hears which object there would have to be."""
    with pytest.raises(MissingVersion, match="version 1 of model m is incomplete: no models/m/versions/1/m"):
        ModelStore(Bucket(Missing("no key")), "m", "dev").read_manifest("1")


def test_a_reading_that_is_stopped_has_no_more_attempts():
    """And what it has so far does not become a model."""
    stop = threading.Event()
    stop.set()
    bucket = Bucket(DAMAGED)
    with pytest.raises(Unavailable, match="in the time there was"):
        read(bucket, stop)
    assert bucket.reads == 0
