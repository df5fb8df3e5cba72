"""``batch fetch``: the answers to a corpus as one file, in its order, a block at a time."""

import gzip
import io
import zlib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, nullcontext
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import msgspec

from lambda_inference import Array, Prediction
from lambda_inference._batches import manifest_key
from lambda_inference._inline import build_record
from lambda_inference.results import decode_arrays
from lambda_setup.batch.arrays import ArraysWriter
from lambda_setup.batch.parquet import ParquetWriter
from lambda_setup.batch.store import ResultBucket
from lambda_setup.errors import CommandError
from lambda_setup.output import status

if TYPE_CHECKING:
    from botocore.response import StreamingBody

_Files = tuple[bytes, Mapping[str, bytes]]
_AHEAD = 8
"""Objects to read ahead: the latency of S3 is longer than their transfer."""


def fetch(bucket: ResultBucket, name: str, out: Path, arrays: Path | None = None) -> bool:
    """Join a run's answers into a file, and return whether every line has one or an error of its own.

    Args:
        bucket: with the run's results.
        name: of the run.
        out: JSON lines to write.
        arrays: npz or Parquet to write the arrays into; without it they stand in the lines, as in an inline
            answer.

    Raises:
        CommandError: an object of the run is missing or damaged, so that a line or an array would be lost;
            or a Parquet file is asked for, and there is no pyarrow.

    """
    writes = ParquetWriter if arrays and arrays.suffix == ".parquet" else ArraysWriter
    opened = writes(arrays) if arrays else nullcontext()
    lines = _open(bucket, manifest_key(name)).iter_lines()
    head = msgspec.json.decode(next(lines))
    partial = out.with_name(f".{out.name}.partial")
    try:
        with opened as writer:
            with partial.open("wb") as file:
                count, failed = _join(bucket, lines, head, file, writer)
            kinds = writer.finish() if writer else {}
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)
    status(f"{count:,} lines, {failed:,} of them with an error, in {out}")
    if arrays:
        found = ", ".join(f"{number:,} of {kind}" for kind, number in kinds.items())
        status(f"arrays: {found or 'the run has none'}, in {arrays}")
    return not head["failed_ranges"]


def _join(
    bucket: ResultBucket,
    entries: Iterator[bytes],
    head: dict[str, Any],
    out: IO[bytes],
    writer: ArraysWriter | None,
) -> tuple[int, int]:
    """Write every line's answer, and return the numbers of lines and of those that failed."""
    from rich.console import Console
    from rich.progress import Progress

    encode, decode = msgspec.json.Encoder().encode, msgspec.json.Decoder(dict[str, Any]).decode
    index = failed = ranges = 0
    with Progress(console=Console(stderr=True)) as progress, ThreadPoolExecutor(_AHEAD) as pool:
        task = progress.add_task("fetching", total=head["ranges"])
        for entry, (data, files) in _read_ahead(pool, bucket, map(decode, entries)):
            arrays = _decode_arrays(bucket, entry, files)
            for place, record in enumerate(_split(bucket, entry, data)):
                failed += "error" in record
                own = {kind: found.pop(place) for kind, found in arrays.items() if place in found}
                if writer:
                    writer.add(index, own)
                else:
                    record = build_record(Prediction(record, own))  # noqa: PLW2901
                out.write(encode({**record, "index": index}))
                out.write(b"\n")
                index += 1
            if any(arrays.values()):
                raise _damage(bucket, entry["s3_key"], "arrays belong to no line")
            ranges += 1
            progress.advance(task)
        if ranges != head["ranges"]:
            key = manifest_key(head["run"])
            raise _damage(bucket, key, f"it has {ranges:,} ranges, not {head['ranges']:,}")
    return index, failed


def _read_ahead(
    pool: ThreadPoolExecutor, bucket: ResultBucket, entries: Iterable[dict[str, Any]]
) -> Iterator[tuple[dict[str, Any], _Files]]:
    """Yield entries in order, each with its files, which are read a few entries ahead."""
    waiting: deque[tuple[dict[str, Any], Future[_Files]]] = deque()
    for entry in entries:
        waiting.append((entry, pool.submit(_read, bucket, entry)))
        if len(waiting) > _AHEAD:
            done, future = waiting.popleft()
            yield done, future.result()
    for done, future in waiting:
        yield done, future.result()


def _read(bucket: ResultBucket, entry: dict[str, Any]) -> _Files:
    """Return a shard's records, and its arrays by the names of their keys; nothing for one that failed."""
    if "error" in entry:
        return b"", {}

    def read(key: str) -> bytes:
        with closing(_open(bucket, key)) as body:
            return body.read()

    kinds = (name for name in entry if name.endswith("_key") and name != "s3_key")
    return read(entry["s3_key"]), {name: read(entry[name]) for name in kinds}


def _decode_arrays(
    bucket: ResultBucket, entry: dict[str, Any], files: Mapping[str, bytes]
) -> dict[str, dict[int, list[Array]]]:
    """Return a shard's arrays by kind and line."""
    arrays = {}
    for name, data in files.items():
        try:
            arrays[name.removesuffix("_key")] = decode_arrays(data)
        except ValueError as error:
            raise _damage(bucket, entry[name], str(error)) from None
    return arrays


def _split(bucket: ResultBucket, entry: dict[str, Any], data: bytes) -> Iterator[dict[str, Any]]:
    """Yield the records of a shard's lines, an error each if it failed."""
    if "error" in entry:
        yield from [{"index": 0, "error": entry["error"]}] * entry["lines"]
        return
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    count = 0
    try:
        for line in gzip.GzipFile(fileobj=io.BytesIO(data)):
            yield decode(line)
            count += 1
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise _damage(bucket, entry["s3_key"], str(error)) from None
    if count != entry["count"]:
        raise _damage(bucket, entry["s3_key"], f"it has {count:,} lines, not {entry['count']:,}")


def _damage(bucket: ResultBucket, key: str, fault: str) -> CommandError:
    """Return the error of an object that is not what its run stored."""
    return CommandError(
        f"s3://{bucket.name}/{key} is damaged: {fault}; remove the result and run the batch again"
    )


def _open(bucket: ResultBucket, key: str) -> "StreamingBody":
    """Return an object's bytes as a stream; CommandError if there is no such object."""
    if body := bucket.open(key):
        return body
    raise CommandError(
        f"there is no s3://{bucket.name}/{key}: the run has not ended yet, or its results have expired; "
        "a run under another name answers what is missing"
    )
