"""Results: predictions as gzipped JSON lines, arrays as npz, in S3 or inside the answer.

::

    prediction_outputs/<id>/<kind>-<digest>.npz        written first
    prediction_outputs/<id>/predictions.jsonl.gz       written last, once: it is the commit

A key is only ever returned for what is complete. The commit's metadata name the request, the
model's version and the arrays that belong to it, so that a repeated request gets the first one's
result, and two versions of a model never mix.
"""

import copy
import gzip
import hashlib
import io
import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from lambda_inference.errors import Conflict, Unavailable
from lambda_inference.predictor import Array, Prediction
from lambda_inference.storage import Bucket, Missing, bucket

PREFIX = "prediction_outputs"

_DTYPES = {"f": ("<f4", 4), "d": ("<f8", 8), "i": ("<i4", 4), "q": ("<i8", 8), "B": ("|u1", 1)}
"""Codes of the buffer protocol as numpy's format spells them, and their bytes."""


@dataclass(frozen=True)
class Origin:
    """Where a result comes from: the request's id and digest, the model and its engine."""

    id: str
    request: str
    model: str
    version: str
    engine: str


class ResultStore:
    """The results' bucket."""

    def __init__(self, bucket: Bucket) -> None:
        self.bucket = bucket

    @classmethod
    def from_environment(cls) -> "ResultStore":
        """Return the store in RESULT_BUCKET."""
        try:
            return cls(bucket(os.environ["RESULT_BUCKET"]))
        except KeyError as missing:
            raise Unavailable(f"the function's environment lacks {missing}; the template sets it") from None

    def write(self, origin: Origin, predictions: Sequence[Prediction]) -> dict[str, Any]:
        """Store a result once, and return the answer's body that names it.

        Raises:
            Conflict: the id already names the result of another request.
            Unavailable: S3 did not answer, or refused.

        """
        prefix = f"{PREFIX}/{origin.id}"
        arrays = {}
        for kind in sorted({kind for prediction in predictions for kind in prediction.arrays}):
            data = npz(kind, predictions)
            # The content counts too: two machines may differ in the last bit of a float.
            digest = hashlib.sha256(f"{origin.request} {origin.version} ".encode() + data).hexdigest()[:16]
            arrays[kind] = f"{prefix}/{kind}-{digest}.npz"
            self.bucket.create(arrays[kind], data, "application/x-npz", {})
        result = {
            "count": len(predictions),
            "model": {"name": origin.model, "version": origin.version},
            "engine": origin.engine,
        }
        keys = {f"{kind}_key": key for kind, key in arrays.items()}
        commit = f"{prefix}/predictions.jsonl.gz"
        metadata = {"request": origin.request, "result": msgspec.json.encode(result | keys).decode()}
        if not self.bucket.create(commit, lines(predictions), "application/gzip", metadata):
            return self._committed(commit, origin)
        return {"s3_bucket": self.bucket.name, "s3_key": commit, **keys, **result}

    def _committed(self, commit: str, origin: Origin) -> dict[str, Any]:
        """Return what is there already, if this request made it."""
        try:
            metadata = self.bucket.read(commit)[1]
        except Missing:
            raise Unavailable(f"s3://{self.bucket.name}/{commit} was removed meanwhile; try again") from None
        if metadata.get("request") != origin.request:
            raise Conflict(
                f"the id {origin.id} already names the result of another request; choose another id",
                field="id",
            )
        return {"s3_bucket": self.bucket.name, "s3_key": commit, **msgspec.json.decode(metadata["result"])}


def lines(predictions: Sequence[Prediction]) -> bytes:
    """Return the records as gzipped JSON lines; the same records give the same bytes."""
    encode = msgspec.json.Encoder().encode
    return gzip.compress(
        b"".join(encode(prediction.record) + b"\n" for prediction in predictions), 6, mtime=0
    )


def npz(kind: str, predictions: Sequence[Prediction]) -> bytes:
    """Return all arrays of a kind as one npz file, written without numpy.

    It holds ``values``, all numbers flat in C order, and ``index`` (int32), a row an array: the
    item's number, the array's number within the item, then the array's shape. The format is
    numpy's own (numpy.lib.format); the same arrays give the same bytes.
    """
    arrays: list[tuple[int, int, Array]] = [
        (item, number, array)
        for item, prediction in enumerate(predictions)
        for number, array in enumerate(prediction.arrays.get(kind, ()))
    ]
    descr, itemsize = _DTYPES[arrays[0][2].dtype]
    rank = len(arrays[0][2].shape)
    index = b"".join(
        number.to_bytes(4, "little") for item, nth, array in arrays for number in (item, nth, *array.shape)
    )
    count = sum(len(array.data) for _, _, array in arrays) // itemsize
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, header, chunks in (
            ("values", _npy_header(descr, (count,)), [array.data for _, _, array in arrays]),
            ("index", _npy_header("<i4", (len(arrays), 2 + rank)), [index]),
        ):
            entry = zipfile.ZipInfo(f"{name}.npy")  # with a fixed date
            entry.compress_type = zipfile.ZIP_DEFLATED  # hypotheses of one sentence share most of their rows
            with archive.open(entry, "w", force_zip64=True) as member:
                member.write(header)
                for chunk in chunks:
                    member.write(chunk)
    return file.getvalue()


def inline(predictions: Sequence[Prediction]) -> list[dict[str, Any]]:
    """Return copies of the records with their arrays inside, each where its path says."""
    records = [copy.deepcopy(prediction.record) for prediction in predictions]
    for record, prediction in zip(records, predictions, strict=True):
        for kind, arrays in prediction.arrays.items():
            for array in arrays:
                place: Any = record
                for step in array.path:
                    place = place[step]
                place[kind] = array.tolist()
    return records


def _npy_header(descr: str, shape: tuple[int, ...]) -> bytes:
    """Return the header of npy format 1.0 (numpy.lib.format)."""
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}"
    padding = -(10 + len(text) + 1) % 64
    header = text.encode() + b" " * padding + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
