"""A smoke prediction: a whole function answers events, with its model in memory instead of in S3."""

import hashlib
import json
import os
import sys
import tomllib
import traceback
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


class Context:
    """What Lambda hands to a handler, as far as ours asks."""

    aws_request_id = "smoke"
    function_name = "smoke"
    memory_limit_in_mb = 1769
    invoked_function_arn = "arn:aws:lambda:eu-central-1:123456789012:function:smoke"

    @staticmethod
    def get_remaining_time_in_millis() -> int:
        """Return an hour: an emulated processor is slow."""
        return 3_600_000


def answer(engine: str, model: str, events: list[str]) -> list[Any]:
    """Return the function's answers to events: results inline, and results as they lie in the store.

    Args:
        engine: the function's ENGINE.
        model: the model's folder, from the project's root.
        events: files, from the project's root.

    """
    os.environ |= {
        "AWS_ACCESS_KEY_ID": "none",
        "AWS_SECRET_ACCESS_KEY": "none",
        "AWS_REGION": "eu-central-1",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1769",
        "ENGINE": engine,
        "MODEL_BUCKET": "models",
        "MODEL_NAME": "smoke",
        "RESULT_BUCKET": "results",
    }
    from lambda_inference import storage

    connect = storage.Bucket._connected  # noqa: SLF001
    connect(storage.Bucket("real"))  # it needs what a real bucket needs, up to the first request
    from obstore.store import MemoryStore

    stores = {"models": MemoryStore(), "results": MemoryStore()}
    storage.Bucket._connected = lambda bucket: stores[bucket.name]  # type: ignore[method-assign,assignment,return-value] # noqa: SLF001
    _publish(ROOT / model, engine, stores["models"])
    import app
    from lambda_inference import telemetry

    # The function's log says nothing that may quote a user's text; a build has to know what is missing.
    telemetry.failure = lambda error, **_: traceback.print_exception(error)  # type: ignore[assignment]
    answers: list[Any] = []
    output, sys.stdout = sys.stdout, sys.stderr  # logs are no part of the answer
    try:
        for path in events:
            event = json.loads((ROOT / path).read_text(encoding="utf-8"))
            answers.append(_stable(app.lambda_handler(event, Context())))
    finally:
        sys.stdout = output
    return [*answers, _stored(stores["results"])]


def _publish(folder: Path, engine: str, store: Any) -> None:
    import obstore
    from msgspec import json as msgjson

    from lambda_inference.models import PART_SIZE, File, Manifest

    files = []
    description = folder / "model.toml"
    stated = tomllib.loads(description.read_text(encoding="utf-8"))["files"] if description.exists() else []
    contents = {
        path.name: path.read_bytes()
        for path in sorted(folder.iterdir())
        if path.name in stated or (not stated and path.suffix in {".model", ".bin", ".json", ".txt"})
    }
    for name, data in contents.items():
        parts = [data[start : start + PART_SIZE] for start in range(0, len(data), PART_SIZE)]
        hashes = [hashlib.sha256(part).hexdigest() for part in parts]
        files.append(File(name, len(data), PART_SIZE, hashes))
    manifest = Manifest(name="smoke", engine=engine, precision="smoke", libraries={}, files=files)
    prefix = f"models/smoke/versions/{manifest.version}"
    for name, data in contents.items():
        obstore.put(store, f"{prefix}/{name}", data)
    obstore.put(store, f"{prefix}/manifest.json", msgjson.encode(manifest))
    pointer = json.dumps({"version": manifest.version}).encode()
    obstore.put(store, "models/smoke/channels/dev.json", pointer)


def _stored(store: Any) -> list[str]:
    """Return the keys that the function wrote."""
    import obstore

    return sorted(one["path"] for batch in obstore.list(store) for one in batch)


def _stable(answer: Any) -> Any:
    """Return an answer without what differs from one run to the next."""
    body = answer.get("body")
    if isinstance(body, str):
        return {**answer, "body": _stable({"body": json.loads(body)})["body"]}
    return {**answer, "body": {key: value for key, value in body.items() if key != "timings_ms"}}
