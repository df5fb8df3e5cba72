"""``batch fetch``: the answers to a corpus as one file, in its order, a block at a time."""

import gzip
import io
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import msgspec

from lambda_inference._batches import manifest_key
from lambda_setup.batch.store import ResultBucket
from lambda_setup.errors import CommandError
from lambda_setup.output import status

if TYPE_CHECKING:
    from botocore.response import StreamingBody

_AHEAD = 8
"""Objects to read ahead: the latency of S3 is longer than their transfer."""


def fetch(bucket: ResultBucket, name: str, out: Path) -> bool:
    """Join a run's answers into a file, and return whether every line has one or an error of its own."""
    lines = _open(bucket, manifest_key(name)).iter_lines()
    head = msgspec.json.decode(next(lines))
    partial = out.with_name(f".{out.name}.partial")
    with partial.open("wb") as file:
        count, failed = _join(bucket, lines, head, file)
    partial.replace(out)
    status(f"{count:,} lines, {failed:,} of them with an error, in {out}")
    return not head["failed_ranges"]


def _join(
    bucket: ResultBucket, entries: Iterator[bytes], head: dict[str, Any], out: IO[bytes]
) -> tuple[int, int]:
    """Write every line's answer, and return the numbers of lines and of those that failed."""
    from rich.console import Console
    from rich.progress import Progress

    encode, decode = msgspec.json.Encoder().encode, msgspec.json.Decoder(dict[str, Any]).decode
    index = failed = 0
    with Progress(console=Console(stderr=True)) as progress, ThreadPoolExecutor(_AHEAD) as pool:
        task = progress.add_task("fetching", total=head["ranges"])
        for entry, data in _read_ahead(pool, bucket, map(decode, entries)):
            for record in map(decode, _split(bucket, entry, data)):
                failed += "error" in record
                out.write(encode({**record, "index": index}))
                out.write(b"\n")
                index += 1
            progress.advance(task)
    return index, failed


def _read_ahead(
    pool: ThreadPoolExecutor, bucket: ResultBucket, entries: Iterable[dict[str, Any]]
) -> Iterator[tuple[dict[str, Any], bytes]]:
    """Yield entries in order, each with its answers, which are read a few entries ahead."""
    waiting: deque[tuple[dict[str, Any], Future[bytes]]] = deque()
    for entry in entries:
        waiting.append((entry, pool.submit(_read, bucket, entry)))
        if len(waiting) > _AHEAD:
            done, future = waiting.popleft()
            yield done, future.result()
    for done, future in waiting:
        yield done, future.result()


def _read(bucket: ResultBucket, entry: dict[str, Any]) -> bytes:
    """Return the object with a shard's answers, nothing for a shard that failed."""
    if "error" in entry:
        return b""
    with closing(_open(bucket, entry["s3_key"])) as body:
        return body.read()


def _split(bucket: ResultBucket, entry: dict[str, Any], data: bytes) -> Iterator[bytes]:
    """Yield a shard's lines, an error each if it failed."""
    if "error" in entry:
        yield from [msgspec.json.encode({"index": 0, "error": entry["error"]})] * entry["lines"]
        return
    count = 0
    for line in gzip.GzipFile(fileobj=io.BytesIO(data)):
        yield line
        count += 1
    if count != entry["count"]:
        raise CommandError(
            f"s3://{bucket.name}/{entry['s3_key']} has {count:,} lines, not {entry['count']:,}; "
            "remove it and run the batch again"
        )


def _open(bucket: ResultBucket, key: str) -> "StreamingBody":
    """Return an object's bytes as a stream; CommandError if there is no such object."""
    if body := bucket.open(key):
        return body
    raise CommandError(
        f"there is no s3://{bucket.name}/{key}: the run has not ended yet, or its results have expired; "
        "a run under another name answers what is missing"
    )
