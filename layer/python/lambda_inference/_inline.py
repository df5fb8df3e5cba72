"""Inline answers: records with their arrays inside, as many as Lambda's response takes."""

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

import msgspec

from lambda_inference._errors import TooLarge
from lambda_inference._predictor import DTYPES, Array, Prediction
from lambda_inference._requests import BaseRequest

LIMIT = 5_000_000
"""Bytes below which a response is sent inline; Lambda's own limit is 6,291,556."""

Form = Literal["list", "base64"]

_USUAL = 13
"""Characters of a float32 number in a list of JSON, with its comma."""


def build_record(prediction: Prediction, form: Form = "list") -> dict[str, Any]:
    """Return a copy of a prediction's record with its arrays inside, each where its path says.

    Several arrays of a kind with one path become a list of them.
    """
    import copy

    record = copy.deepcopy(prediction.record)
    for kind, arrays in prediction.arrays.items():
        places: dict[tuple[str | int, ...], list[Any]] = {}
        for array in arrays:
            places.setdefault(array.path, []).append(encode_array(array, form))
        for path, group in places.items():
            target: Any = record
            for step in path:
                target = target[step]
            target[kind] = group if len(group) > 1 else group[0]
    return record


def encode_array(array: Array, form: Form) -> Any:
    """Return an array as JSON: nested lists, or its bytes in base64, little-endian and in C order."""
    if form == "list":
        return array.tolist()
    import base64

    text = base64.b64encode(array.data).decode()
    return {"dtype": DTYPES[array.dtype][0], "shape": list(array.shape), "base64": text}


class InlineRecords:
    """The records of an inline answer, made as the predictions come.

    Attributes:
        records: of the predictions so far, with their arrays.
        fits: whether the answer may still be inline.

    """

    def __init__(self, request: BaseRequest, predictor: Any, *, compact: bool = False) -> None:
        """Begin an answer.

        Args:
            request: that is answered.
            predictor: that answers it.
            compact: whether its JSON has no spaces, as over HTTP; Lambda's own has some.

        Raises:
            TooLarge: the predictor says that it cannot be inline.

        """
        self.records: list[dict[str, Any]] = []
        self.fits = request.result != "s3"
        self._size = 0
        self._encode: Callable[[Any], bytes | str] = msgspec.json.encode if compact else json.dumps
        self._strict = request.result == "inline"
        self._form: Form = request.arrays
        data = getattr(request, "data", None)
        if self._strict and isinstance(data, list) and hasattr(predictor, "count_array_bytes"):
            self._check_arrays(len(data), predictor.count_array_bytes(request) // 4)

    def collect(self, predictions: Iterable[Prediction]) -> Iterator[Prediction]:
        """Yield predictions, and keep their records for as long as they fit.

        Raises:
            TooLarge: the request wants an inline answer, and one more does not fit.

        """
        for prediction in predictions:
            if self.fits:
                self._add(prediction)
                self.check_size(self._size)
            yield prediction

    def check_size(self, size: int) -> None:
        """Take note that an answer has at least so many bytes; TooLarge if it has to be inline and is not."""
        self.fits = size < LIMIT
        if self.fits:
            return
        count = len(self.records)
        self.records.clear()
        if self._strict:
            raise _refuse(f"the first {count:,} records", size, (count * LIMIT - 1) // size)

    def _add(self, prediction: Prediction) -> None:
        arrays = [array for group in prediction.arrays.values() for array in group]
        least = sum(_count_least(array, self._form) for array in arrays)
        small = self._size + least < LIMIT  # numbers that do not fit anyway are not written out
        record = build_record(prediction, self._form) if small else {}
        self._size += len(self._encode(record)) + 2 if small else least
        self.records.append(record)

    def _check_arrays(self, items: int, numbers: int) -> None:
        """Refuse items of so many float32 numbers each, if that alone is too much."""
        least, usual = (16 / 3, 16 / 3) if self._form == "base64" else (4, _USUAL)
        if (size := int(items * numbers * least)) >= LIMIT:
            raise _refuse(f"the arrays of {items:,} items", size, int(LIMIT / (numbers * usual)))


def _refuse(subject: str, size: int, fitting: int) -> TooLarge:
    """Return the error of an answer that has to be inline, and is too large."""
    fewer = f"about {fitting:,} items fit" if fitting else "one item alone does not fit"
    return TooLarge(
        f"{subject} take {size:,} bytes or more, and inline ends below {LIMIT:,}, where {fewer}; "
        'ask for "result": "s3" (or "auto"), or send fewer items',
        field="result",
    )


def _count_least(array: Array, form: Form) -> int:
    """Return the characters that an array takes at least: a float has ``0.0,``, an integer ``0,``."""
    size = len(array.data)
    if form == "base64":
        return size * 4 // 3
    return size // DTYPES[array.dtype][2] * (4 if array.dtype in "fd" else 2)
