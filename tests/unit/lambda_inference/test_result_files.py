"""Result files: readable by everyone, the same bytes every time."""

import gzip
import io
import json
import struct
import threading
from collections.abc import Mapping

import numpy as np
import pytest

from lambda_inference import _results
from lambda_inference._errors import Unavailable
from lambda_inference._predictor import Array, Prediction
from lambda_inference._results import Origin, ResultStore, encode_lines, encode_npz
from lambda_inference._storage import Bucket

ORIGIN = Origin("id", "0" * 64, "model", "1" * 64, "engine")


def predictions() -> list[Prediction]:
    """Two items with two arrays and one, and an item without."""
    floats = [struct.pack(f"<{count}f", *range(count)) for count in (6, 2, 4)]
    return [
        Prediction(
            {"index": 0, "hypotheses": [{}, {}]},
            {
                "attention": [
                    Array(floats[0], "f", (2, 3), ("hypotheses", 0)),
                    Array(floats[1], "f", (1, 2), ("hypotheses", 1)),
                ]
            },
        ),
        Prediction({"index": 1, "hypotheses": []}),
        Prediction(
            {"index": 2, "hypotheses": [{}, {}]},
            {
                "attention": [
                    Array(floats[2], "f", (2, 2), ("hypotheses", 0)),
                    Array(b"", "f", (0, 4), ("hypotheses", 1)),
                ]
            },
        ),
    ]


class Recorded(Bucket):
    """A bucket that remembers what was put, once ``ready`` says that it may be."""

    def __init__(self, refused: str = "none") -> None:
        super().__init__("results")
        self.refused = refused
        self.ready = threading.Event()
        self.keys: list[str] = []

    def create(self, key: str, data: bytes, content_type: str, metadata: Mapping[str, str]) -> bool:  # noqa: ARG002
        """Remember a key, unless it is refused."""
        assert self.ready.wait(60)
        if self.refused in key:
            raise Unavailable("refused")
        self.keys.append(key)
        return True


def test_npz_is_read_by_numpy():
    """Values and index are what numpy's own reader finds, without pickle."""
    file = np.load(io.BytesIO(encode_npz("attention", predictions())), allow_pickle=False)
    assert file["values"].dtype == np.float32
    assert file["values"].tolist() == [0, 1, 2, 3, 4, 5, 0, 1, 0, 1, 2, 3]
    assert file["index"].dtype == np.int32
    assert file["index"].tolist() == [[0, 0, 2, 3], [0, 1, 1, 2], [2, 0, 2, 2], [2, 1, 0, 4]]


@pytest.mark.parametrize("shape", [(1,), (7, 2), (10**9, 10**9), (1,) * 32])
@pytest.mark.parametrize("by_column", [False, True])
def test_a_header_is_numpys(shape, by_column):
    """It says what numpy's own reader wants, and numbers after it lie at a multiple of 64 bytes."""
    header = _results.encode_header("<f4", shape, by_column=by_column)
    file = io.BytesIO(header)
    assert np.lib.format.read_magic(file) == (1, 0)
    assert np.lib.format.read_array_header_1_0(file) == (shape, by_column, np.dtype("<f4"))
    assert file.tell() == len(header)
    assert len(header) % 64 == 0


def test_npz_keeps_order_over_many_chunks(monkeypatch: pytest.MonkeyPatch):
    """However the numbers are handed to deflate, they come in the order of the items."""
    monkeypatch.setattr(_results, "CHUNK", 64)
    numbers = range(1000)
    given = [
        Prediction({}, {"kind": [Array(struct.pack("<5q", *([number] * 5)), "q", (5,))]})
        for number in numbers
    ]
    file = np.load(io.BytesIO(encode_npz("kind", given)), allow_pickle=False)
    assert file["values"].tolist() == [number for number in numbers for _ in range(5)]
    assert file["index"].tolist() == [[number, 0, 5] for number in numbers]


def test_lines_keep_order_over_many_batches():
    """However many records there are, each is a line."""
    given = [Prediction({"index": index, "text": "\n"}) for index in range(2 * _results.BATCH + 1)]
    text = gzip.decompress(encode_lines(given)).decode()
    assert [json.loads(line) for line in text.splitlines()] == [prediction.record for prediction in given]
    assert gzip.decompress(encode_lines([])) == b""


def test_arrays_are_on_their_way_while_records_are_compressed(monkeypatch: pytest.MonkeyPatch):
    """And they are there before the commit."""
    bucket = Recorded()

    def compressed(_: object) -> bytes:
        bucket.ready.set()
        return b""

    monkeypatch.setattr(_results, "encode_lines", compressed)
    body = ResultStore(bucket).write(ORIGIN, predictions())
    assert bucket.keys == [body["attention_key"], body["s3_key"]]


def test_without_arrays_there_is_only_the_commit():
    """A result of records alone is one object."""
    bucket = Recorded()
    bucket.ready.set()
    body = ResultStore(bucket).write(ORIGIN, [Prediction({"index": 0})])
    assert bucket.keys == [body["s3_key"]]


def test_arrays_of_several_kinds_come_before_the_commit():
    """A file a kind, in the order of their names."""
    bucket = Recorded()
    bucket.ready.set()
    array = Array(b"\0", "B", (1,))
    body = ResultStore(bucket).write(ORIGIN, [Prediction({}, {"masks": [array], "boxes": [array]})])
    assert bucket.keys == [body["boxes_key"], body["masks_key"], body["s3_key"]]


@pytest.mark.parametrize("refused", ["boxes", "masks"])
def test_arrays_that_were_not_put_are_not_committed(refused: str):
    """A key is only ever returned for what is complete."""
    bucket = Recorded(refused)
    bucket.ready.set()
    array = Array(b"\0", "B", (1,))
    with pytest.raises(Unavailable):
        ResultStore(bucket).write(ORIGIN, [Prediction({}, {"masks": [array], "boxes": [array]})])
    assert not [key for key in bucket.keys if key.endswith("predictions.jsonl.gz")]


def test_lines_are_gzipped_json():
    """Every record is one line, in order."""
    text = gzip.decompress(encode_lines(predictions())).decode()
    assert [json.loads(line)["index"] for line in text.splitlines()] == [0, 1, 2]


def test_same_predictions_give_same_bytes():
    """No date and no order gets into a file."""
    assert encode_npz("attention", predictions()) == encode_npz("attention", predictions())
    assert encode_lines(predictions()) == encode_lines(predictions())
