"""A smoke prediction without a model: requests in, results out, an archive unpacked."""

import hashlib
import json
import os
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TEXT = "what every function does" * 100


class Context:
    """What Lambda hands to a handler, as far as ours asks."""

    aws_request_id = "smoke"

    @staticmethod
    def get_remaining_time_in_millis() -> int:
        """Return an hour: an emulated processor is slow."""
        return 3_600_000


def answer() -> list[Any]:
    """Return the answers to a good and a bad request, what lies in the store then, and an unpacked file."""
    os.environ |= {
        "AWS_ACCESS_KEY_ID": "none",
        "AWS_SECRET_ACCESS_KEY": "none",
        "AWS_REGION": "eu-central-1",
        "MODEL_BUCKET": "models",
        "MODEL_NAME": "smoke",
        "RESULT_BUCKET": "results",
    }
    from lambda_inference import Array, BaseRequest, Prediction, serve, storage, telemetry

    connect = storage.Bucket._connected  # noqa: SLF001
    connect(storage.Bucket("real"))  # it needs what a real bucket needs, up to the first request
    from obstore.store import MemoryStore

    stores = {"models": MemoryStore(), "results": MemoryStore()}
    storage.Bucket._connected = lambda bucket: stores[bucket.name]  # type: ignore[method-assign,assignment,return-value] # noqa: SLF001
    _publish(stores["models"])
    # The function's log says nothing that may quote a user's text; a build has to know what is missing.
    telemetry.failure = lambda error, **_: traceback.print_exception(error)  # type: ignore[assignment]

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
    return [*answers, _stored(stores["results"]), _unpacked()]


def _publish(store: Any) -> None:
    import obstore
    from msgspec import json as msgjson

    from lambda_inference.models import PART_SIZE, File, Manifest

    data = TEXT.encode()
    files = [File("model.txt", len(data), PART_SIZE, [hashlib.sha256(data).hexdigest()])]
    manifest = Manifest(name="smoke", engine="smoke", precision="smoke", libraries={}, files=files)
    prefix = f"models/smoke/versions/{manifest.version}"
    obstore.put(store, f"{prefix}/model.txt", data)
    obstore.put(store, f"{prefix}/manifest.json", msgjson.encode(manifest))
    pointer = json.dumps({"version": manifest.version}).encode()
    obstore.put(store, "models/smoke/channels/dev.json", pointer)


def _stored(store: Any) -> list[str]:
    import obstore

    return sorted(one["path"] for batch in obstore.list(store) for one in batch)


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
