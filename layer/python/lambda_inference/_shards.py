"""Requests whose items are lines of a corpus in S3: one byte range of it each.

A line of plain text is an item as it is; a line of a corpus whose name ends in ``.jsonl`` is a JSON value,
and the fork's ``Request.item`` says what that stands for. What is wrong with one line fails that line alone:
``{"index", "error": {"code", "message"}}`` stands in its place.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import msgspec

from lambda_inference import _telemetry, inputs
from lambda_inference._deadline import Deadline
from lambda_inference._errors import BadRequest, Fault, InternalError, OutOfTime, Unavailable
from lambda_inference._predictor import Prediction, Predictor
from lambda_inference._requests import BaseRequest, convert, decode_json, digest
from lambda_inference.texts import MAX_ITEMS

MAX_BYTES = 64_000_000
"""Of a range."""


class ShardRequest:
    """A request with a ``source``.

    Attributes:
        failed: how many of its lines have an error in place of a prediction, once it was answered.

    """

    def __init__(self, payload: dict[str, Any], base: BaseRequest, request_type: type[BaseRequest]) -> None:
        """Take a payload with its base fields converted.

        Raises:
            BadRequest: it has ``data``, too.

        """
        if "data" in payload:
            raise BadRequest("a request takes either data or source; got both", field="data")
        assert base.source is not None  # noqa: S101 - who has none makes no Range
        self._source = base.source
        self._pinned = base.model_version
        self._request_type = request_type
        self._settings = {
            name: value for name, value in payload.items() if name not in BaseRequest.__struct_fields__
        }
        self.failed = 0

    def digest(self) -> str:
        """Return the sha256 of what decides the answer, the lines by where they are and their hash."""
        return digest({**self._settings, "model_version": self._pinned, "source": self._source})

    def predict(self, predictor: Predictor, deadline: Deadline) -> list[Prediction]:
        """Answer the lines in their order.

        Raises:
            BadRequest: of the range as a whole, or of the other fields.
            OutOfTime: not all lines were done.
            Unavailable: S3 did not answer, or what it has is damaged.

        """
        found: dict[int, Prediction] = {}
        places: list[int] = []
        items: list[Any] = []
        request = None
        for place, line in enumerate(self._lines()):
            try:
                one = convert({**self._settings, "data": [self._value(line)]}, self._request_type)
            except BadRequest as fault:
                if fault.field and fault.field.partition("[")[0] in {"", "data"}:
                    found[place] = _failure(fault)
                    continue
                raise
            request = request or one
            places.append(place)
            items.append(one.data[0])  # type: ignore[attr-defined]
        if request is not None:
            found.update(zip(places, _each(predictor, request, items, deadline), strict=True))
        for place, prediction in found.items():
            prediction.record["index"] = place
        self.failed = sum("error" in prediction.record for prediction in found.values())
        return [found[place] for place in range(len(found))]

    def _lines(self) -> list[bytes]:
        """Return the range's lines, checked against its hash."""
        source = self._source
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
                "source is not what its sha256 says: the corpus has changed; index it anew",
                field="source.sha256",
            )
        lines = bytes(data).removeprefix(b"\xef\xbb\xbf" if not source.start else b"").split(b"\n")
        if not lines[-1]:
            lines.pop()
        if len(lines) > MAX_ITEMS:
            raise BadRequest(
                f"source takes a range of at most {MAX_ITEMS:,} lines; got {len(lines):,}", field="source.end"
            )
        return lines

    def _value(self, line: bytes) -> Any:
        try:
            text = line.removesuffix(b"\r").decode()
        except UnicodeDecodeError as error:
            raise BadRequest(f"the line is not UTF-8 at byte {error.start}", field="data[0]") from None
        if not self._source.key.endswith(".jsonl"):
            return text
        return self._request_type.item(decode_json(text, "data[0]"))


def _each(
    predictor: Predictor, request: BaseRequest, items: Sequence[Any], deadline: Deadline
) -> list[Prediction]:
    """Answer items together; halve them where that fails, until what is at fault stands alone."""
    try:
        return list(predictor.predict(msgspec.structs.replace(request, data=list(items)), deadline))
    except (OutOfTime, Unavailable):
        raise
    except BadRequest as error:
        fault: Fault = error
    except Exception as error:  # noqa: BLE001 - whatever it is, the other items get an answer
        if len(items) == 1:
            _telemetry.failure(error)
        fault = InternalError("an internal error; the function's log has it")
    if len(items) == 1:
        return [_failure(fault)]
    deadline.check(0, len(items))
    half = len(items) // 2
    return [
        prediction
        for part in (items[:half], items[half:])
        for prediction in _each(predictor, request, part, deadline)
    ]


def _failure(fault: Fault) -> Prediction:
    message = fault.message.replace("data[0]", "the item")
    return Prediction({"index": 0, "error": {"code": fault.code, "message": message}})
