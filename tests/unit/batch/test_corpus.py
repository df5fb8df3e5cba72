"""Corpora: cut into whole lines, all of them, in ranges that are no larger than asked."""

import hashlib
import json
from datetime import timedelta

import boto3
import pytest
from moto import mock_aws

from lambda_setup.batch import corpus
from lambda_setup.batch.corpus import Corpus
from lambda_setup.errors import CommandError


def cut(path, most_bytes, most_lines, progress=lambda _: None):
    """Return the index's entries for a file."""
    whole = Corpus(None, "b", "inputs/c.txt", path.stat().st_size, "i", path)
    return list(corpus.cut(whole, "d", most_bytes, most_lines, progress))


@pytest.mark.parametrize("block", [1, 7, 64, 1 << 20])
@pytest.mark.parametrize(("most_bytes", "most_lines"), [(1, 9), (10, 9), (40, 3), (1 << 20, 4), (1 << 20, 9)])
@pytest.mark.parametrize(
    "text",
    [
        b"one\n",
        b"one",
        b"\n\n\n",
        b"one\ntwo\r\n\nthree",
        b"a\n" * 30,
        b"x" * 50 + b"\n" + b"y\n" * 5,
        b"12345678\n\n9\n" * 9,
    ],
)
def test_ranges_are_all_lines_and_whole(tmp_path, monkeypatch, text, most_bytes, most_lines, block):
    """They follow each other, begin and end with lines, and hold as much as they may, wherever blocks end."""
    path = tmp_path / "c.txt"
    path.write_bytes(text)
    monkeypatch.setattr(corpus, "BLOCK", block)
    seen = []
    entries = cut(path, most_bytes, most_lines, seen.append)
    assert sum(seen) == len(text)
    place = 0
    for entry in entries:
        source = entry["source"]
        part = text[source["start"] : source["end"]]
        assert source["start"] == place
        assert part.endswith(b"\n") or source["end"] == len(text)
        assert (
            entry["lines"] == len(part.splitlines(keepends=False)) == part.count(b"\n") + (part[-1:] != b"\n")
        )
        assert entry["lines"] <= most_lines
        assert len(part) <= most_bytes or entry["lines"] == 1
        following = text[source["end"] :].partition(b"\n")[0] + b"\n"
        full = entry["lines"] == most_lines or len(part) + len(following) > most_bytes
        assert full or not text[source["end"] :]
        assert source["sha256"] == hashlib.sha256(part).hexdigest()
        assert entry["id"] == f"d-{source['start']}-{source['end']}"
        place = source["end"]
    assert place == len(text)
    assert json.loads(corpus.encode_index(iter(entries))) == entries


def test_blocks_do_not_change_ranges(tmp_path, monkeypatch):
    """The same corpus is cut the same way, so that a run that is begun anew finds what was done."""
    path = tmp_path / "c.txt"
    path.write_bytes(b"".join(b"%d\n" % (number**3) for number in range(500)))
    expected = cut(path, 100, 9)
    for block in (3, 50, 997):
        monkeypatch.setattr(corpus, "BLOCK", block)
        assert cut(path, 100, 9) == expected


def test_a_line_that_no_range_holds_is_refused(tmp_path, monkeypatch):
    """It says where the line begins."""
    path = tmp_path / "c.txt"
    path.write_bytes(b"a\n" + b"x" * 100 + b"\n")
    monkeypatch.setattr(corpus, "MAX_BYTES", 50)
    with pytest.raises(CommandError, match="line at byte 2 is longer than 50 bytes"):
        cut(path, 10, 9)


@pytest.fixture
def s3():
    """Yield an S3 with the result bucket."""
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket="results")
        yield client


def test_a_file_is_uploaded_once(s3, tmp_path):
    """Its key is its content's, and keeps what it says of JSON lines."""
    path = tmp_path / "c.jsonl"
    path.write_bytes(b'"a"\n')
    found = corpus.find(s3, "results", str(path))
    assert found.key == f"inputs/corpora/{hashlib.sha256(path.read_bytes()).hexdigest()}.jsonl"
    assert [corpus.upload(found), corpus.upload(found)] == [True, False]
    assert s3.get_object(Bucket="results", Key=found.key)["Body"].read() == b'"a"\n'


def test_a_corpus_in_the_bucket_stays_where_it_is(s3, tmp_path):
    """It is cut like a file, and read no further once somebody has changed it."""
    text = b"one\ntwo\nthree\n"
    (tmp_path / "c.txt").write_bytes(text)
    s3.put_object(Bucket="results", Key="inputs/mine/c.txt", Body=text)
    found = corpus.find(s3, "results", "s3://results/inputs/mine/c.txt")
    assert not corpus.upload(found)
    assert (found.key, found.size) == ("inputs/mine/c.txt", len(text))
    ours = [one["source"]["sha256"] for one in cut(tmp_path / "c.txt", 8, 9)]
    assert [one["source"]["sha256"] for one in corpus.cut(found, "d", 8, 9, lambda _: None)] == ours
    s3.put_object(Bucket="results", Key="inputs/mine/c.txt", Body=text + b"four\n")
    with pytest.raises(s3.exceptions.ClientError, match="PreconditionFailed"):
        list(corpus.cut(found, "d", 8, 9, lambda _: None))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("s3://other/inputs/c.txt", "below s3://results/inputs/; copy it there first: .* --profile mine$"),
        ("s3://results/c.txt", "below s3://results/inputs/"),
        ("c.txt.gz", "decompress it first"),
        ("empty.txt", "is empty"),
    ],
)
def test_what_cannot_be_read_in_ranges_is_refused(s3, tmp_path, monkeypatch, text, message):
    """It says what to do instead."""
    (tmp_path / "c.txt.gz").write_bytes(b"a")
    (tmp_path / "empty.txt").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CommandError, match=message):
        corpus.find(s3, "results", text, None, " --region eu-west-1 --profile mine")


@pytest.mark.parametrize(
    "text", [b"one", b"a\nb", b"line\n" * 9000, b"x" * 90_000 + b"\nshort\n", b"\xc3\xb1\n" * 40]
)
def test_the_sample_is_whole_lines(s3, tmp_path, text):
    """Its ranges lie in the corpus, begin after a line feed, and end with one or with the corpus."""
    path = tmp_path / "c.txt"
    path.write_bytes(text)
    found = corpus.find(s3, "results", str(path))
    corpus.upload(found)
    sources = corpus.sample(found)
    assert sources
    for source in sources:
        start, end = source["start"], source["end"]
        assert 0 <= start < end <= len(text)
        assert start == 0 or text[start - 1 : start] == b"\n"
        assert end == len(text) or text[end - 1 : end] == b"\n"
        assert text[start:end].count(b"\n") <= 64


@pytest.mark.parametrize(("age", "copied"), [(timedelta(0), True), (timedelta(days=1), False)])
def test_an_object_that_is_used_gets_no_older(s3, age, copied):
    """An object of a certain age is written anew with what it holds; a younger one is left alone."""
    s3.put_bucket_versioning(Bucket="results", VersioningConfiguration={"Status": "Enabled"})
    put = {"Bucket": "results", "Key": "inputs/corpora/c.txt"}
    first = s3.put_object(**put, Body=b"one\n", ContentType="text/plain", Metadata={"a": "b"})["VersionId"]

    assert corpus.renew(s3, "results", put["Key"], age) is copied
    found = s3.get_object(**put)
    assert (found["VersionId"] != first) is copied
    assert (found["Body"].read(), found["ContentType"], found["Metadata"]) == (
        b"one\n",
        "text/plain",
        {"a": "b"},
    )
