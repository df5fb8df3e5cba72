"""Layers of the local function, built as for Lambda but for this machine's Python."""

from pathlib import Path

from lambda_setup.output import status
from layer.builder.build import Job, build, default_out
from layer.builder.recipe import ROOT, load
from layer.builder.target import get_target


def build_layers(engine: str) -> list[Path]:
    """Build an engine's layers unless they exist, and return the folders that stand for ``/opt/python``."""
    recipe, target = load(engine), get_target("host")
    job = Job(recipe, target, default_out(recipe, target))
    if not job.out.exists():
        _report("building the layers that the function runs in, as for Lambda; about a minute, this once")
    build(job, _report)
    folders = [one.out / "layer" / "python" for one in (job, job.base) if one]
    return [*folders, ROOT / "layer" / "python"]


def _report(message: str) -> None:
    status(f"layer: {message}")
