"""Corpora: files of lines in S3, cut into shards of whole lines."""

import hashlib
import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from lambda_inference._shards import MAX_BYTES, MAX_LINES
from lambda_inference.inputs import PREFIX
from lambda_setup.batch.formats import open_content, recognize
from lambda_setup.errors import CommandError
from lambda_setup.output import transfer

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

BLOCK = 8 << 20  # bytes read at once
_WINDOW, _SAMPLE_LINES = 1 << 14, 64  # bytes and lines of each part of a sample


@dataclass(frozen=True)
class Corpus:
    """A corpus in a bucket; its identity is its sha256, or its ETag where somebody else put it there."""

    client: "S3Client"
    bucket: str
    key: str
    size: int
    identity: str
    content: Path | bytes | None  # on this machine, if it is to be uploaded
    format: str = "text"  # or "jsonl"

    def open(self) -> IO[bytes]:
        """Return its bytes as a stream."""
        if self.content is not None:
            return open_content(self.content)
        return self.client.get_object(Bucket=self.bucket, Key=self.key, IfMatch=self.identity)["Body"]  # type: ignore[return-value]


def find(client: "S3Client", bucket: str, text: str, form: str | None = None, account: str = "") -> Corpus:
    """Return the corpus that an argument of the command line names: a file, or an object in the bucket.

    Args:
        client: of S3.
        bucket: the result bucket.
        text: the argument.
        form: ``text`` or ``jsonl``; None lets the name and the content say it.
        account: ``--region`` and ``--profile`` for a command that an error prints.

    """
    if Path(text).suffix in {".gz", ".bz2", ".xz", ".zst", ".zip"}:
        raise CommandError(f"{text} is compressed, and ranges of it cannot be read; decompress it first")
    if text.startswith("s3://"):
        owner, _, key = text.removeprefix("s3://").partition("/")
        if owner != bucket or not key.startswith(PREFIX):
            raise CommandError(
                f"the function reads corpora below s3://{bucket}/{PREFIX}; copy it there first: "
                f"aws s3 cp {text} s3://{bucket}/{PREFIX}{account}"
            )
        head = client.head_object(Bucket=bucket, Key=key)
        corpus = Corpus(client, bucket, key, head["ContentLength"], head["ETag"], None)
    else:
        path = Path(text)
        corpus = Corpus(client, bucket, "", path.stat().st_size, "", path)
    if not corpus.size:
        raise CommandError(f"{text} is empty")
    found = recognize(text, corpus.open, corpus.size, form)
    if isinstance(found, bytes):
        corpus = replace(corpus, content=found, size=len(found))
        found = "jsonl"
    if corpus.content is None:
        return replace(corpus, format=found)
    with corpus.open() as file, transfer("reading the corpus", corpus.size) as progress:
        digest = hashlib.sha256()
        while block := file.read(BLOCK):
            digest.update(block)
            progress(len(block))
    name = f"{PREFIX}corpora/{digest.hexdigest()}.{'txt' if found == 'text' else found}"
    return replace(corpus, key=name, identity=digest.hexdigest(), format=found)


def upload(corpus: Corpus) -> bool:
    """Put a corpus into its bucket unless it is there, and return whether it was uploaded."""
    from botocore.exceptions import ClientError

    if corpus.content is None:
        return False
    try:
        if corpus.client.head_object(Bucket=corpus.bucket, Key=corpus.key)["ContentLength"] == corpus.size:
            renew(corpus.client, corpus.bucket, corpus.key)
            return False
    except ClientError as error:
        if error.response["Error"]["Code"] not in {"404", "403"}:
            raise
    with corpus.open() as file, transfer("uploading the corpus", corpus.size) as progress:
        options = {"ChecksumAlgorithm": "SHA256"}
        corpus.client.upload_fileobj(file, corpus.bucket, corpus.key, options, progress)
    return True


