"""``batch fetch``: the answers to a corpus as one file, in its order, a block at a time."""

import argparse
import gzip
from collections.abc import Iterator
from contextlib import closing
from typing import IO, Any

import msgspec

from lambda_inference.batches import manifest_key
from lambda_setup.batch.place import Store, store
from lambda_setup.invoke import say


def run(options: argparse.Namespace) -> int:
    """Join a run's answers; 0 if every line has one or an error of its own."""
    with store(options) as here:
        lines = _lines(here, manifest_key(options.run))
        head = msgspec.json.decode(next(lines))
        partial = options.out.with_name(f".{options.out.name}.partial")
        with partial.open("wb") as out:
            count, failed = _join(here, lines, head, out)
        partial.replace(options.out)
    say(f"{count:,} lines, {failed:,} of them with an error, in {options.out}")
    return 1 if head["failed_ranges"] else 0


def _join(here: Store, entries: Iterator[bytes], head: dict[str, Any], out: IO[bytes]) -> tuple[int, int]:
    """Write every line's answer, and return how many lines there are and how many of them failed."""
    from rich.console import Console
    from rich.progress import Progress

    encode, decode = msgspec.json.Encoder().encode, msgspec.json.Decoder(dict[str, Any]).decode
    index = failed = 0
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("fetching", total=head["ranges"])
        for line in entries:
            entry = decode(line)
            for record in map(decode, _answers(here, entry)):
                failed += "error" in record
                out.write(encode({**record, "index": index}))
                out.write(b"\n")
                index += 1
            progress.advance(task)
    return index, failed


def _answers(here: Store, entry: dict[str, Any]) -> Iterator[bytes]:
    """Yield a range's lines, an error each where it was not answered."""
    if "error" in entry:
        yield from [msgspec.json.encode({"index": 0, "error": entry["error"]})] * entry["lines"]
        return
    count = 0
    for line in _lines(here, entry["s3_key"]):
        yield line
        count += 1
    if count != entry["count"]:
        raise RuntimeError(
            f"s3://{here.bucket}/{entry['s3_key']} has {count:,} lines, not {entry['count']:,}; "
            "remove it and run the batch again"
        )


def _lines(here: Store, key: str) -> Iterator[bytes]:
    """Yield an object's lines, unpacking it as it comes.

    Raises:
        RuntimeError: there is no such object.

    """
    try:
        body = here.client.get_object(Bucket=here.bucket, Key=key)["Body"]
    except here.client.exceptions.NoSuchKey:
        raise RuntimeError(
            f"there is no s3://{here.bucket}/{key}: the run was not ended yet, or its results have expired"
        ) from None
    with closing(body):
        if key.endswith(".gz"):
            yield from gzip.GzipFile(fileobj=body)
        else:
            yield from body.iter_lines()
