"""A model loaded as its function would load it, before it is published."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from lambda_setup.deployment.local.layers import build_layers
from lambda_setup.errors import CommandError
from lambda_setup.functions import ROOT, for_engine
from lambda_setup.models.describe import PublishedManifest
from lambda_setup.output import status

_RUNNER = Path(__file__).with_name("load_runner.py")
_LAYER = ROOT / "layer" / "python"


def check(folder: Path, manifest: PublishedManifest) -> None:
    """Load a model by its function's code, in a process of its own.

    It runs with this environment's packages, or in the engine's layers if one is missing here. A package that
    is missing there, too, is the model's own, which another layer may hold.

    Raises:
        CommandError: the function would refuse the model; the message is the function's.

    """
    try:
        for_engine(manifest.engine)
    except CommandError as error:
        status(f"not loaded before publishing: {error}")
        return
    failure = _load(folder, manifest, [_LAYER], isolated=False)
    if failure and failure["missing"]:
        failure = _load(folder, manifest, build_layers(manifest.engine), isolated=True)
    if failure and failure["missing"]:
        status(f"not loaded before publishing: {failure['reason']}")
    elif failure:
        raise CommandError(f"{manifest.name} would not load, and nothing was uploaded: {failure['reason']}")


def _load(
    folder: Path, manifest: PublishedManifest, layers: list[Path], *, isolated: bool
) -> dict[str, Any] | None:
    """Return why a model does not load, or None if it does."""
    code = for_engine(manifest.engine).code
    with tempfile.TemporaryDirectory(prefix="loading-") as temporary:
        done = subprocess.run(
            [sys.executable, "-s", "-P", *(["-S"] if isolated else []), _RUNNER, folder],
            input=msgspec.json.encode(manifest),
            env={
                "PYTHONPATH": ":".join(map(str, [code, *layers])),
                "LD_LIBRARY_PATH": ":".join(str(layer.parent / "lib") for layer in layers),
                "ENGINE": manifest.engine,
                "TMPDIR": temporary,
            },
            capture_output=True,
            check=False,
        )
    lines = done.stdout.decode().splitlines()
    if done.returncode == 0:
        return None
    if lines and lines[-1].startswith('{"reason"'):
        failure: dict[str, Any] = json.loads(lines[-1])
        return failure
    last = (done.stderr.decode(errors="replace").strip().splitlines() or ["no message"])[-1]
    return {"reason": f"the process that loads it ended with {done.returncode}: {last}", "missing": False}
