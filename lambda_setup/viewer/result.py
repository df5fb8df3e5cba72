"""Results as they are stored: predictions as gzipped JSON lines, and files of arrays beside them."""

import base64
import contextlib
import functools
import gzip
import io
import json
import math
import re
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from lambda_inference._requests import ID_PATTERN
from lambda_inference._results import PREFIX
from lambda_setup.errors import CommandError
from lambda_setup.models.bucket import SHORT_VERSION

if TYPE_CHECKING:
    import numpy as np
    from mypy_boto3_s3 import S3Client

    Arrays = Mapping[str, list[np.ndarray[Any, Any]]]
    """An item's arrays, by kind."""

PREDICTIONS = "predictions.jsonl.gz"
_INLINE = {"dtype", "shape", "base64"}
"""Fields of an array in an inline answer whose request asked for base64."""
_SHOWN = 4
"""Numbers of an array that stand in a table."""
_PACKED = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
_RECORDS = "JSON lines", f"name a {PREDICTIONS}"
_DAMAGES = (
    ArithmeticError, AttributeError, EOFError, LookupError, MemoryError, RuntimeError, SyntaxError, TypeError,
    ValueError, gzip.BadGzipFile, tokenize.TokenError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""What gzip, zipfile, json and numpy raise for a file that is another one, or not whole.

numpy parses headers as Python, and hands out as bytes what has none.
"""


@contextlib.contextmanager
def _name_damage(location: str, expected: str, act: str) -> Iterator[None]:
    try:
        yield
    except CommandError:
        raise
    except _DAMAGES as error:
        raise CommandError(f"{location} is not {expected}, or not whole: {error}; {act}") from None


@dataclass(frozen=True)
class ArrayFile:
    """A file with a result's arrays of one kind."""

    kind: str  # such as ``attention``
    location: str  # path or address, for people
    open: Callable[[], IO[bytes]]  # returns the npz


@dataclass(frozen=True)
class Result:
    """The predictions of a request."""

    name: str  # the request's id, or the file's name
    location: str  # path or address of the predictions, for people
    records: list[dict[str, Any]]  # predictions in input order, errors in the places of those that failed
    array_files: list[ArrayFile]  # arrays that belong to the predictions
    facts: list[str]  # model, engine and times, for people
    folder: Path | None = None  # where it lies on this machine; None in S3

    def arrays(self) -> "dict[int, Arrays]":
        """Return the arrays of each item that has some."""
        arrays: dict[int, dict[str, list[Any]]] = {}
        for file in self.array_files:
            with _name_damage(file.location, "an npz of a result", "fetch it again"), file.open() as npz:
                for item, group in read_arrays(npz).items():
                    arrays.setdefault(item, {})[file.kind] = group
        return dict(arrays)


def is_error(record: Mapping[str, Any]) -> bool:
    """Return whether a record is an error in the place of a prediction."""
    error = record.get("error")
    return isinstance(error, dict) and "code" in error and "message" in error


def take_arrays(record: Mapping[str, Any]) -> "tuple[dict[str, Any], Arrays]":
    """Return a record of an inline answer without its arrays in base64, and these by kind."""
    arrays: dict[str, list[Any]] = {}

    def copy(value: Any) -> Any:
        match value:
            case dict():
                found = {name: _decode_inline(one) for name, one in value.items()}
                for name, group in found.items():
                    arrays.setdefault(name, []).extend(group)
                return {name: copy(one) for name, one in value.items() if not found[name]}
            case list():
                return [copy(one) for one in value]
        return value

    kept = copy(dict(record))
    return kept, {kind: group for kind, group in arrays.items() if group}


def _decode_inline(value: Any) -> "list[np.ndarray[Any, Any]]":
    """Return the arrays that a field of an inline answer holds, one or several; none of another field."""
    import numpy as np

    group = value if isinstance(value, list) else [value]
    if not all(isinstance(one, dict) and one.keys() == _INLINE for one in group):
        return []
    return [
        np.frombuffer(base64.b64decode(one["base64"]), np.dtype(one["dtype"]).newbyteorder("<")).reshape(
            one["shape"]
        )
        for one in group
    ]


def describe_arrays(arrays: "Arrays") -> dict[str, str]:
    """Return arrays as texts by kind: type, shape and the first numbers of each."""
    return {kind: "; ".join(map(_describe_array, group)) for kind, group in arrays.items()}


def _describe_array(array: "np.ndarray[Any, Any]") -> str:
    shape = " x ".join(map(str, array.shape))
    numbers = " ".join(f"{number:.4g}" for number in array.flat[:_SHOWN])
    return f"{array.dtype} {shape}: {numbers}{' …' if array.size > _SHOWN else ''}"


def find_results(path: Path) -> list[Path]:
    """Return the files of predictions below a folder, or the file itself."""
    if not path.exists():
        raise FileNotFoundError(
            f"{path} does not exist on this machine; for a result in S3 add --stack NAME or --local"
        )
    paths = [path] if path.is_file() else sorted(path.rglob(PREDICTIONS))
    if not paths:
        raise FileNotFoundError(
            f"no {PREDICTIONS} below {path}; save one with: python -m lambda_setup "
            f"invoke --event events/event.json --out {path}"
        )
    return paths


def result_key(name: str) -> str:
    """Return the S3 key of a result's predictions, named by the key, s3://BUCKET/KEY, or a request's id."""
    key = re.sub(r"\As3://[^/]*/", "", name)
    if re.search(ID_PATTERN, key):
        key = f"{PREFIX}/{key}"
    return key if key.endswith(".gz") else f"{key.rstrip('/')}/{PREDICTIONS}"


def load_saved(path: Path) -> Result:
    """Return a result on this machine: ``predictions.jsonl.gz`` with its arrays beside it, or JSON lines."""
    folder, complete = path.parent, path.name == PREDICTIONS
    files = [
        ArrayFile(file.stem.rpartition("-")[0], str(file), functools.partial(_open, file))
        for file in (sorted(folder.glob("*-*.npz")) if complete else [])
    ]
    name = folder.resolve().name if complete else path.name
    with _name_damage(str(path), *_RECORDS):
        records = list(read_records(path))
    return Result(name, str(path), records, files, [], folder)


def _open(path: Path) -> IO[bytes]:
    return path.open("rb")


def load_stored(client: "S3Client", bucket: str, key: str) -> Result:
    """Return a result in S3, with the arrays that its commit names."""
    try:
        response = client.get_object(Bucket=bucket, Key=key)
    except client.exceptions.NoSuchKey:
        raise FileNotFoundError(
            f"s3://{bucket}/{key} does not exist; name a result by the s3_key of the function's answer, or "
            "by its request's id. Old results are deleted, as the stack's ResultExpirationDays says"
        ) from None
    location = f"s3://{bucket}/{key}"
    with _name_damage(location, *_RECORDS):
        body = _parse_object(response["Metadata"].get("result", "{}"))
        lines = gzip.decompress(response["Body"].read()).split(b"\n")
        records = [_parse_object(line) for line in lines if line]

    def download(key: str) -> IO[bytes]:
        return io.BytesIO(client.get_object(Bucket=bucket, Key=key)["Body"].read())

    files = [
        ArrayFile(name.removesuffix("_key"), f"s3://{bucket}/{value}", functools.partial(download, value))
        for name, value in body.items()
        if name.endswith("_key")
    ]
    return Result(Path(key).parent.name or key, location, records, files, list_facts(body))


def list_facts(body: Mapping[str, Any]) -> list[str]:
    """Return the model, engine and times that an answer's body names, for people."""
    facts = []
    if "model" in body:
        facts.append(f"{body['model']['name']} {body['model']['version'][:SHORT_VERSION]}")
    if "engine" in body:
        facts.append(str(body["engine"]))
    times = body.get("timings_ms", {})
    return facts + [f"{name} {milliseconds / 1000:.2f} s" for name, milliseconds in times.items()]


def read_records(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the records of ``predictions.jsonl.gz``, or of JSON lines that are not compressed, in order."""
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as lines:
        yield from map(_parse_object, lines)


def _parse_object(text: str | bytes) -> dict[str, Any]:
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError("a line is not a JSON object")  # noqa: TRY004 - the text's fault, not its type's
    return found


def read_arrays(npz: Path | IO[bytes]) -> "dict[int, list[np.ndarray[Any, Any]]]":
    """Return the arrays of an npz by item, in their order within the item."""
    import numpy as np

    with np.load(npz, allow_pickle=False) as file:
        # What unpacks other kinds raises errors of its own.
        if any(one.compress_type not in _PACKED for one in file.zip.infolist()):
            raise ValueError("it is packed otherwise")
        index, values = file["index"], file["values"]  # each look-up reads the whole array
    arrays: dict[int, list[np.ndarray[Any, Any]]] = {}
    start = 0
    for item, _, *shape in index.tolist():
        end = start + math.prod(shape)
        arrays.setdefault(item, []).append(values[start:end].reshape(shape))
        start = end
    return arrays
