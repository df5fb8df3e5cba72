"""Inline answers: arrays in both forms, and answers that are too large."""

import base64
import json
import struct
from types import SimpleNamespace

import numpy as np
import pytest

from lambda_inference import Array, Prediction, TooLarge, _inline
from lambda_inference._inline import LIMIT, InlineRecords, build_record
from lambda_inference.texts import TextRequest


def floats(*numbers: float) -> bytes:
    """Return numbers as float32."""
    return struct.pack(f"<{len(numbers)}f", *numbers)


def test_arrays_stand_where_their_paths_say():
    """They are in copies of the records; several of a kind with one path are a list, and none is lost."""
    record = {"index": 0, "hypotheses": [{}, {}]}
    arrays = {
        "attention": [
            Array(floats(0, 1, 2, 3), "f", (2, 2), ("hypotheses", 0)),
            Array(b"", "f", (0, 4), ("hypotheses", 1)),
        ],
        "vector": [Array(floats(1), "f", (1,)), Array(floats(2), "f", (1,))],
    }
    assert build_record(Prediction(record, arrays)) == {
        "index": 0,
        "hypotheses": [{"attention": [[0, 1], [2, 3]]}, {"attention": []}],
        "vector": [[1], [2]],
    }
    assert record == {"index": 0, "hypotheses": [{}, {}]}


@pytest.mark.parametrize(
    "number",
    [0.1, 1 / 3, -0.0, 16777216.0, 3.4028234663852886e38, 1.1754943508222875e-38, 0.0627717524766922],
)
def test_a_float32_has_the_shortest_text(number):
    """Its digits are those that numpy prints, and the same float32 is read from them."""
    (listed,) = Array(floats(number), "f", (1,)).tolist()
    assert repr(listed) == repr(float(str(np.float32(number))))


def test_any_float32_is_read_as_itself():
    """Random bits, subnormal numbers included, come back bit by bit."""
    numbers = np.random.default_rng(1).integers(0, 2**32, 20_000, dtype=np.uint32).view(np.float32)
    numbers = numbers[np.isfinite(numbers)][:19_000].reshape(-1, 2)
    text = json.dumps(Array(numbers.tobytes(), "f", numbers.shape).tolist())
    assert np.array(json.loads(text), np.float32).tobytes() == numbers.tobytes()


@pytest.mark.parametrize(
    ("dtype", "name"),
    [("f", "float32"), ("d", "float64"), ("i", "int32"), ("q", "int64"), ("B", "uint8")],
)
def test_base64_is_numpys_own_bytes(dtype, name):
    """An object says the type and the shape; the bytes are little-endian, in C order."""
    given = np.arange(6).reshape(2, 3).astype(np.dtype(name).newbyteorder("<"))
    record = build_record(Prediction({}, {"mask": [Array(given.tobytes(), dtype, given.shape)]}), "base64")
    mask = record["mask"]
    assert (mask["dtype"], mask["shape"]) == (name, [2, 3])
    read = np.frombuffer(base64.b64decode(mask["base64"]), mask["dtype"]).reshape(mask["shape"])
    assert read.tolist() == given.tolist()


def test_an_array_is_numpys_without_a_copy():
    """An array is taken by numpy as it is."""
    array = np.asarray(Array(floats(1, 2, 3, 4), "f", (2, 2)))
    assert array.dtype == np.float32
    assert array.tolist() == [[1, 2], [3, 4]]


def embed(request: TextRequest, asked: list[int]):
    """Yield a vector of 384 numbers for each text, and note which were asked for."""
    for index, _ in enumerate(request.data):
        asked.append(index)
        yield Prediction(
            {"index": index}, {"vector": [Array(floats(*[0.0627717524766922] * 384), "f", (384,))]}
        )


@pytest.mark.parametrize(("form", "fits"), [("list", 1077), ("base64", 2352)])
def test_a_prediction_ends_where_its_answer_does(form, fits):
    """A predictor that says nothing is stopped at the first item that does not fit; so many fit indeed."""
    asked: list[int] = []
    request = TextRequest(data=["a"] * 5000, result="inline", arrays=form)
    with pytest.raises(TooLarge, match="items fit") as caught:
        list(InlineRecords(request, None).collect(embed(request, asked)))
    said = int(caught.value.message.partition("about ")[2].partition(" items")[0].replace(",", ""))
    assert len(asked) == said + 1
    assert abs(said - fits) < 5
    request.data = request.data[:said]
    answer = InlineRecords(request, None)
    list(answer.collect(embed(request, asked)))
    assert answer.fits
    assert len(json.dumps(answer.records)) < LIMIT


@pytest.mark.parametrize(("form", "items", "fits"), [("list", 3300, 1001), ("base64", 2450, 2441)])
def test_what_the_predictor_knows_is_refused_before_the_prediction(form, items, fits):
    """The message says about how many items fit."""
    predictor = SimpleNamespace(count_array_bytes=lambda _: 4 * 384)
    with pytest.raises(TooLarge, match=f"about {fits:,} items fit"):
        InlineRecords(TextRequest(data=["a"] * items, result="inline", arrays=form), predictor)
    for fields in ({"result": "auto"}, {"result": "s3"}, {"result": "inline", "data": ["a"] * fits}):
        InlineRecords(TextRequest(**{"data": ["a"] * items, "arrays": form, **fields}), predictor)


def test_what_may_fit_is_predicted():
    """A float has four characters at least; whether there are more is not known before."""
    predictor = SimpleNamespace(count_array_bytes=lambda _: 4 * 384)
    assert InlineRecords(TextRequest(data=["a"] * 3200, result="inline"), predictor).fits


def test_auto_goes_on_where_inline_ends():
    """All predictions come, for S3, and no records are kept."""
    request = TextRequest(data=["a"] * 1200, result="auto")
    answer = InlineRecords(request, None)
    assert len(list(answer.collect(embed(request, [])))) == 1200
    assert not answer.fits
    assert answer.records == []


@pytest.mark.parametrize(("form", "count"), [("list", 1_250_000), ("base64", 937_500)])
def test_what_cannot_fit_is_not_written_out(monkeypatch, form, count):
    """Arrays that take the limit at least are not turned into text first."""
    monkeypatch.setattr(_inline, "build_record", lambda *_: pytest.fail("it was written out"))
    answer = InlineRecords(TextRequest(data=["a"], result="auto", arrays=form), None)
    list(answer.collect([Prediction({}, {"vector": [Array(bytes(4 * count), "f", (count,))]})]))
    assert not answer.fits


def test_zeros_of_any_type_are_not_refused_too_early():
    """The bytes that numbers take at least are no more than they do take."""
    data = bytes(8 * 1_300_000)  # 3.9 MB as a list of int64
    request = TextRequest(data=["a"], result="inline")
    answer = InlineRecords(request, None)
    list(answer.collect([Prediction({}, {"zeros": [Array(data, "q", (1_300_000,))]})]))
    assert answer.fits
