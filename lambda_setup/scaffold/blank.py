"""A new function around a network in a well-known form: no code of another function comes along."""

import json
import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

from lambda_setup.functions import ROOT
from lambda_setup.output import status
from lambda_setup.scaffold.files import Files, list_files
from lambda_setup.scaffold.places import Places
from lambda_setup.scaffold.template import plan_deployment
from layer.builder import build
from layer.builder import recipe as recipes
from layer.builder.wheels import draft

CODE = Path(__file__).with_name("code")
"""A folder for each task: its predictor, its ``show.py`` and its example event."""
SHARED = {"onnx": (), "table": (), "torch": ()}
"""Tasks that do without the module ``network.py`` of the others."""
PARTS = {"torch": ("torch",), "onnx": ("onnxruntime",), "table": ("onnxruntime",)}
"""Parts of a task's recipe, where they are not those of a network with a tokenizer."""
_ARRAYS: dict[str, tuple[str, ...]] = {
    "embedding": ("vector",),
    "answers": (),
    "classification": (),
    "entailment": (),
    "pairs": (),
    "table": (),
    "tokens": (),
}
"""Tasks with an example event, each with the kinds of arrays in its answer."""
_TEXT_PARTS = ("onnxruntime", "tokenizers")
_TARGETS = ROOT / "layer" / "recipes" / "inference"
_PINNED_BY_HAND = """\
# Put another library that the function imports into requirements, pinned: requirements = ["NAME==VERSION"].
"""
_RESOLVED = f"""\
# {draft.REQUIREMENTS} beside what the parts pin; `python -m layer pin` renews its pins.
requirements = []
"""
_LONGEST = 100_000
"""Characters of an event that has a line for each of its values."""
TARGETS = ("host", "python3.13-arm64", "python3.13-x86_64")


def plan(places: Places, task: str, source: str, requirements: Path | None = None) -> Files:
    """Return the files of a function for a task, but for those of its model.

    Args:
        places: where they go.
        task: a folder of ``CODE``.
        source: what the function was made from, for its README.
        requirements: a file of packages to resolve beside those of the task.

    Raises:
        LayerError: there is no such file, or no wheels for it.

    """
    files: Files = {}
    for path in [*list_files(CODE / task), *([] if task in SHARED else list_files(CODE / "shared"))]:
        if path.suffix == ".py":
            files[places.code / path.name] = path
    files |= plan_deployment(places)
    files[places.code / "README.md"] = f"# {places.name}\n\n{source}\n"
    parts = PARTS.get(task, _TEXT_PARTS)
    recipe = _format_recipe(places, parts, _RESOLVED if requirements else _PINNED_BY_HAND)
    if requirements:
        recipe = _resolve(recipe, requirements)
        files[places.recipe / draft.REQUIREMENTS] = requirements
    files[places.recipe / recipes.FILE] = recipe
    for target in TARGETS:
        files[places.recipe / target / "Makefile"] = _TARGETS / target / "Makefile"
    if task in _ARRAYS:
        files |= plan_event(places, read_event(task), _ARRAYS[task])
    return files


def plan_event(places: Places, event: dict[str, Any], arrays: Collection[str]) -> Files:
    """Return the files of an example event and its answer, as ``invoke --record`` writes it."""
    stored = "prediction_outputs/<request id>"
    body = {
        "s3_bucket": "results",
        "s3_key": f"{stored}/predictions.jsonl.gz",
        **{f"{kind}_key": f"{stored}/{kind}-<digest>.npz" for kind in arrays},
        "count": len(event["data"]),
        "model": {"name": places.model_name, "version": "<sha256>"},
        "engine": places.name,
        "timings_ms": {"predict": "<number>", "store": "<number>"},
    }
    path = places.code / "events" / "event.json"
    return {
        path: _format(event),
        path.with_suffix(".answer.json"): _format({"statusCode": 200, "body": body}),
    }


def _format(value: Any) -> str:
    text = json.dumps(value, indent=2, ensure_ascii=False)
    # An image of numbers would have a line for each of them.
    return (text if len(text) < _LONGEST else json.dumps(value, ensure_ascii=False)) + "\n"


def read_event(task: str) -> dict[str, Any]:
    """Return a task's example event."""
    event: dict[str, Any] = json.loads((CODE / task / "event.json").read_text(encoding="utf-8"))
    return event


def _resolve(recipe: str, requirements: Path) -> str:
    """Return a recipe's text with what a requirements file adds to it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / recipes.FILE
        path.write_text(recipe, encoding="utf-8")
        return draft.extend(recipes.load(str(path)), requirements, build.WORK / "wheels", status)


def _format_recipe(places: Places, parts: tuple[str, ...], head: str) -> str:
    """Return the text of a recipe, whose smoke prediction answers the function's own events."""
    code, inference = places.code.relative_to(ROOT), "layer/python/lambda_inference"
    included = ", ".join(f'"{part}"' for part in parts)
    return f"""\
{head}base_layer = "inference"
include = [{included}]

# The function answers its events, with its model in memory.
[smoke]
script = "../function_smoke.py"
code = ["{code}", "{inference}", "layer/recipes/parts/smoke"]
function = ["{code}", "{inference}"]
inputs = ["{places.model.relative_to(ROOT)}/model.toml"]
arguments.model = "{places.model.relative_to(ROOT)}"
arguments.events = ["{code}/events"]
"""
