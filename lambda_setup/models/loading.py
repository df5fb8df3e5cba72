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

    A package that is missing in the engine's layers, too, is the model's own, which another layer may hold.

    Raises:
        CommandError: the function would refuse the model; the message is the function's.

    """
    try:
        for_engine(manifest.engine)
    except CommandError as error:
        status(f"not loaded before publishing: {error}")
        return
    failure = run(_RUNNER, folder, manifest.engine, msgspec.json.encode(manifest))
    if failure.get("missing"):
        status(f"not loaded before publishing: {failure['reason']}")
    elif failure:
        raise CommandError(f"{manifest.name} would not load, and nothing was uploaded: {failure['reason']}")


def run(script: Path, folder: Path, engine: str, data: bytes) -> dict[str, Any]:
    """Run a script on a model's folder, with the code of an engine's function on its path.

    It runs with this environment's packages, or in the engine's layers if one is missing here.

    Args:
        script: takes the folder as argument and data on its standard input, and prints JSON in its last line:
            a result, or ``reason`` and whether a module is ``missing``.
        folder: the model's.
        engine: decides the function.
        data: what the script reads.

    """
    result = _run(script, folder, engine, data, [_LAYER], isolated=False)
    if result.get("missing"):
        result = _run(script, folder, engine, data, build_layers(engine), isolated=True)
    return result


def _run(
    script: Path, folder: Path, engine: str, data: bytes, layers: list[Path], *, isolated: bool
) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="loading-") as temporary:
        done = subprocess.run(
            [sys.executable, "-s", "-P", *(["-S"] if isolated else []), script, folder],
            input=data,
            env={
                "PYTHONPATH": ":".join(map(str, [for_engine(engine).code, *layers])),
                "LD_LIBRARY_PATH": ":".join(str(layer.parent / "lib") for layer in layers),
                "ENGINE": engine,
                "TMPDIR": temporary,
            },
            capture_output=True,
            check=False,
        )
    lines = done.stdout.decode().splitlines()
    if lines and lines[-1].startswith("{"):
        result: dict[str, Any] = json.loads(lines[-1])
        return result
    last = (done.stderr.decode(errors="replace").strip().splitlines() or ["no message"])[-1]
    return {"reason": f"the process that loads it ended with {done.returncode}: {last}", "missing": False}
