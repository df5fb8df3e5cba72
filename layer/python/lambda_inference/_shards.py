"""Requests whose items are lines of a corpus in S3: a shard, which is one byte range of it.

A line of plain text is an item; a line of JSON lines is a JSON value that the fork's ``Request.item`` turns
into one. Lines are JSON if their request says so, the corpus's name ends in ``.jsonl`` or ``.ndjson``, or the
first is a JSON object. An invalid line fails alone: ``{"index", "error": {"code",
"message"}}`` is its record. Its message calls it ``data[0]``, because it is answered as a request of its own.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from msgspec.structs import replace

from lambda_inference import _telemetry, inputs
from lambda_inference._background import BackgroundTask
from lambda_inference._deadline import Deadline
from lambda_inference._errors import BadRequest, Fault, InternalError, OutOfTime, Unavailable
from lambda_inference._predictor import Prediction
from lambda_inference._requests import BaseRequest, Source, convert, decode_json, digest

MAX_BYTES = 64_000_000
"""Of a shard."""
MAX_LINES = 10_000
"""Of a shard."""

JSON_SUFFIXES = (".jsonl", ".ndjson")
"""Of corpora whose lines are JSON values, in any case."""

Predict = Callable[[Any, Deadline], list[Prediction]]


class ShardRequest:
    """A request with a ``source``."""

    def __init__(self, payload: dict[str, Any], base: BaseRequest, request_type: type[BaseRequest]) -> None:
        """Take a payload with its base fields converted.

        Raises:
            BadRequest: it has ``data``, too.

        """
        if "data" in payload:
            raise BadRequest("a request takes either data or source; got both", field="data")
        assert base.source is not None  # noqa: S101 - the caller has checked that
        self._source = base.source
        self._model_version = base.model_version
        self._request_type = request_type
        self._fields = {
            name: value for name, value in payload.items() if name not in BaseRequest.__struct_fields__
        }

    def digest(self) -> str:
        """Return the sha256 of all that decides the answer; of the lines, their range and its hash."""
        return digest({**self._fields, "model_version": self._model_version, "source": self._source})

    def predict(self, predict: Predict, deadline: Deadline) -> tuple[list[Prediction], int]:
        """Answer the lines in their order, in requests of as many items as the request type takes.

        Returns:
            A prediction for each line, and how many of them are errors.

        Raises:
            BadRequest: the shard as a whole, or another field, is invalid.
            OutOfTime: there was no time for all lines.
            Unavailable: S3 did not answer, or its data are damaged.

        """
        lines = BackgroundTask(lambda _: _read_lines(self._source)).result(deadline.remaining())
        answers: list[Any] = list(_parse_lines(lines, self._source, self._request_type))
        places = [place for place, item in enumerate(answers) if not isinstance(item, Fault)]
        for _, batch in deadline.batches(places, _max_items(self._request_type)):
            items = [answers[place] for place in batch]
            for place, answer in zip(batch, self._answer_items(items, predict, deadline), strict=True):
                answers[place] = answer
        predictions = [_place(answer, place) for place, answer in enumerate(answers)]
        return predictions, sum(isinstance(answer, Fault) for answer in answers)

    def _answer_items(
        self, items: Sequence[Any], predict: Predict, deadline: Deadline
    ) -> list[Prediction | Fault]:
        """Answer items as one request; where that fails, halve them until each invalid one stands alone."""
        try:
            request = convert({**self._fields, "data": items}, self._request_type)
            return [*predict(request, deadline)]
        except (OutOfTime, Unavailable):
            raise
        except BadRequest as error:
            if error.field and error.field.partition("[")[0] != "data":
                raise
            fault: Fault = error
        except Exception as error:  # noqa: BLE001 - whatever it is, the other items get an answer
            if len(items) == 1:
                _telemetry.log_failure(error)
            fault = InternalError("an internal error; the function's log has it")
        if len(items) == 1:
            return [fault]
        deadline.check(0, len(items))
        half = len(items) // 2
        return [
            answer
            for part in (items[:half], items[half:])
            for answer in self._answer_items(part, predict, deadline)
        ]


def _read_lines(source: Source) -> list[bytes]:
    """Return a shard's lines, checked against its hash.

    Raises:
        BadRequest: the range is too large, does not consist of whole lines, or has another hash.
        Unavailable: S3 did not answer.

    """
    if not 0 < source.end - source.start <= MAX_BYTES:
        raise BadRequest(
            f"source takes a range of 1 to {MAX_BYTES:,} bytes; got {source.end - source.start:,}",
            field="source.end",
        )
    before = min(source.start, 1)  # one byte more, to see that a line begins here
    data, size = inputs.read_range(source.key, "source.key", source.start - before, source.end)
    if size < source.end:
        raise BadRequest(f"source ends after the object, which has {size:,} bytes", field="source.end")
    if before and data[0] != ord("\n"):
        raise BadRequest("source begins inside a line; index the corpus anew", field="source.start")
    data = data[before:]
    if data[-1] != ord("\n") and source.end < size:
        raise BadRequest("source ends inside a line; index the corpus anew", field="source.end")
    if source.sha256 and hashlib.sha256(data).hexdigest() != source.sha256:
        raise BadRequest(
            "source does not match its sha256: the corpus has changed; index it anew",
            field="source.sha256",
        )
    lines = bytes(data).removeprefix(b"\xef\xbb\xbf" if not source.start else b"").split(b"\n")
    if not lines[-1]:
        lines.pop()
    if len(lines) > MAX_LINES:
        raise BadRequest(
            f"source takes a range of at most {MAX_LINES:,} lines; got {len(lines):,}", field="source.end"
        )
    return lines


def _parse_lines(lines: Sequence[bytes], source: Source, request_type: type[BaseRequest]) -> Iterator[Any]:
    """Yield the item of each line, or the BadRequest of a line that has none."""
    is_json = _holds_json(lines, source)
    for line in lines:
        try:
            text = line.removesuffix(b"\r").decode()
            yield request_type.item(decode_json(text, "the line")) if is_json else text
        except UnicodeDecodeError as error:
            yield BadRequest(f"the line is not UTF-8 at byte {error.start}")
        except BadRequest as fault:
            yield fault


def _holds_json(lines: Sequence[bytes], source: Source) -> bool:
    """Return whether a shard's lines are JSON values, by its request, its name or its first line."""
    if source.format:
        return source.format == "jsonl"
    if source.key.lower().endswith(JSON_SUFFIXES):
        return True
    return is_object(next((line for line in lines if line.strip()), b""))


def is_object(line: bytes) -> bool:
    """Return whether a line is a JSON object."""
    if not line.lstrip().startswith(b"{"):
        return False
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _place(answer: Prediction | Fault, place: int) -> Prediction:
    """Return the prediction of a line by its place in the shard."""
    if isinstance(answer, Fault):
        return Prediction({"index": place, "error": {"code": answer.code, "message": answer.message}})
    return replace(answer, record={**answer.record, "index": place})


def _max_items(request_type: type[BaseRequest]) -> int:
    """Return how many items a request of a type may have in ``data``; MAX_LINES where it sets no limit."""
    from msgspec import inspect

    info = inspect.type_info(request_type)
    assert isinstance(info, inspect.StructType)  # noqa: S101 - a BaseRequest is one
    pending = [field.type for field in info.fields if field.name == "data"]
    while pending:
        match pending.pop():
            case inspect.ListType(max_length=int(limit)):
                return limit
            case inspect.Metadata(type=kind):
                pending.append(kind)
            case inspect.UnionType(types=kinds):
                pending.extend(kinds)
    return MAX_LINES
