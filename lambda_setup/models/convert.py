"""Models converted for another engine than they were trained for, by the converters of the functions."""

from pathlib import Path
from typing import Any

import msgspec
import tomlkit

from lambda_inference import Fault
from lambda_inference._models import TABLES
from lambda_setup.errors import CommandError
from lambda_setup.functions import load_modules
from lambda_setup.models.describe import HOOKS, PublishedManifest

QUANTIZATIONS = ("float32", "int8")


def convert(folder: Path, source: PublishedManifest, target: Path, engine: str, quantization: str) -> None:
    """Write a converted model, with its ``model.toml``, into an empty folder.

    The converters are those in ``CONVERTERS`` of each function's ``publishing.py``; CommandError if none
    fits. Conversion is deterministic, so the same model gives the same version. A float32 conversion keeps
    the smoke request, whose answer is the same with every engine. An int8 conversion drops it, because its
    answers differ a little, also between processors; such a model is only loaded before it is promoted.
    """
    converters: dict[tuple[str, str], Any] = {}
    for hooks in load_modules(HOOKS):
        converters |= getattr(hooks, "CONVERTERS", {})
    if (source.engine, engine) not in converters:
        known = ", ".join(f"{before} to {after}" for before, after in converters)
        raise CommandError(
            f"{source.name} is made for {source.engine}; cannot convert it for {engine}, only {known}"
        )
    try:
        precision, libraries = converters[source.engine, engine](folder, source, target, quantization)
    except (ValueError, Fault) as error:
        raise CommandError(str(error)) from error
    description: dict[str, Any] = {
        "name": source.name,
        "engine": engine,
        "precision": precision,
        "files": sorted(path.name for path in target.iterdir()),
        "card": f"{source.name} {source.version}, converted",
        "libraries": {**source.libraries, **libraries},
        **{name: table for name in TABLES if (table := getattr(source, name))},
    }
    if quantization == "float32" and source.smoke:
        description["smoke"] = msgspec.to_builtins(source.smoke)
    (target / "model.toml").write_text(tomlkit.dumps(description), encoding="utf-8")
