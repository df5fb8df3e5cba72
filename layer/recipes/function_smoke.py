"""A smoke prediction: a whole function answers events, with its model in memory instead of in S3."""

import json
import sys
import tomllib
from pathlib import Path
from typing import Any

from in_memory import Context, function_of, stored

ROOT = Path(__file__).resolve().parents[2]


def answer(engine: str, model: str, events: list[str]) -> list[Any]:
    """Return the function's answers to events: results inline, and results as they lie in the store.

    Args:
        engine: the function's ENGINE.
        model: the model's folder, from the project's root.
        events: files, from the project's root.

    """
    folder = ROOT / model
    names = tomllib.loads((folder / "model.toml").read_text(encoding="utf-8"))["files"]
    results = function_of(engine, {name: (folder / name).read_bytes() for name in names})
    import app

    answers: list[Any] = []
    output, sys.stdout = sys.stdout, sys.stderr  # logs are no part of the answer
    try:
        for path in events:
            event = json.loads((ROOT / path).read_text(encoding="utf-8"))
            answers.append(_stable(app.lambda_handler(event, Context())))
    finally:
        sys.stdout = output
    return [*answers, stored(results)]


def _stable(answer: Any) -> Any:
    """Return an answer without what differs from one run to the next."""
    body = answer.get("body")
    if isinstance(body, str):
        return {**answer, "body": _stable({"body": json.loads(body)})["body"]}
    return {**answer, "body": {key: value for key, value in body.items() if key != "timings_ms"}}
