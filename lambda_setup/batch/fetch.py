"""``batch fetch``: the answers to a corpus as one file, in its order, a block at a time."""

import argparse
import gzip
import io
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import IO, TYPE_CHECKING, Any, TypeVar

import msgspec

from lambda_inference._batches import manifest_key
from lambda_setup.deployment.batch_place import Store, store
from lambda_setup.output import status

if TYPE_CHECKING:
    from botocore.response import StreamingBody

T = TypeVar("T")
R = TypeVar("R")

_AHEAD = 8
"""Objects that are read before they are needed: each waits for S3 longer than it takes to come."""


def run(options: argparse.Namespace) -> int:
    """Join a run's answers; 0 if every line has one or an error of its own."""
    with store(options) as here:
        lines = _opened(here, manifest_key(options.run_name)).iter_lines()
        head = msgspec.json.decode(next(lines))
        partial = options.out.with_name(f".{options.out.name}.partial")
        with partial.open("wb") as out:
            count, failed = _join(here, lines, head, out)
        partial.replace(options.out)
    status(f"{count:,} lines, {failed:,} of them with an error, in {options.out}")
    return 1 if head["failed_ranges"] else 0


def _join(here: Store, entries: Iterator[bytes], head: dict[str, Any], out: IO[bytes]) -> tuple[int, int]:
    """Write every line's answer, and return how many lines there are and how many of them failed."""
    from rich.console import Console
    from rich.progress import Progress

    encode, decode = msgspec.json.Encoder().encode, msgspec.json.Decoder(dict[str, Any]).decode
    index = failed = 0
    with Progress(console=Console(stderr=True)) as progress, ThreadPoolExecutor(_AHEAD) as pool:
        task = progress.add_task("fetching", total=head["ranges"])
        for entry, data in _ahead(pool, lambda entry: _packed(here, entry), map(decode, entries)):
            for record in map(decode, _answers(here, entry, data)):
                failed += "error" in record
                out.write(encode({**record, "index": index}))
                out.write(b"\n")
                index += 1
            progress.advance(task)
    return index, failed


def _ahead(pool: ThreadPoolExecutor, work: Callable[[T], R], items: Iterable[T]) -> Iterator[tuple[T, R]]:
    """Yield items in order, each with what was made of it, a few of them beforehand."""
    waiting: deque[tuple[T, Future[R]]] = deque()
    for item in items:
        waiting.append((item, pool.submit(work, item)))
        if len(waiting) > _AHEAD:
            done, future = waiting.popleft()
            yield done, future.result()
    for done, future in waiting:
        yield done, future.result()


def _packed(here: Store, entry: dict[str, Any]) -> bytes:
    """Return the object with a range's answers, nothing for a range without."""
    if "error" in entry:
        return b""
    with closing(_opened(here, entry["s3_key"])) as body:
        return body.read()


def _answers(here: Store, entry: dict[str, Any], data: bytes) -> Iterator[bytes]:
    """Yield a range's lines, an error each where it was not answered."""
    if "error" in entry:
        yield from [msgspec.json.encode({"index": 0, "error": entry["error"]})] * entry["lines"]
        return
    count = 0
    for line in gzip.GzipFile(fileobj=io.BytesIO(data)):
        yield line
        count += 1
    if count != entry["count"]:
        raise RuntimeError(
            f"s3://{here.bucket}/{entry['s3_key']} has {count:,} lines, not {entry['count']:,}; "
            "remove it and run the batch again"
        )


def _opened(here: Store, key: str) -> "StreamingBody":
    """Return an object's bytes as a stream.

    Raises:
        RuntimeError: there is no such object.

    """
    if body := here.opened(key):
        return body
    raise RuntimeError(
        f"there is no s3://{here.bucket}/{key}: the run has not ended yet, or its results have expired; "
        "a run under another name answers again what is missing"
    )
