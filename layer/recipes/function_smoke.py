"""A smoke prediction: a whole function answers events, with its model in memory instead of in S3."""

import json
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

from in_memory import Context, function_of, stored

ROOT = Path(__file__).resolve().parents[2]


def answer(
    engine: str, events: list[str], precisions: list[str], model: str = "", prepared: str = ""
) -> list[Any]:
    """Return the function's answers to events: results inline, and results as they lie in the store.

    Args:
        engine: the function's ENGINE.
        events: files from the project's root, or folders of them.
        precisions: the model's, as its manifest says; what the events are answered in comes first.
        model: the model's folder, from the project's root.
        prepared: the same for a model that was made for this.

    """
    folder = Path(prepared) if prepared else ROOT / model
    table = folder / "model.toml"
    names = (
        tomllib.loads(table.read_text(encoding="utf-8"))["files"]
        if table.exists()
        else sorted(path.name for path in folder.iterdir())
    )
    files = {name: (folder / name).read_bytes() for name in names}
    results = function_of(engine, files, precisions[0])
    import app

    answers: list[Any] = []
    output, sys.stdout = sys.stdout, sys.stderr  # logs are no part of the answer
    try:
        for path in (one for name in events for one in _events(ROOT / name)):
            event = json.loads(path.read_text(encoding="utf-8"))
            answers.append(_stable(app.lambda_handler(event, Context())))
        answers += [_predicted(files, precision) for precision in precisions[1:]]
    finally:
        sys.stdout = output
    return [*answers, [_named(key) for key in stored(results)]]


def _predicted(files: dict[str, bytes], precision: str) -> list[Any]:
    """Return what the predictor makes of a sentence with a model of another precision."""
    from lambda_inference import Deadline, Manifest, Model
    from translator import TranslationRequest, Translator

    manifest = Manifest(name="smoke", engine="smoke", precision=precision, libraries={}, files=[])
    predictor = Translator()
    predictor.load(Model(manifest, "smoke", {name: memoryview(data) for name, data in files.items()}))
    request = TranslationRequest(data=["The table has been changed."], n_best=2)
    return [one.record for one in predictor.predict(request, Deadline.after(3600))]


def _events(path: Path) -> list[Path]:
    return [one for one in sorted(path.rglob("*.json")) if ".answer" not in one.name] or [path]


def _stable(answer: Any) -> Any:
    """Return an answer without what differs from one run to the next."""
    body = answer.get("body")
    if isinstance(body, str):
        return {**answer, "body": _stable({"body": json.loads(body)})["body"]}
    kept = {key: value for key, value in body.items() if key != "timings_ms"}
    return {
        **answer,
        "body": {key: _named(value) if key.endswith("_key") else value for key, value in kept.items()},
    }


def _named(key: str) -> str:
    """Return a key without the digest of numbers whose last digits are the processor's."""
    return re.sub(r"-[0-9a-f]{16}\.npz$", ".npz", key)