def renew(client: "S3Client", bucket: str, key: str, age: timedelta = timedelta(days=1)) -> bool:
    """Copy an object of a certain age onto itself, so that its bucket does not delete it while it is used.

    Returns whether it was copied: a bucket's lifecycle counts from the last write.
    """
    head = client.head_object(Bucket=bucket, Key=key)
    if datetime.now(UTC) - head["LastModified"] < age:
        return False
    kept = {"Metadata": head["Metadata"], "ContentType": head["ContentType"]}
    source = {"Bucket": bucket, "Key": key}
    client.copy(source, bucket, key, ExtraArgs={**kept, "MetadataDirective": "REPLACE"})  # type: ignore[arg-type]
    return True


def sample(corpus: Corpus) -> list[dict[str, Any]]:
    """Return small ranges of whole lines from the start, the middle and the end of a corpus."""
    sources = []
    for offset in sorted({0, corpus.size // 2, max(corpus.size - _WINDOW, 0)}):
        part = f"bytes={offset}-{min(offset + 4 * _WINDOW, corpus.size) - 1}"
        data = corpus.client.get_object(Bucket=corpus.bucket, Key=corpus.key, Range=part)["Body"].read()
        start = data.find(b"\n") + 1 if offset else 0
        if offset and not start:
            continue
        end = start
        for _ in range(_SAMPLE_LINES):
            following = data.find(b"\n", end) + 1
            if not following or (following - start > _WINDOW and end > start):
                break
            end = following
        if end == start and offset + len(data) == corpus.size:
            end = len(data)  # its last line has no line feed
        if end > start:
            span = {"start": offset + start, "end": offset + end}
            sources.append({"key": corpus.key, "format": corpus.format, **span})
    return sources


def cut(
    corpus: Corpus, digest: str, most_bytes: int, most_lines: int, progress: Callable[[int], None]
) -> Iterator[dict[str, Any]]:
    """Yield the index's entries: shards of whole lines, each with its request's id and its sha256.

    Ids begin with ``digest``, which is of everything that decides the answers. Only a shard of one line may
    have more than ``most_bytes``; ``progress`` is called with the bytes of each block.
    """
    most_bytes, most_lines = min(most_bytes, MAX_BYTES), min(most_lines, MAX_LINES)
    start, rest = 0, b""
    with corpus.open() as stream:
        for block in itertools.chain(iter(lambda: stream.read(BLOCK), b""), [b""]):
            data, begin = rest + block, 0
            while begin < len(data):
                end = _find_end(data, begin, most_bytes, most_lines)
                if end is None and block:
                    break  # the shard may go on in the next block
                end = end or len(data)
                if end - begin > MAX_BYTES:
                    raise CommandError(f"the line at byte {start:,} is longer than {MAX_BYTES:,} bytes")
                view = data[begin:end]
                yield {
                    "id": f"{digest}-{start}-{start + len(view)}",
                    "lines": view.count(b"\n") + (not view.endswith(b"\n")),
                    "source": {
                        "key": corpus.key,
                        "format": corpus.format,
                        "start": start,
                        "end": start + len(view),
                        "sha256": hashlib.sha256(view).hexdigest(),
                    },
                }
                start, begin = start + len(view), end
            rest = data[begin:]
            progress(len(block))


def _find_end(data: bytes, start: int, most_bytes: int, most_lines: int) -> int | None:
    """Return the end of the shard that begins at ``start``, None if it may lie behind the data."""
    limit = data.rfind(b"\n", start, start + most_bytes) + 1
    if not limit:  # its first line is longer than a shard should be, or the block ends before it does
        return data.find(b"\n", start) + 1 or None
    lines = data.count(b"\n", start, limit)
    if lines > most_lines:
        limit = start
        for _ in range(most_lines):
            limit = data.index(b"\n", limit) + 1
        return limit
    return limit if lines == most_lines or len(data) - start >= most_bytes else None


def encode_index(entries: Iterator[dict[str, Any]]) -> bytes:
    """Return an index as Step Functions reads it: one JSON list."""
    return b"[" + b",\n".join(json.dumps(entry).encode() for entry in entries) + b"]\n"
