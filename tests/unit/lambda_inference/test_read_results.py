"""A result's reader: what a predictor yielded comes back, from S3 and from a folder."""

import io
import struct
import zipfile

import numpy as np
import obstore
import pytest
from obstore.store import MemoryStore

from lambda_inference import Array, Prediction, _storage
from lambda_inference._results import Origin, ResultStore, encode_lines, encode_npz
from lambda_inference.results import decode_arrays, decode_result, read_result

ORIGIN = Origin("id", "0" * 64, "model", "1" * 64, "engine")


def predictions() -> list[Prediction]:
    """Items with arrays of several kinds, types and shapes, and one that failed."""
    floats = [struct.pack(f"<{count}f", *range(count)) for count in (6, 2)]
    return [
        Prediction(
            {"index": 0, "hypotheses": [{}, {}]},
            {
                "attention": [
                    Array(floats[0], "f", (2, 3), ("hypotheses", 0)),
                    Array(floats[1], "f", (1, 2), ("hypotheses", 1)),
                ],
                "mask": [Array(b"\1\2", "B", (2,))],
            },
        ),
        Prediction({"index": 1, "error": {"code": "BadRequest", "message": "no"}}),
        Prediction(
            {"index": 2, "hypotheses": [{}]}, {"attention": [Array(b"", "f", (0, 4), ("hypotheses", 0))]}
        ),
    ]


@pytest.fixture
def bucket(monkeypatch) -> _storage.Bucket:
    """Return a bucket in memory."""
    memory = MemoryStore()
    monkeypatch.setattr(_storage.Bucket, "_connect", lambda _: memory)
    return _storage.get_bucket("results-of-reader")


def test_a_stored_result_is_read_as_it_was_predicted(bucket, tmp_path):
    """Records, types, shapes and places: from S3, and from the same files in a folder."""
    body = ResultStore(bucket).write(ORIGIN, predictions())
    address = f"s3://{bucket.name}/{body['s3_key']}"
    assert read_result(address) == predictions()
    for key in (body["s3_key"], body["attention_key"], body["mask_key"]):
        (tmp_path / key.rpartition("/")[2]).write_bytes(bucket.read(key))
    assert read_result(tmp_path) == predictions()
    assert read_result(tmp_path / "predictions.jsonl.gz") == predictions()
    obstore.delete(bucket._connect(), body["mask_key"])
    with pytest.raises(FileNotFoundError, match=r"mask-.*does not exist, or has expired"):
        read_result(address)
    with pytest.raises(FileNotFoundError, match="name a result by the s3_key"):
        read_result(f"s3://{bucket.name}/prediction_outputs/other/predictions.jsonl.gz")


def test_arrays_of_an_older_release_have_no_places():
    """They come in the order that they have, and none is lost."""
    data = encode_npz("attention", predictions())
    older = data[: data.rindex(b"PK\5\6") + 20] + b"\0\0"  # without the archive's comment
    assert [array.path for array in decode_arrays(older)[0]] == [(), ()]
    assert decode_arrays(older)[0][0].data == predictions()[0].arrays["attention"][0].data


@pytest.mark.parametrize("data", [b"", b"PK", encode_npz("attention", predictions())[:-40]])
def test_what_is_damaged_says_so(data):
    """A file that is cut is named as that."""
    with pytest.raises(ValueError, match=r"not the arrays of a result.*fetch"):
        decode_arrays(data)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_what_is_packed_otherwise_says_so(method):
    """What unpacks it would raise errors of its own for damaged bytes: none of ours is packed so."""
    with zipfile.ZipFile(io.BytesIO(encode_npz("attention", predictions()))) as own:
        members = {name: own.read(name) for name in own.namelist()}
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    with pytest.raises(ValueError, match=r"not the arrays of a result \(it is packed otherwise\)"):
        decode_arrays(packed.getvalue())


def test_arrays_of_another_result_are_refused():
    """More items than records are no result."""
    with pytest.raises(ValueError, match="arrays of item 2, and there are 2 records"):
        decode_result(encode_lines(predictions()[:2]), {"attention": encode_npz("attention", predictions())})


def test_numpy_reads_the_same():
    """The arrays are taken by numpy as they are."""
    array = np.asarray(decode_arrays(encode_npz("mask", predictions()))[0][0])
    assert (array.dtype, array.tolist()) == (np.uint8, [1, 2])


def change(data: bytes, place: bytes, offset: int) -> bytes:
    """Return bytes with the one at an offset from a place inverted."""
    changed = bytearray(data)
    changed[data.index(place) + offset] ^= 0xFF
    return bytes(changed)


@pytest.mark.parametrize(
    "data",
    [
        change(encode_npz("attention", predictions()), b"values.npy", 40),  # zlib
        change(encode_npz("attention", predictions()), b"PK\1\2", 10),  # a compression that zipfile lacks
        encode_npz("attention", predictions()).replace(b'["hypotheses",null]', b'{"hypotheses": null}'[:19]),
    ],
)
def test_what_has_another_byte_says_so(data):
    """Whatever library meets the damage first."""
    with pytest.raises(ValueError, match=r"not the arrays of a result.*fetch"):
        decode_arrays(data)


@pytest.mark.parametrize("cut", [slice(0, 0), slice(0, 12), slice(0, -4), slice(5, None)])
def test_records_that_are_damaged_say_so(cut):
    """Cut at either end."""
    data = encode_lines(predictions())
    with pytest.raises(ValueError, match=r"not the records of a result.*fetch|truncated"):
        decode_result(data[cut] or b"\x1f\x8b", {})
