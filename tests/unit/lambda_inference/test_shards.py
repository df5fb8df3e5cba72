"""Requests for lines of a corpus: which items they are, and what fails alone."""

import hashlib
import json
from typing import Annotated

import obstore
import pytest
from msgspec import Meta
from obstore.store import MemoryStore

from lambda_inference import BadRequest, BaseRequest, Deadline, OutOfTime, Prediction, _storage, _telemetry
from lambda_inference._requests import parse
from lambda_inference._shards import MAX_LINES, ShardRequest, _max_items
from lambda_inference.texts import TextRequest


class Request(TextRequest, kw_only=True):
    """Texts, and a mark to put behind them."""

    mark: Annotated[str, Meta(max_length=1, description="one character")] = "!"


class Shout:
    """Answers texts, refuses "bad", breaks at "broken", and keeps what it was asked."""

    def __init__(self):
        self.asked = []

    def predict(self, request, deadline):
        self.asked.append(list(request.data))
        for index, text in enumerate(request.data):
            deadline.check(index, len(request.data))
            if text == "bad":
                raise BadRequest(f"data[{index}] is bad", field=f"data[{index}]")
            if text == "broken":
                raise ZeroDivisionError
            yield Prediction({"index": index, "text": text.upper() + request.mark})


@pytest.fixture
def bucket(monkeypatch):
    """Return a bucket in memory, in the place of S3."""
    memory = MemoryStore()
    monkeypatch.setenv("RESULT_BUCKET", "results-of-ranges")
    monkeypatch.setattr(_storage.Bucket, "_connect", lambda _: memory)
    return memory


def asked(source, **fields) -> ShardRequest:
    """Return the range that a payload makes."""
    payload = {"source": source, **fields}
    return ShardRequest(payload, parse(payload, Request), Request)


def predict(shard, predictor, seconds=60):
    """Answer a shard as the handler does."""
    return shard.predict(
        lambda request, deadline: list(predictor.predict(request, deadline)), Deadline.after(seconds)
    )


@pytest.fixture
def answered(bucket):
    """Put a corpus into the bucket, and return a function that answers a range of it."""

    def answer(corpus, key="inputs/c.txt", start=0, end=None, predictor=None, **fields):
        obstore.put(bucket, key, corpus)
        source = {"key": key, "start": start, "end": len(corpus) if end is None else end}
        predictions, failed = predict(asked(source, **fields), predictor or Shout())
        records = [prediction.record for prediction in predictions]
        assert failed == sum("error" in record for record in records)
        return records

    return answer


@pytest.mark.parametrize(
    ("corpus", "key", "texts"),
    [
        (b"one\ntwo\n", "inputs/c.txt", ["ONE!", "TWO!"]),
        (b"one\r\ntwo", "inputs/c", ["ONE!", "TWO!"]),
        (b"\n\none\n", "inputs/c.txt", ["!", "!", "ONE!"]),
        ("\ufeffone\u2028still\x0cone\n".encode(), "inputs/c.txt", ["ONE\u2028STILL\x0cONE!"]),
        (b'"one"\n{"text": "two", "id": 5}\n', "inputs/c.jsonl", ["ONE!", "TWO!"]),
        (b'"one"\n', "inputs/c.JSONL", ["ONE!"]),
        (b'"one"\n', "inputs/c.ndjson", ["ONE!"]),
        (b'\n{"text": "one"}\n"two"\n', "inputs/c.json", [None, "ONE!", "TWO!"]),
        (b'{"text": "one"}\n', "inputs/c.txt", ["ONE!"]),
        (b"{0} files\n", "inputs/c.txt", ["{0} FILES!"]),
    ],
)
def test_a_line_is_an_item(answered, corpus, key, texts):
    """Lines end with a line feed and nothing else, whatever corpus they are of."""
    records = answered(corpus, key)
    assert [record.get("text") for record in records] == texts
    assert [record["index"] for record in records] == list(range(len(texts)))


def test_a_format_is_taken_at_its_word(bucket):
    """What the request says of the lines outweighs their name and content."""
    for form, expected in (("text", '{"TEXT": "ONE"}!'), ("jsonl", "ONE!")):
        obstore.put(bucket, "inputs/c.jsonl", b'{"text": "one"}\n')
        source = {"key": "inputs/c.jsonl", "start": 0, "end": 16, "format": form}
        [prediction], _ = predict(asked(source), Shout())
        assert prediction.record["text"] == expected


def test_the_other_fields_are_those_of_every_request(answered):
    """A range says what a request with data says."""
    assert [record["text"] for record in answered(b"a\nb\n", mark="?")] == ["A?", "B?"]
    with pytest.raises(BadRequest, match="mark takes one character") as caught:
        answered(b"a\nb\n", mark="??")
    assert caught.value.field == "mark"


