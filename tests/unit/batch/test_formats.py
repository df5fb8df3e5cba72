"""Formats of corpora: the suffix says JSON lines, the content the rest, and no object is taken for text."""

import io
import json

import boto3
import pytest
from moto import mock_aws

from lambda_setup.batch import corpus, run
from lambda_setup.batch.formats import recognize
from lambda_setup.errors import CommandError


def recognized(name, content, form=None):
    """Return what a corpus of such a name and content is."""
    return recognize(name, lambda: io.BytesIO(content), len(content), form)


OBJECTS = b'{"text": "a"}\n{"text": "b"}\n'


@pytest.mark.parametrize("name", ["c.jsonl", "c.JSONL", "c.ndjson", "c.NDJSON"])
def test_the_suffix_says_json_lines(name):
    """In any case of its letters, and whatever the lines are."""
    assert recognized(name, b"5\n") == "jsonl"


@pytest.mark.parametrize("name", ["c.json", "c.txt", "c", "c.JSON", "c.data"])
@pytest.mark.parametrize("content", [OBJECTS, b"\xef\xbb\xbf" + OBJECTS, b"\n" + OBJECTS, OBJECTS.rstrip()])
def test_lines_of_objects_are_json_lines(name, content):
    """No suffix makes texts of them."""
    assert recognized(name, content) == "jsonl"


@pytest.mark.parametrize("name", ["c.json", "c.txt", "c"])
@pytest.mark.parametrize("content", [b'["a", {"text": "b"}]', b'[\n  "a",\n  {\n    "text": "b"\n  }\n]\n'])
def test_an_array_becomes_json_lines(name, content):
    """A value a line, however the array is written."""
    assert recognized(name, content) == b'"a"\n{"text":"b"}\n'


@pytest.mark.parametrize(
    "content", [b"one\n", b"{0} files\n", b"[1] See there.\n", b'"Yes," she said.\n', b'"Yes."\n', b"\n\n"]
)
def test_text_is_text(content):
    """A bracket at its beginning makes no JSON of it."""
    assert recognized("c.txt", content) == "text"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("c.csv", b"a,b\n", "--format text"),
        ("c.TSV", b"a\tb\n", "which column"),
        ("c.json", b"one\n", "neither a JSON array nor one JSON value a line"),
        ("c.json", b"[]", "empty"),
        ("c.txt", b'{\n  "text": "a"\n}\n', "neither a JSON array"),
        ("c.txt", b'{"text": "a"}\nplain\n', "neither a JSON array"),
        ("c.txt", b'[{"text": "a"},\n', "neither a JSON array"),
    ],
)
def test_what_is_open_is_asked(name, content, message):
    """The refusal says which two forms are taken, and how to say that lines are texts."""
    with pytest.raises(CommandError, match=message):
        recognized(name, content)
    assert recognized(name, content, "text") == "text"


def test_only_whole_lines_are_looked_at():
    """A line that the first bytes cut is not taken for broken JSON."""
    long = b'{"text": "' + b"x" * 60_000 + b'"}\n'
    assert recognized("c.json", long * 3) == "jsonl"


@pytest.fixture
def s3():
    """Yield an S3 with the result bucket."""
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket="results")
        yield client


def test_an_array_is_uploaded_as_json_lines(s3, tmp_path):
    """From this machine and from the bucket, which keeps the array, too."""
    (tmp_path / "c.json").write_bytes(b'["a", "b"]')
    s3.put_object(Bucket="results", Key="inputs/c.json", Body=b'["a", "b"]')
    for name in (str(tmp_path / "c.json"), "s3://results/inputs/c.json"):
        found = corpus.find(s3, "results", name)
        corpus.upload(found)
        assert (found.format, found.size, found.key[-6:]) == ("jsonl", 8, ".jsonl")
        assert s3.get_object(Bucket="results", Key=found.key)["Body"].read() == b'"a"\n"b"\n'
        entries = list(corpus.cut(found, "d", 9, 9, lambda _: None))
        assert entries[0]["source"]["format"] == corpus.sample(found)[0]["format"] == "jsonl"


class Here:
    """A deployment of which only the model counts."""

    def environment(self):
        """Return the model's name."""
        return {"MODEL_NAME": "en-es"}


def prepare(s3, path, form=None):
    """Return the state machine's input for a corpus, and whether its run is new."""
    job = run.Run(name="r", source=str(path), request={}, format=form)
    found = corpus.find(s3, "results", str(path), form)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "read_version", lambda _: "0" * 64)
        return run._prepare(Here(), run.ResultBucket(s3, "results"), found, job)


def test_the_same_bytes_of_another_format_are_another_corpus(s3, tmp_path):
    """What was answered as text is not taken for the answers to JSON lines."""
    path = tmp_path / "c.txt"
    path.write_bytes(b'"a"\n')
    batches = [prepare(s3, path, form)[0] for form in ("text", "jsonl")]
    assert [batch["corpus"]["format"] for batch in batches] == ["text", "jsonl"]
    assert batches[0]["index"] != batches[1]["index"]


def test_a_run_that_an_older_release_began_goes_on(s3, tmp_path):
    """It has no format, and the one that its suffix said."""
    path = tmp_path / "c.txt"
    path.write_bytes(b"a\n")
    batch, is_new = prepare(s3, path)
    assert is_new
    old = batch | {"index": "inputs/batches/old/index.json"}
    old["corpus"] = {name: value for name, value in batch["corpus"].items() if name != "format"}
    s3.put_object(Bucket="results", Key="inputs/batches/runs/r.json", Body=json.dumps(old).encode())
    assert prepare(s3, path) == (old, False)
    with pytest.raises(CommandError, match="choose another name"):
        prepare(s3, path, "jsonl")
