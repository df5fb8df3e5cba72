"""Result files: readable by everyone, the same bytes every time."""

import gzip
import io
import json
import struct

import numpy as np

from lambda_inference.predictor import Array, Prediction
from lambda_inference.results import inline, lines, npz


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


def test_npz_is_read_by_numpy():
    """Values and index are what numpy's own reader finds, without pickle."""
    file = np.load(io.BytesIO(npz("attention", predictions())), allow_pickle=False)
    assert file["values"].dtype == np.float32
    assert file["values"].tolist() == [0, 1, 2, 3, 4, 5, 0, 1, 0, 1, 2, 3]
    assert file["index"].dtype == np.int32
    assert file["index"].tolist() == [[0, 0, 2, 3], [0, 1, 1, 2], [2, 0, 2, 2], [2, 1, 0, 4]]


def test_lines_are_gzipped_json():
    """Every record is one line, in order."""
    text = gzip.decompress(lines(predictions())).decode()
    assert [json.loads(line)["index"] for line in text.splitlines()] == [0, 1, 2]


def test_same_predictions_give_same_bytes():
    """No date and no order gets into a file."""
    assert npz("attention", predictions()) == npz("attention", predictions())
    assert lines(predictions()) == lines(predictions())


def test_inline_puts_arrays_where_their_paths_say():
    """Arrays become nested lists inside copies; the records stay as they were."""
    given = predictions()
    records = inline(given)
    assert records[0]["hypotheses"] == [{"attention": [[0, 1, 2], [3, 4, 5]]}, {"attention": [[0, 1]]}]
    assert records[2]["hypotheses"][1] == {"attention": []}
    assert given[0].record == {"index": 0, "hypotheses": [{}, {}]}