def test_what_is_wrong_with_a_line_fails_it_alone(answered):
    """Lines that no request could hold, that the model refuses or breaks at, have an error in their place."""
    corpus = b"a\nbad\n\xff\xfe\nb\n" + b"x" * 10_001 + b"\nbroken\nc\n"
    records = answered(corpus)
    assert [record.get("text") for record in records] == ["A!", None, None, "B!", None, None, "C!"]
    assert [record["index"] for record in records] == list(range(7))
    errors = {place: record["error"] for place, record in enumerate(records) if "error" in record}
    assert {place: error["code"] for place, error in errors.items()} == {
        1: "BadRequest",
        2: "BadRequest",
        4: "BadRequest",
        5: "InternalError",
    }
    assert errors[1]["message"] == "data[0] is bad"
    assert errors[2]["message"] == "the line is not UTF-8 at byte 0"
    assert "10001 characters" in errors[4]["message"]


def test_json_lines_fail_alone(answered):
    """What is no JSON, or JSON of something else, has an error in its place."""
    records = answered(b'"a"\n{"text": 5}\n{\n\n"b"\n', "inputs/c.jsonl")
    assert [record.get("text") for record in records] == ["A!", None, None, None, "B!"]


def test_a_bad_line_costs_few_questions(answered):
    """Everything else is answered once, in parts, and what was answered is not asked again."""
    predictor = Shout()
    corpus = [b"%d" % number for number in range(64)]
    corpus[20] = b"bad"
    answered(b"\n".join(corpus), predictor=predictor)
    whole = [one for one in predictor.asked if "bad" not in one]
    assert sorted(int(text) for one in whole for text in one) == [n for n in range(64) if n != 20]
    assert len(predictor.asked) <= 2 * 6 + 1


@pytest.mark.parametrize("looks", [1, 2])
def test_running_out_of_time_is_no_lines_fault(bucket, looks):
    """It ends the range, to be tried again, also while the line at fault is looked for."""
    left, asked_for = iter([60.0] * looks), []

    class Passing(Deadline):
        """A deadline that has passed once the lines are read."""

        def remaining(self) -> float:
            return next(left, 0.0)

    obstore.put(bucket, "inputs/c.txt", b"a\nb\n")
    shard = asked({"key": "inputs/c.txt", "start": 0, "end": 4})

    def refuse(request, _):
        asked_for.append(request.data)
        raise BadRequest("one of them is bad", field="data")

    with pytest.raises(OutOfTime):
        shard.predict(refuse, Passing(0, 60))
    assert asked_for == [["a", "b"]] * (looks - 1)


@pytest.mark.parametrize(
    ("start", "end", "field", "message"),
    [
        (1, 4, "source.start", "begins inside a line"),
        (0, 3, "source.end", "ends inside a line"),
        (0, 9, "source.end", "which has 8 bytes"),
        (20, 25, "source.end", "which has 8 bytes"),
        (4, 4, "source.end", "1 to 64,000,000 bytes; got 0"),
        (0, 64_000_001, "source.end", "got 64,000,001"),
    ],
)
def test_a_range_is_whole_lines(answered, start, end, field, message):
    """A range that was made for another corpus is refused, not answered wrongly."""
    with pytest.raises(BadRequest, match=message) as caught:
        answered(b"one\ntwo\n", start=start, end=end)
    assert caught.value.field == field


def test_a_range_is_what_its_hash_says(bucket):
    """A corpus that has changed under a run is noticed."""
    obstore.put(bucket, "inputs/c.txt", b"one\ntwo\n")
    source = {"key": "inputs/c.txt", "start": 4, "end": 8, "sha256": hashlib.sha256(b"two\n").hexdigest()}
    assert len(predict(asked(source), Shout())[0]) == 1
    obstore.put(bucket, "inputs/c.txt", b"one\nTWO\n")
    with pytest.raises(BadRequest, match="the corpus has changed") as caught:
        predict(asked(source), Shout())
    assert caught.value.field == "source.sha256"


def test_a_shard_has_a_limit_of_lines(answered):
    """More lines than one invocation should answer are refused."""
    assert len(answered(b"\n" * 10_000)) == 10_000
    with pytest.raises(BadRequest, match="at most 10,000 lines; got 10,001"):
        answered(b"\n" * 10_001)


@pytest.mark.usefixtures("bucket")
def test_only_inputs_are_read():
    """The key lies below the prefix, and the field is named where it does not."""
    with pytest.raises(BadRequest, match="below inputs/") as caught:
        predict(asked({"key": "prediction_outputs/a", "start": 0, "end": 4}), Shout())
    assert caught.value.field == "source.key"


