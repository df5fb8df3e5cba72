"""A corpus whose answers are vectors: all come back, through the local Lambda, S3 and Step Functions."""

import contextlib
import json
import re
from pathlib import Path
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest
from support.project import ROOT

from lambda_setup import functions
from lambda_setup.__main__ import main
from lambda_setup.batch import run, store
from lambda_setup.commands import batch as command
from lambda_setup.deployment.local import RESULT_BUCKET, LocalDeployment

APP = '''
import hashlib
import struct

from lambda_inference import Array, BadRequest, Prediction, serve
from lambda_inference.texts import TextRequest


class Hasher:
    """Vectors of a text's hash, and as many parts as it has words."""

    Request = TextRequest

    def load(self, model):
        self.size = int(bytes(model.only(".txt")))

    def predict(self, request, deadline):
        for index, text in enumerate(request.data):
            deadline.check(index, len(request.data))
            if text == "poison":
                raise BadRequest(f"data[{index}] is poison", field=f"data[{index}]")
            digest = hashlib.shake_256(text.encode()).digest(self.size)
            vector = Array(struct.pack(f"<{self.size}f", *(byte / 255 for byte in digest)), "f", (self.size,))
            words = text.split()
            parts = [Array(word.encode(), "B", (1, len(word)), ("words", n)) for n, word in enumerate(words)]
            record = {"index": index, "text": text, "words": [{} for _ in words]}
            yield Prediction(record, {"vector": [vector], **({"part": parts} if parts else {})})


lambda_handler = serve(Hasher)
'''
COUNT, SIZE, POISONED = 5000, 24, 2345
LINES = [f"line {number}" * (number % 7 != 3) for number in range(COUNT)]
LINES[POISONED] = "poison"


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """Yield a deployment of a small function, on this machine's packages."""
    code, model = tmp_path_factory.mktemp("code"), tmp_path_factory.mktemp("model")
    (code / "app.py").write_text(APP)
    (model / "size.txt").write_text(str(SIZE))
    (model / "model.toml").write_text(
        'name = "hash"\nengine = "hash"\nprecision = "none"\nlibraries = {}\nfiles = ["size.txt"]\n'
    )
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as stack:
        packages = [ROOT / "layer" / "python", Path(msgspec.__file__).parents[1]]
        patch.setattr(LocalDeployment, "layers", packages)
        patch.setattr(functions, "for_engine", lambda _: SimpleNamespace(code=code))
        patch.setattr(store, "STORE", tmp_path_factory.mktemp("batches"))
        patch.setattr(run, "_POLL_SECONDS", 0.2)
        here = stack.enter_context(store.open_local_deployment(model, 2))
        bucket = store.ResultBucket(here.client, RESULT_BUCKET)
        patch.setattr(command, "_open_deployment", lambda _: contextlib.nullcontext(here))
        patch.setattr(command, "_open_bucket", lambda _: contextlib.nullcontext(bucket))
        corpus = model / "corpus.txt"
        corpus.write_text("\n".join(LINES) + "\n")
        assert main(["batch", "run", str(corpus), "--name", "all", "--local", "--lines", "700"]) == 0
        yield here


def fetch(out, *options):
    """Return the exit code of ``batch fetch``."""
    return main(["batch", "fetch", "all", "--local", "--out", str(out), *options])


@pytest.mark.check
def test_every_vector_comes_back_in_its_line(here, tmp_path):
    """In order and equal to single calls; a poisoned line has its error, and the others their arrays."""
    assert fetch(tmp_path / "out.jsonl") == 0
    records = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [record.pop("index") for record in records] == list(range(COUNT))
    assert records[POISONED]["error"]["code"] == "BadRequest"
    good = [number for number in range(COUNT) if number != POISONED]
    for numbers in (good[:2500], good[2500:]):
        data = [LINES[number] for number in numbers]
        single = here.invoke({"data": data, "result": "inline"})["body"]["predictions"]
        assert [records[number] for number in numbers] == [
            {name: value for name, value in one.items() if name != "index"} for one in single
        ]
    assert records[0]["words"] == [{"part": [[*b"line"]]}, {"part": [[*b"0"]]}]


@pytest.mark.check
@pytest.mark.usefixtures("here")
def test_every_vector_comes_back_in_a_file(tmp_path, capfd):
    """The lines have none, and the documented reader finds each one's line and shape."""
    assert fetch(tmp_path / "out.jsonl", "--arrays", str(tmp_path / "arrays.npz")) == 0
    assert "4,999 of vector" in capfd.readouterr().err
    assert "vector" not in (tmp_path / "out.jsonl").read_text()
    page = (ROOT / "docs" / "how-to" / "batch.md").read_text(encoding="utf-8")
    names: dict[str, np.ndarray] = {}
    code = re.search(r"```python\n(import numpy.*?)```", page, re.DOTALL)[1]
    exec(code.replace("arrays.npz", str(tmp_path / "arrays.npz")), names)  # noqa: S102
    assert names["index"].dtype == np.int64
    assert names["index"].tolist() == [[line, 0, SIZE] for line in range(COUNT) if line != POISONED]
    assert names["vectors"].shape == (COUNT - 1, SIZE)
    with np.load(tmp_path / "arrays.npz") as file:
        assert file["part_index"][:2].tolist() == [[0, 0, 1, 4], [0, 1, 1, 1]]
        assert bytes(file["part_values"][:5]) == b"line0"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["arrays.npz", "out.jsonl"]


@pytest.mark.check
def test_an_array_that_is_lost_is_an_error(here, tmp_path, capfd):
    """Its object is named, and nothing is written."""
    pages = here.client.get_paginator("list_objects_v2").paginate(Bucket=RESULT_BUCKET)
    keys = [one["Key"] for page in pages for one in page["Contents"] if "vector-" in one["Key"]]
    data = here.client.get_object(Bucket=RESULT_BUCKET, Key=keys[1])["Body"].read()
    try:
        for damage in (None, data[: len(data) // 2]):
            if damage is None:
                here.client.delete_object(Bucket=RESULT_BUCKET, Key=keys[1])
            else:
                here.client.put_object(Bucket=RESULT_BUCKET, Key=keys[1], Body=damage)
            assert fetch(tmp_path / "out.jsonl") != 0
            assert keys[1] in capfd.readouterr().err.replace("\n", "")
            assert not [*tmp_path.iterdir()]
    finally:
        here.client.put_object(Bucket=RESULT_BUCKET, Key=keys[1], Body=data)
