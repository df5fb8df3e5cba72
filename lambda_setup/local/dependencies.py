"""The layers that the local function runs in: built as for Lambda, for this machine's Python."""

import sys
import tempfile
from pathlib import Path

from layer.build import Job, build, default_out
from layer.recipe import ROOT, load
from layer.target import named


def layers(engine: str) -> list[Path]:
    """Build an engine's layers unless they are there; return the folders that stand for ``/opt/python``."""
    recipe, target = load(engine), named("host")
    job = Job(recipe, target, default_out(recipe, target))
    if not job.out.exists():
        _say("building the layers that the function runs in, as for Lambda; about a minute, this once")
    build(job, _say)
    folders = [one.out / "layer" / "python" for one in (job, job.beside) if one]
    return [*folders, _own_code()]


def _own_code() -> Path:
    """Return a folder from which lambda_inference is imported, and none of its neighbours."""
    folder = ROOT / ".layers" / "code"
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / "lambda_inference"
    if not link.is_symlink():
        with tempfile.TemporaryDirectory(dir=folder) as name:
            made = Path(name) / "link"
            made.symlink_to(ROOT / "layer" / "lambda_inference")
            made.replace(link)
    return folder


def _say(message: str) -> None:
    print(f"· layer: {message}", file=sys.stderr, flush=True)
