"""What predictors of networks that take tokens have in common: a tokenizer, batches, padding."""

import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from support.project import ROOT

from lambda_inference import Array, BadRequest, Manifest, Model, Prediction, Unavailable
from lambda_inference.texts import TextRequest, load_tokenizer, pad_batch, plan_batches


@pytest.mark.parametrize(
    ("data", "field", "message"),
    [
        ("One sentence.", "data", "data takes a list of 1 to 10,000 strings.*; got a string: it is not JSON"),
        ('["a", 5]', "data[1]", r"data\[1\] does not fit.*; got 5 in a JSON string"),
        ("[]", "data", "; got a list of 0 items in"),
    ],
)
def test_a_string_is_json_of_texts(data, field, message):
    """The error names the item, and says what was given."""
    with pytest.raises(BadRequest, match=message) as caught:
        TextRequest(data=data)
    assert caught.value.field == field


def test_batches_cover_every_text_once_by_length():
    """Every text that is not empty is in one batch; batches hold neighbours in length, the longest first."""
    lengths = [3, 0, 70, 5, 5, 1, 0, 400, 2] * 20
    flat = [index for batch in plan_batches(lengths, 1638) for index in batch]
    assert sorted(flat) == [index for index, length in enumerate(lengths) if length]
    assert [lengths[index] for index in flat] == sorted((n for n in lengths if n), reverse=True)


@pytest.mark.parametrize("budget", [8192, 1638, 409, 1])
def test_batches_are_bounded(budget):
    """No batch has more texts or padded tokens than asked for, but for one text alone."""
    lengths = [5000, 3000, *range(1, 200), *[7] * 100]
    for batch in plan_batches(lengths, budget, most=20):
        assert len(batch) <= 20
        assert len(batch) == 1 or len(batch) * max(lengths[index] for index in batch) <= budget


def test_a_batch_takes_what_fits():
    """A batch ends only where the next text does not fit."""
    assert list(plan_batches([2, 2, 2, 2, 1], 6)) == [[0, 1, 2], [3, 4]]
    assert list(plan_batches([], 6)) == []


def test_rows_are_padded_at_their_ends():
    """Rows become as long as the longest, and masks say which tokens are theirs."""
    assert pad_batch([[5, 6, 7], [8], []], 9) == (
        [[5, 6, 7], [8, 9, 9], [9, 9, 9]],
        [[1, 1, 1], [1, 0, 0], [0, 0, 0]],
    )
    assert pad_batch([]) == ([], [])


def test_the_documented_predictor_answers_in_order():
    """Its code is what docs/reference/predictors.md shows."""
    page = (ROOT / "docs" / "reference" / "predictors.md").read_text(encoding="utf-8")
    names = {"plan_batches": plan_batches, "pad_batch": pad_batch, "Prediction": Prediction, "Array": Array}
    for block in re.findall(r"```python\n(def .*?)```", page, re.DOTALL):
        exec(block, names)  # noqa: S102
    predictor = SimpleNamespace(
        tokenizer=SimpleNamespace(encode=lambda text: SimpleNamespace(ids=[*text.encode()])),
        network=lambda ids, mask: [
            np.full(384, np.dot(*row), np.float32) for row in zip(ids, mask, strict=True)
        ],
    )
    request = SimpleNamespace(data=["b", "aaa", "a" * 9000, "ab"])
    answers = list(names["predict"](predictor, request, SimpleNamespace(check=lambda *_: None)))
    vectors = [np.asarray(answer.arrays["vector"][0]) for answer in answers]
    assert [vector[0] for vector in vectors] == [98, 3 * 97, 9000 * 97, 97 + 98]
    assert names["count_array_bytes"](predictor, request) == vectors[0].nbytes


def read(data: bytes):
    """Return a stand-in for tokenizers.Tokenizer; the library is in the layers of those who use it."""
    if data != b"{}":
        raise Exception("expected value at line 1 column 1")  # noqa: TRY002 - as the library does
    calls: list[object] = []
    return SimpleNamespace(
        calls=calls, no_padding=lambda: calls.append("no padding"), enable_truncation=calls.append
    )


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"model.onnx": b""}, "holds 0 files \\*tokenizer.json.*`files` of its model.toml"),
        (
            {"tokenizer.json": b"version https://git-lfs"},
            "tokenizer.json of model m cannot be read.*expected",
        ),
    ],
)
def test_a_tokenizer_that_cannot_be_read_names_the_cure(monkeypatch, files, message):
    """A missing file names the line of model.toml to change, and a damaged one its own name."""
    monkeypatch.setitem(
        sys.modules, "tokenizers", SimpleNamespace(Tokenizer=SimpleNamespace(from_buffer=read))
    )
    with pytest.raises(Unavailable, match=message):
        load_tokenizer(build_model(files), 128)


def test_a_tokenizer_cuts_and_does_not_pad(monkeypatch):
    """What tokenizer.json says of padding and of the length does not count."""
    monkeypatch.setitem(
        sys.modules, "tokenizers", SimpleNamespace(Tokenizer=SimpleNamespace(from_buffer=read))
    )
    assert load_tokenizer(build_model({"tokenizer.json": b"{}"}), 128).calls == ["no padding", 128]


def build_model(files: dict[str, bytes]) -> Model:
    """Return a model of files."""
    manifest = Manifest(name="m", engine="e", precision="float32", libraries={}, files=[])
    return Model(manifest, "", {name: memoryview(data) for name, data in files.items()})
