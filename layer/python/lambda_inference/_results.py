"""Results: predictions as gzipped JSON lines, arrays as npz, in S3 or inside the answer.

::

    prediction_outputs/<id>/<kind>-<digest>.npz        written first
    prediction_outputs/<id>/predictions.jsonl.gz       written last, once: it is the commit

A key is only ever returned for what is complete. The commit's metadata name the request, the
model's version and the arrays that belong to it, so that a repeated request gets the first one's
result, and two versions of a model never mix.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from lambda_inference._errors import Conflict, Unavailable
from lambda_inference._predictor import DTYPES, Prediction
from lambda_inference._settings import Settings
from lambda_inference._storage import Bucket, get_bucket

if TYPE_CHECKING:
    from concurrent.futures import Future

PREFIX = "prediction_outputs"
CHUNK = 1 << 20
"""Bytes of arrays that are handed to deflate at once, or more if one array has more."""
BATCH = 256
"""Records that are encoded at once."""
LEVEL = 7
"""zlib's, of the records: 6 takes a fifth less time for 1 % more bytes, 8 twice the time for 1 % fewer."""


class Origin(Struct, frozen=True):
    """The origin of a result: the request's id and digest, the model and its engine.

    Attributes:
        extra: further fields of the answer, kept with the result.

    """

    id: str
    request: str
    model: str
    version: str
    engine: str
    extra: Mapping[str, Any] = {}


class ResultStore:
    """The results in a bucket."""

    def __init__(self, bucket: Bucket) -> None:
        self.bucket = bucket

    @classmethod
    def from_environment(cls) -> "ResultStore":
        """Return the store of the function's RESULT_BUCKET."""
        return cls(get_bucket(Settings.read().require("result_bucket")))

    def find(self, name: str, request: str) -> dict[str, Any] | None:
        """Return the answer's body of a result that the same request stored under the same id.

        Raises:
            Conflict: the id names the result of another request.
            Unavailable: S3 did not answer, or denied access.

        """
        commit = commit_key(name)
        metadata = self.bucket.find_metadata(commit)
        if metadata is None:
            return None
        if metadata.get("request") != request:
            raise Conflict(
                f"the id {name} already names the result of another request; choose another id",
                field="id",
            )
        return {"s3_bucket": self.bucket.name, "s3_key": commit, **msgspec.json.decode(metadata["result"])}

    def write(self, origin: Origin, predictions: Sequence[Prediction]) -> dict[str, Any]:
        """Store a result once, and return the answer's body that names it.

        Raises:
            Conflict: the id already names the result of another request.
            Unavailable: S3 did not answer, or denied access.

        """
        import hashlib
        from concurrent.futures import ThreadPoolExecutor

        prefix = f"{PREFIX}/{origin.id}"
        arrays = {}
        put: Future[bool] | None = None
        with ThreadPoolExecutor(1) as pool:  # one file is on its way while the next is compressed
            for kind in sorted({kind for prediction in predictions for kind in prediction.arrays}):
                data = encode_npz(kind, predictions)
                # The content counts too: two machines may differ in the last bit of a float.
                digest = hashlib.sha256(f"{origin.request} {origin.version} ".encode())
                digest.update(data)
                arrays[kind] = f"{prefix}/{kind}-{digest.hexdigest()[:16]}.npz"
                if put:
                    put.result()
                put = pool.submit(self.bucket.create, arrays[kind], data, "application/x-npz", {})
            records = encode_lines(predictions)
            if put:
                put.result()
        result = {
            "count": len(predictions),
            "model": {"name": origin.model, "version": origin.version},
            "engine": origin.engine,
            **origin.extra,
        }
        keys = {f"{kind}_key": key for kind, key in arrays.items()}
        commit = commit_key(origin.id)
        metadata = {"request": origin.request, "result": msgspec.json.encode(result | keys).decode()}
        if not self.bucket.create(commit, records, "application/gzip", metadata):
            first = self.find(origin.id, origin.request)
            if first is None:
                raise Unavailable(
                    f"{commit} was removed meanwhile, or the function's role may not read it; try again"
                )
            return first
        return {"s3_bucket": self.bucket.name, "s3_key": commit, **keys, **result}


