"""A smoke prediction: a whole function answers events, with its model in memory instead of in S3."""

import json
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

from in_memory import Context, list_keys, set_up_function

ROOT = Path(__file__).resolve().parents[2]


def answer(
    events: list[str],
    model: str = "",
    prepared: str = "",
    engine: str = "",
    precisions: list[str] | None = None,
) -> list[Any]:
    """Return the function's answers to events: results inline, and the keys of those in the store.

    Args:
        events: files or folders, from the project's root.
        model: the model's folder, from the project's root.
        prepared: folder of a model that was made for this, in place of ``model``.
        engine: the function's ENGINE (default: the model's).
        precisions: of the model; the first one answers all events, the others the first event (default: the
            model's).

    """
    folder = Path(prepared) if prepared else ROOT / model
    description = folder / "model.toml"
    table = tomllib.loads(description.read_text(encoding="utf-8")) if description.exists() else {}
    names = table.get("files") or sorted(path.name for path in folder.iterdir())
    files = {name: (folder / name).read_bytes() for name in names}
    first, *others = precisions or [table["precision"]]
    results = set_up_function(engine or table["engine"], files, first)
    import app

    requests = [
        json.loads(path.read_text(encoding="utf-8")) for name in events for path in _find_events(ROOT / name)
    ]
    answers: list[Any] = []
    output, sys.stdout = sys.stdout, sys.stderr  # keeps the function's log out of the answer
    try:
        answers += [_remove_variation(app.lambda_handler(request, Context())) for request in requests]
        answers += [
            _predict(app.lambda_handler.predictor_type, files, precision, requests[0]) for precision in others
        ]
    finally:
        sys.stdout = output
    return [*answers, [_remove_digest(key) for key in list_keys(results)]]


def _predict(predictor_type: Any, files: dict[str, bytes], precision: str, payload: Any) -> list[Any]:
    """Return the predictor's records for a request, with the model in another precision."""
    from lambda_inference import Deadline, Manifest, Model
    from lambda_inference._requests import parse

    manifest = Manifest(name="smoke", engine="smoke", precision=precision, libraries={}, files=[])
    predictor = predictor_type()
    predictor.load(Model(manifest, "smoke", {name: memoryview(data) for name, data in files.items()}))
    request = parse(payload, predictor_type.Request)
    return [prediction.record for prediction in predictor.predict(request, Deadline.after(3600))]


def _find_events(path: Path) -> list[Path]:
    return [event for event in sorted(path.rglob("*.json")) if ".answer" not in event.name] or [path]


def _remove_variation(answer: Any) -> Any:
    """Return an answer without its timings and digests, which differ between runs and processors."""
    body = answer.get("body")
    if isinstance(body, str):
        return {**answer, "body": _remove_variation({"body": json.loads(body)})["body"]}
    kept = {key: value for key, value in body.items() if key != "timings_ms"}
    return {
        **answer,
        "body": {
            key: _remove_digest(value) if key.endswith("_key") else value for key, value in kept.items()
        },
    }


def _remove_digest(key: str) -> str:
    """Return a key without the digest of numbers whose last digits depend on the processor."""
    return re.sub(r"-[0-9a-f]{16}\.npz$", ".npz", key)
