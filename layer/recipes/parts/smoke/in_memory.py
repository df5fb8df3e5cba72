"""Lambda's context, and buckets in memory instead of S3, for smoke predictions of whole functions."""

import hashlib
import json
import os
import traceback
from collections.abc import Mapping
from typing import Any


class Context:
    """The parts of Lambda's context that the handler reads."""

    aws_request_id = "smoke"

    @staticmethod
    def get_remaining_time_in_millis() -> int:
        """Return an hour: an emulated processor is slow."""
        return 3_600_000


def set_up_function(engine: str, files: Mapping[str, bytes], precision: str = "smoke") -> Any:
    """Set up a function's environment and its model, and return the result bucket."""
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
    from lambda_inference import _storage, _telemetry

    connect = _storage.Bucket._connect  # noqa: SLF001
    connect(_storage.Bucket("real"))  # imports everything that a real bucket needs
    from obstore.store import MemoryStore

    stores = {"models": MemoryStore(), "results": MemoryStore()}
    _storage.Bucket._connect = lambda bucket: stores[bucket.name]  # type: ignore[method-assign,assignment,return-value] # noqa: SLF001
    _publish(engine, files, precision, stores["models"])
    # The function's log never quotes a user's text; a build has to know which file is missing.
    _telemetry.log_failure = lambda error, **_: traceback.print_exception(error)  # type: ignore[assignment]
    return stores["results"]


def list_keys(store: Any) -> list[str]:
    """Return the keys of a bucket."""
    import obstore

    return sorted(one["path"] for batch in obstore.list(store) for one in batch)


def _publish(engine: str, contents: Mapping[str, bytes], precision: str, store: Any) -> None:
    import obstore
    from msgspec import json as msgjson

    from lambda_inference._models import PART_SIZE, File, Manifest

    files = []
    for name, data in contents.items():
        parts = [data[start : start + PART_SIZE] for start in range(0, len(data), PART_SIZE)]
        hashes = [hashlib.sha256(part).hexdigest() for part in parts]
        files.append(File(name, len(data), PART_SIZE, hashes))
    manifest = Manifest(name="smoke", engine=engine, precision=precision, libraries={}, files=files)
    prefix = f"models/smoke/versions/{manifest.version}"
    for name, data in contents.items():
        obstore.put(store, f"{prefix}/{name}", data)
    obstore.put(store, f"{prefix}/manifest.json", msgjson.encode(manifest))
    pointer = json.dumps({"version": manifest.version}).encode()
    obstore.put(store, "models/smoke/channels/dev.json", pointer)
