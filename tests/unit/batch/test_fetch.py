"""Arrays of a run: each comes into its line or into the file, and none is lost silently."""

import io
import json
import struct
from types import SimpleNamespace

import numpy as np
import pytest
from botocore.response import StreamingBody

from lambda_inference import Array, Prediction
from lambda_inference._batches import manifest_key
from lambda_inference._results import encode_lines, encode_npz
from lambda_setup.batch.fetch import fetch
from lambda_setup.errors import CommandError


def floats(*numbers: float) -> Array:
    """Return numbers as a vector of float32."""
    return Array(struct.pack(f"<{len(numbers)}f", *numbers), "f", (len(numbers),))


FIRST = [Prediction({"index": 0}, {"vector": [floats(0.1, 2)]}), Prediction({"index": 1, "error": {}})]
SECOND = [
    Prediction({"index": 0}, {"vector": [floats(3)], "mask": [Array(b"\1\2", "B", (2, 1))] * 2}),
    Prediction({"index": 1}, {"vector": [floats()]}),
]


def build_run(*shards: list[Prediction] | int) -> tuple[SimpleNamespace, dict[str, bytes]]:
    """Return a bucket with a run of shards, or the numbers of lines of failed ones, and its objects."""
    objects: dict[str, bytes] = {}
    manifest: list[dict[str, object]] = [{"run": "run", "ranges": len(shards), "failed_ranges": 0}]
    for number, shard in enumerate(shards):
        if isinstance(shard, int):
            manifest.append({"lines": shard, "error": {"code": "NotRun", "message": "no"}})
            continue
        entry = {"s3_key": f"{number}/predictions.jsonl.gz", "count": len(shard)}
        objects[entry["s3_key"]] = encode_lines(shard)
        for kind in {kind for prediction in shard for kind in prediction.arrays}:
            entry[f"{kind}_key"] = f"{number}/{kind}.npz"
            objects[f"{number}/{kind}.npz"] = encode_npz(kind, shard)
        manifest.append(entry)
    objects[manifest_key("run")] = b"\n".join(json.dumps(one).encode() for one in manifest)

    def read(key: str) -> StreamingBody | None:
        data = objects.get(key)
        return data and StreamingBody(io.BytesIO(data), len(data))

    return SimpleNamespace(name="results", open=read), objects


def test_arrays_stand_in_the_lines(tmp_path):
    """As in an inline answer, the shortest float32 text included; a line that failed has none."""
    bucket, _ = build_run(FIRST, 1, SECOND)
    assert fetch(bucket, "run", tmp_path / "out.jsonl")
    lines = (tmp_path / "out.jsonl").read_text().splitlines()
    assert lines[0] == '{"index":0,"vector":[0.1,2.0]}'
    assert [json.loads(line) for line in lines[1:]] == [
        {"index": 1, "error": {}},
        {"index": 2, "error": {"code": "NotRun", "message": "no"}},
        {"index": 3, "vector": [3], "mask": [[[1], [2]], [[1], [2]]]},
        {"index": 4, "vector": []},
    ]


def test_arrays_stand_in_a_file(tmp_path):
    """By line, number and shape, whatever their type; the lines are without them."""
    bucket, _ = build_run(FIRST, 1, SECOND)
    assert fetch(bucket, "run", tmp_path / "out.jsonl", tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz") as file:
        found = {name: (file[name].dtype.name, file[name].tolist()) for name in file.files}
    assert found == {
        "vector_values": ("float32", [np.float32(0.1), 2, 3]),
        "vector_index": ("int64", [[0, 0, 2], [3, 0, 1], [4, 0, 0]]),
        "mask_values": ("uint8", [1, 2, 1, 2]),
        "mask_index": ("int64", [[3, 0, 2, 1], [3, 1, 2, 1]]),
    }
    assert "vector" not in (tmp_path / "out.jsonl").read_text()
    assert len([*tmp_path.iterdir()]) == 2


@pytest.mark.parametrize("arrays", [True, False])
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "there is no s3://results/0/vector.npz"),
        (b"PK", "0/vector.npz is damaged"),
        (encode_npz("vector", [Prediction({})] * 2 + [FIRST[0]]), "arrays belong to no line"),
    ],
)
def test_an_array_that_would_be_lost_is_an_error(tmp_path, arrays, data, message):
    """The object is named, and nothing is written."""
    bucket, objects = build_run(FIRST)
    objects.pop("0/vector.npz")
    objects |= {"0/vector.npz": data} if data else {}
    with pytest.raises(CommandError, match=message):
        fetch(bucket, "run", tmp_path / "out.jsonl", tmp_path / "out.npz" if arrays else None)
    assert not [*tmp_path.iterdir()]


def test_a_kind_of_two_types_does_not_go_into_one_file(tmp_path):
    """The message says which line has another type, and what to do."""
    bucket, _ = build_run(FIRST, [Prediction({"index": 0}, {"vector": [Array(b"\1", "B", (1,))]})])
    with pytest.raises(CommandError, match=r"vector of line 2 is uint8 of 1 dimensions.*leave out --arrays"):
        fetch(bucket, "run", tmp_path / "out.jsonl", tmp_path / "out.npz")


@pytest.mark.parametrize("cut", [slice(0, 10), slice(0, -4), slice(4, None)])
def test_a_result_that_is_damaged_is_named(tmp_path, cut):
    """By its key, whatever gzip and zlib say of it; half a file stays nowhere."""
    bucket, objects = build_run(FIRST, SECOND)
    objects["1/predictions.jsonl.gz"] = objects["1/predictions.jsonl.gz"][cut]
    with pytest.raises(CommandError, match=r"1/predictions\.jsonl\.gz is damaged: .*run the batch again"):
        fetch(bucket, "run", tmp_path / "out.jsonl")
    assert not list(tmp_path.iterdir())


def test_a_manifest_that_ends_too_early_is_no_whole_run(tmp_path):
    """Lines that it does not name would be lost silently."""
    bucket, objects = build_run(FIRST, 1, SECOND)
    objects[manifest_key("run")] = objects[manifest_key("run")].rpartition(b"\n")[0]
    with pytest.raises(CommandError, match="it has 2 ranges, not 3"):
        fetch(bucket, "run", tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists()
