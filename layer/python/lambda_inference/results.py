"""Read results: the records and arrays that a function has stored in S3, or that ``invoke --out`` saved.

::

    for prediction in read_result("s3://BUCKET/prediction_outputs/ID/predictions.jsonl.gz"):
        print(prediction.record["index"], numpy.asarray(prediction.arrays["vector"][0]))
"""

import ast
import gzip
import io
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import msgspec

from lambda_inference._predictor import DTYPES, Array, Prediction

__all__ = ["decode_arrays", "decode_result", "read_result"]

_CODES = {spelling: code for code, (_, spelling, _) in DTYPES.items()}
_DAMAGES = (
    ArithmeticError, EOFError, LookupError, MemoryError, RuntimeError, SyntaxError, TypeError, ValueError,
    struct.error, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""What zipfile, zlib and the parsers of headers raise where a byte is another one."""
_PACKED = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
_FILE = re.compile(r"(.+)-[0-9a-f]{16}\.npz")
"""An npz of a result."""


def read_result(location: str | Path) -> list[Prediction]:
    """Return the predictions of a result in the order of its request, each with its arrays.

    Args:
        location: ``s3://BUCKET/KEY`` of its ``predictions.jsonl.gz``, or that file on this machine, or its
            folder, which holds one result.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is damaged, or its arrays are not all there.

    """
    if str(location).startswith("s3://"):
        return _read_stored(str(location))
    path = Path(location)
    path = path / "predictions.jsonl.gz" if path.is_dir() else path
    files = {
        match[1]: file.read_bytes() for file in path.parent.iterdir() if (match := _FILE.fullmatch(file.name))
    }
    return decode_result(path.read_bytes(), files)


def _read_stored(address: str) -> list[Prediction]:
    from lambda_inference._storage import get_bucket

    name, _, commit = address.removeprefix("s3://").partition("/")
    bucket = get_bucket(name)

    def fetch(key: str) -> bytes:
        if (data := bucket.find(key)) is None:
            raise FileNotFoundError(
                f"s3://{name}/{key} does not exist, or has expired; name a result by the s3_key of its answer"
            )
        return bytes(data)

    records = fetch(commit)
    body = msgspec.json.decode((bucket.find_metadata(commit) or {}).get("result", "{}"))
    return decode_result(
        records,
        {name.removesuffix("_key"): fetch(key) for name, key in body.items() if name.endswith("_key")},
    )


def decode_result(records: bytes, files: Mapping[str, bytes]) -> list[Prediction]:
    """Return the predictions of a result from its bytes.

    Args:
        records: ``predictions.jsonl.gz``.
        files: the npz of each kind of arrays.

    Raises:
        ValueError: one of them is damaged, or they do not belong together.

    """
    try:
        lines = gzip.decompress(records).split(b"\n")
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"these are not the records of a result ({error}); fetch the file again") from error
    predictions = [Prediction(msgspec.json.decode(line, type=dict[str, Any]), {}) for line in lines if line]
    for kind, data in files.items():
        for item, arrays in decode_arrays(data).items():
            if item >= len(predictions):
                raise ValueError(
                    f"{kind} has arrays of item {item}, and there are {len(predictions)} records"
                )
            predictions[item] = Prediction(
                predictions[item].record, {**predictions[item].arrays, kind: arrays}
            )
    return predictions


def decode_arrays(data: bytes) -> dict[int, list[Array]]:
    """Return the arrays of an npz by their items' positions, without numpy.

    Raises:
        ValueError: it is not a result's npz.

    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            # What unpacks other kinds raises errors of its own.
            if any(one.compress_type not in _PACKED for one in archive.infolist()):
                raise ValueError("it is packed otherwise")
            path = msgspec.json.decode(archive.comment or b"[]", type=list[str | int | None])
            dtype, _, values = _parse_npy(archive.read("values.npy"))
            _, (rows, columns), numbers = _parse_npy(archive.read("index.npy"))
        index = struct.unpack(f"<{rows * columns}i", numbers)
    except _DAMAGES as error:
        raise ValueError(f"these are not the arrays of a result ({error}); fetch the file again") from error
    arrays: dict[int, list[Array]] = {}
    start = 0
    for row in range(rows):
        item, number, *shape = index[row::rows]  # it lies column by column
        end = start + prod(shape) * DTYPES[dtype][2]
        place = tuple(number if step is None else step for step in path)
        arrays.setdefault(item, []).append(Array(values[start:end], dtype, tuple(shape), place))
        start = end
    if start != len(values):
        raise ValueError(
            f"these are not the arrays of a result: {len(values):,} bytes where its index says {start:,}; "
            "fetch the file again"
        )
    return arrays


def _parse_npy(data: bytes) -> tuple[Any, tuple[int, ...], bytes]:
    """Return the code of an npy's numbers, its shape, and its numbers (format 1.0 of numpy.lib.format)."""
    start = 10 + int.from_bytes(data[8:10], "little")
    header = ast.literal_eval(data[10:start].decode("latin-1"))
    return _CODES[header["descr"]], header["shape"], data[start:]