def commit_key(name: str) -> str:
    """Return the key of the records of a result."""
    return f"{PREFIX}/{name}/predictions.jsonl.gz"


def encode_lines(predictions: Sequence[Prediction]) -> bytes:
    """Encode the records as gzipped JSON lines; the same records give the same bytes."""
    import zlib

    encode = msgspec.json.Encoder().encode_lines
    compressor = zlib.compressobj(LEVEL, wbits=16 + zlib.MAX_WBITS)  # with gzip's header, without a date
    parts = [
        compressor.compress(encode([prediction.record for prediction in predictions[start : start + BATCH]]))
        for start in range(0, len(predictions), BATCH)
    ]
    return b"".join([*parts, compressor.flush()])


def encode_npz(kind: str, predictions: Sequence[Prediction]) -> bytes:
    """Encode all arrays of a kind as one npz file, without numpy.

    It holds ``values``, all numbers flat in C order, and ``index`` (int32), a row an array: the
    item's number, the array's number within the item, then the array's shape. The index lies column
    by column (``fortran_order``), where the numbers repeat, in less than half the bytes. The format
    is numpy's own (numpy.lib.format); the same arrays give the same bytes. The archive's comment is
    the arrays' path as JSON, with null for the array's number; it has none if there are several.
    """
    import io
    import struct
    import zipfile

    groups = [prediction.arrays.get(kind, ()) for prediction in predictions]
    arrays = [array for group in groups for array in group]

    _, descr, itemsize = DTYPES[arrays[0].dtype]
    rows, rank = len(arrays), len(arrays[0].shape)
    # Numbers alone: a tuple an array would have the garbage collector look through everything there is.
    index = [item for item, group in enumerate(groups) for _ in group]
    index += [number for group in groups for number in range(len(group))]
    index += [array.shape[axis] for axis in range(rank) for array in arrays]
    count = sum(len(array.data) for array in arrays) // itemsize
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        paths = {_generalise(array.path, number) for group in groups for number, array in enumerate(group)}
        if len(paths) == 1:
            archive.comment = msgspec.json.encode(paths.pop())
        for name, header, parts in (
            ("values", encode_header(descr, (count,)), (array.data for array in arrays)),
            (
                "index",
                encode_header("<i4", (rows, 2 + rank), by_column=True),
                [struct.pack(f"<{len(index)}i", *index)],
            ),
        ):
            entry = zipfile.ZipInfo(f"{name}.npy")  # with a fixed date
            entry.compress_type = zipfile.ZIP_DEFLATED  # arrays of one item share most of their rows
            with archive.open(entry, "w", force_zip64=True) as member:
                member.write(header)
                for chunk in _join_chunks(parts):
                    member.write(chunk)
    return file.getvalue()


def _generalise(path: tuple[str | int, ...], number: int) -> tuple[str | int | None, ...]:
    """Return a path with None in the place of the array's number."""
    return tuple(None if step == number and isinstance(step, int) else step for step in path)


def _join_chunks(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Join parts to chunks: a call of zlib for each part takes longer than the copies."""
    batch, size = [], 0
    for part in parts:
        batch.append(part)
        size += len(part)
        if size >= CHUNK:
            yield b"".join(batch)
            batch, size = [], 0
    yield b"".join(batch)


def encode_header(descr: str, shape: tuple[int, ...], *, by_column: bool = False) -> bytes:
    """Return the header of npy format 1.0 (numpy.lib.format)."""
    text = f"{{'descr': '{descr}', 'fortran_order': {by_column}, 'shape': {shape}, }}"
    padding = -(10 + len(text) + 1) % 64
    header = text.encode() + b" " * padding + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
