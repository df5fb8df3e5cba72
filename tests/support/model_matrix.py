"""The models that are served: each architecture as several releases saved it, on both engines."""

from functools import cache
from pathlib import Path
from typing import Any

import engine_ctranslate2
import engine_opennmt
from lambda_inference import Model
from lambda_setup.errors import CommandError
from lambda_setup.models.convert import convert
from lambda_setup.models.describe import describe
from support import reference, tiny_models
from support.tiny_models import ARCHITECTURES, SENTENCES

ENGINES = {"opennmt": engine_opennmt, "ctranslate2": engine_ctranslate2}
SAVERS = {
    "3.0": lambda checkpoint, folder: tiny_models.save(tiny_models.age(checkpoint), folder),
    "3.5": tiny_models.save,
    "3.5, safetensors": tiny_models.save_safetensors,
}
NEWER = {
    "multi-query", "parallel residual", "rotary, RMSNorm, gated SiLU", "relative buckets", "grouped keys",
    "experts",
}  # fmt: skip
"""Architectures that releases 3.0 did not have."""
BEAM, N_BEST, TOLERANCE = 5, 3, 1e-4


@cache
def build(architecture: str) -> dict[str, Any]:
    """Return the checkpoint of an architecture."""
    return tiny_models.build(**ARCHITECTURES[architecture])


def expect(architecture: str, folder: Path) -> list[reference.Reference]:
    """Return what OpenNMT-py's own command answers, from today's checkpoint."""
    place = tiny_models.save(build(architecture), folder / "reference")
    return reference.translate(place / "model.pt", SENTENCES, BEAM, N_BEST, folder)


def try_cell(
    architecture: str, vintage: str, engine: str, folder: Path, expected: list[reference.Reference]
) -> str:
    """Return "equal", "differs", or the beginning of a refusal."""
    made = SAVERS[vintage](build(architecture) | {"opt": build(architecture)["opt"]}, folder / "saved")
    if engine == "ctranslate2":
        target = folder / "converted"
        target.mkdir()
        try:
            convert(made, describe(made), target, engine, "float32")
        except CommandError as error:
            return str(error).partition(";")[0]
        made = target
    manifest = describe(made)
    files = {file.name: memoryview((made / file.name).read_bytes()) for file in manifest.files}
    loaded = ENGINES[engine].load(Model(manifest, manifest.version, files), 1)
    found = loaded.translate(SENTENCES, BEAM, N_BEST, False, lambda: None)
    for best, right in zip(found, expected, strict=True):
        if [one.tokens for one in best] != [tokens for tokens, _ in right.hypotheses]:
            return "differs"
        pairs = zip(best, right.hypotheses, strict=True)
        if any(abs(one.score - score) > TOLERANCE for one, (_, score) in pairs):
            return "differs"
    return "equal"


def list_cells() -> list[tuple[str, str, str]]:
    """Return every architecture, vintage and engine."""
    return [
        (architecture, vintage, engine)
        for architecture in ARCHITECTURES
        for vintage in SAVERS
        for engine in ENGINES
        if not (vintage == "3.0" and architecture in NEWER)
    ]


def write_table(results: dict[tuple[str, str, str], str]) -> str:
    """Return the table of docs/how-to/models.md."""
    columns = [(vintage, engine) for engine in ENGINES for vintage in SAVERS]
    lines = [
        "| architecture | " + " | ".join(f"{engine}, {vintage}" for vintage, engine in columns) + " |",
        "|---" * (len(columns) + 1) + "|",
    ]
    for architecture in ARCHITECTURES:
        cells = [results.get((architecture, *column), "not in 3.0") for column in columns]
        lines.append(f"| {architecture} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
