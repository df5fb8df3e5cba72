"""A smoke prediction without a model: requests in, results out, a queue, a corpus, an archive unpacked."""

import hashlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from in_memory import Context, list_keys, set_up_function

TEXT = "what every function does" * 100


def answer() -> list[Any]:
    """Return the answers to requests of every kind, what lies in the store then, and an unpacked file."""
    results = set_up_function("smoke", {"model.txt": TEXT.encode()})
    from lambda_inference import Array, BaseRequest, Prediction, serve

    class EchoRequest(BaseRequest, kw_only=True):
        data: list[str]

    class Echo:
        Request = EchoRequest

        def load(self, model: Any) -> None:
            self.size = len(model.only(".txt"))

        def predict(self, request: Any, _: Any) -> Iterator[Any]:
            for text in request.data:
                yield Prediction({"text": text}, {"sizes": [Array(bytes(4), "f", (1,))]})

    handler = serve(Echo)  # type: ignore[arg-type]
    answers = [
        handler({"data": ["one", "two"], "result": "inline"}, Context()),
        handler({"data": ["one", "two"]}, Context()),
        handler({"data": 5}, Context()),
    ]
    for one in answers:
        one["body"].pop("timings_ms", None)
    answers += [_queued(handler), *_corpus(handler, results)]
    return [*answers, list_keys(results), _unpack_nested()]


def _queued(handler: Any) -> Any:
    """Send two messages, as a queue does, one of them bad."""
    bodies = {"m-1": '{"data": ["one"]}', "m-2": '{"data": 5}'}
    messages = [{"messageId": name, "body": body, "eventSource": "aws:sqs"} for name, body in bodies.items()]
    return handler({"Records": messages}, Context())


def _corpus(handler: Any, store: Any) -> Iterator[Any]:
    """Have two lines of a corpus answered, then the manifest written."""
    import obstore

    corpus = b"one\ntwo\n"
    source = {"key": "inputs/c.txt", "start": 0, "end": 8, "sha256": hashlib.sha256(corpus).hexdigest()}
    index = [{"id": "lines", "lines": 2, "source": source}]
    obstore.put(store, "inputs/c.txt", corpus)
    obstore.put(store, "inputs/i.json", json.dumps(index).encode())
    for _ in range(2):
        answer = handler({"attempt": 0, "request": {"id": "lines", "source": source}}, Context())
        yield [answer["body"]["count"], answer["body"]["failed"]]
    batch = {"run": "run", "index": "inputs/i.json", "request": {}, "corpus": {}}
    yield handler({"manifest": batch}, Context())["body"]["done"]


def _unpack_nested() -> str:
    """Pack a file as ``layer/archive.py`` does, and return what the unpacker makes of it."""
    import zstandard

    from lambda_inference import _unpack

    data = TEXT.encode()
    frame = zstandard.ZstdCompressor().compress(data)
    index = json.dumps(
        {
            "version": _unpack.VERSION,
            "bytes": len(data),
            "frames": [[0, len(frame), len(data), hashlib.sha256(frame).hexdigest()]],
            "files": [["text", len(data), 0]],
        }
    ).encode()
    length = len(index).to_bytes(4, "little")
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "layer.tar.zst"
        skipped = _unpack.MAGIC + (len(index) + 8).to_bytes(4, "little") + index + length + _unpack.TAG
        archive.write_bytes(frame + skipped)
        done = _unpack.unpack(archive, hashlib.sha256(index).hexdigest(), temporary=Path(folder))
        return (done.folder / "text").read_text(encoding="utf-8")[:24]
