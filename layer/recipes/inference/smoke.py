"""A smoke prediction without a model: requests in, results out, an archive unpacked."""

import hashlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from in_memory import Context, function_of, stored

TEXT = "what every function does" * 100


def answer() -> list[Any]:
    """Return the answers to a good and a bad request, what lies in the store then, and an unpacked file."""
    results = function_of("smoke", {"model.txt": TEXT.encode()})
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
    return [*answers, stored(results), _unpacked()]


def _unpacked() -> str:
    """Pack a file as ``layer/archive.py`` does, and return what the unpacker makes of it."""
    import zstandard

    from lambda_inference import unpack

    data = TEXT.encode()
    frame = zstandard.ZstdCompressor().compress(data)
    index = json.dumps(
        {
            "version": unpack.VERSION,
            "bytes": len(data),
            "frames": [[0, len(frame), len(data), hashlib.sha256(frame).hexdigest()]],
            "files": [["text", len(data), 0]],
        }
    ).encode()
    length = len(index).to_bytes(4, "little")
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "layer.tar.zst"
        skipped = unpack.MAGIC + (len(index) + 8).to_bytes(4, "little") + index + length + unpack.TAG
        archive.write_bytes(frame + skipped)
        done = unpack.unpack(archive, hashlib.sha256(index).hexdigest(), temporary=Path(folder))
        return (done.folder / "text").read_text(encoding="utf-8")[:24]