@pytest.mark.parametrize(
    ("source", "field"),
    [
        ({"key": "inputs/a", "start": 0}, "source.end"),
        ({"key": "inputs/a", "start": -1, "end": 4}, "source.start"),
        ({"key": "inputs/a", "start": "0", "end": 4}, "source.start"),
        ({"key": "inputs/a", "start": 0, "end": True}, "source.end"),
        ({"key": "inputs/a", "start": 0, "end": 4, "part": 1}, "source"),
        ({"key": "inputs/a", "start": 0, "end": 4, "sha256": "abc"}, "source.sha256"),
        ({"key": "inputs/a", "start": 0, "end": 4, "format": "csv"}, "source.format"),
        ("inputs/a", "source"),
        ([], "source"),
    ],
)
def test_a_bad_source_is_named(source, field):
    """The field is named as far as it is known."""
    with pytest.raises(BadRequest) as caught:
        asked(source)
    assert caught.value.field == field


def test_either_data_or_a_source():
    """A request with both says neither."""
    with pytest.raises(BadRequest, match="either data or source") as caught:
        asked({"key": "inputs/a", "start": 0, "end": 4}, data=["a"])
    assert caught.value.field == "data"


def test_the_digest_is_of_what_decides_the_answer():
    """The range, its hash, the other fields and the version count; the delivery does not."""
    source = {"key": "inputs/a", "start": 0, "end": 4}
    first = asked(source).digest()
    assert asked(dict(reversed(source.items())), id="a", errors="raise", result="auto").digest() == first
    others = [
        asked(source | {"end": 5}),
        asked(source | {"sha256": "0" * 64}),
        asked(source, mark="?"),
        asked(source, model_version="0" * 64),
    ]
    assert len({first, *(one.digest() for one in others)}) == 5


def test_a_pinned_version_counts_in_every_digest():
    """The same texts asked of another version are another request; the delivery does not count."""
    plain = parse({"data": ["a"]}, Request)
    pinned = parse({"data": ["a"], "model_version": "0" * 64}, Request)
    assert plain.digest() != pinned.digest()
    delivery = {"id": "a", "errors": "raise", "result": "inline", "arrays": "base64"}
    assert parse({"data": ["a"], "model_version": "0" * 64, **delivery}, Request).digest() == pinned.digest()


def test_what_breaks_is_logged_once(answered, monkeypatch):
    """The log has the traceback of the line at fault, not of each part that held it."""
    logged = []
    monkeypatch.setattr(_telemetry, "log_failure", logged.append)
    records = answered("\n".join(json.dumps(n) for n in range(9)).encode() + b"\nbroken\n")
    assert [type(one) for one in logged] == [ZeroDivisionError]
    assert records[9]["error"]["code"] == "InternalError"
    answered(b"broken\n")
    assert len(logged) == 2


class Pairs(BaseRequest, kw_only=True):
    """At most two texts."""

    data: Annotated[list[str], Meta(min_length=1, max_length=2, description="one or two strings")]
    mark: str = "!"


def test_the_request_types_own_limit_holds(bucket):
    """A shard of more lines than a request takes is answered in several; places and failures stay right."""
    obstore.put(bucket, "inputs/c.txt", b"a\nb\n\xff\nc\nbad\nd\n")
    payload = {"source": {"key": "inputs/c.txt", "start": 0, "end": 14}}
    predictor = Shout()
    predictions, failed = predict(ShardRequest(payload, parse(payload, Pairs), Pairs), predictor)
    assert [prediction.record.get("text") for prediction in predictions] == [
        "A!", "B!", None, "C!", None, "D!"
    ]  # fmt: skip
    assert [prediction.record["index"] for prediction in predictions] == list(range(6))
    assert failed == 2
    assert max(map(len, predictor.asked)) == 2


def test_a_limit_is_found_behind_a_description():
    """So that no request is made that is too long, and halved."""
    assert (_max_items(Pairs), _max_items(BaseRequest)) == (2, MAX_LINES)


def test_records_of_a_predictor_are_not_changed(bucket):
    """A predictor may keep what it has answered; a shard's places are written into copies."""
    record = {"index": 0}

    class Same:
        def predict(self, request, _):
            return [Prediction(record) for _ in request.data]

    obstore.put(bucket, "inputs/c.txt", b"a\nb\n")
    predictions, _ = predict(asked({"key": "inputs/c.txt", "start": 0, "end": 4}), Same())
    assert [prediction.record["index"] for prediction in predictions] == [0, 1]
    assert record == {"index": 0}


def test_a_fault_of_another_field_is_the_requests(answered):
    """What the model refuses of the fields beside data is wrong for every line, and told once."""

    class Refusing:
        def predict(self, *_):
            raise BadRequest("mark takes another character", field="mark")

    with pytest.raises(BadRequest, match="another character"):
        answered(b"a\nb\n", predictor=Refusing())
