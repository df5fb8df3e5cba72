"""From wheels to a layer's folder.

A layer is a folder ``python``, which Lambda puts at ``/opt/python``, with everything installed in
it, and ``layer_target.json``, which says what it was built for. It is there whole or not at all.
"""

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from layer.recipe import Recipe
from layer.resolve import CudaBuildError, Pip, Resolution, pip
from layer.target import Target

LIMIT = 262_144_000
"""Bytes that Lambda takes unzipped: the function and all its layers together."""

MARKER = "layer_target.json"

Say = Callable[[str], None]


class BuildError(RuntimeError):
    """A layer could not be built."""


def describe(recipe: Recipe, target: Target) -> dict[str, str]:
    """Return what a layer's marker says, for the function to compare with what it was deployed as."""
    return {
        "recipe": recipe.name,
        "engine": recipe.engine,
        "runtime": target.runtime,
        "architecture": target.architecture,
    }


def build(recipe: Recipe, target: Target, resolution: Resolution, out: Path, say: Say, run: Pip = pip) -> int:
    """Install the resolved wheels as a layer into ``out/python`` and return its size in bytes.

    Every file is checked against the hash that the resolution found.

    Raises:
        BuildError: something else is there already.
        CudaBuildError: a wheel brought CUDA without having said so.

    """
    final = out / "python"
    if final.exists() and not (final / MARKER).is_file():
        raise BuildError(f"{final} is there and no layer of ours; remove it, or build elsewhere")
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".layer-", dir=out) as folder:
        tree = Path(folder) / "python"
        pins = Path(folder) / "requirements.txt"
        pins.write_text("".join(wheel.pin() + "\n" for wheel in resolution.wheels))
        say(f"installing {len(resolution.wheels)} wheels for {target.name}")
        run(
            ["install", "--quiet", "--no-deps", "--no-compile", "--require-hashes", "--target", str(tree),
             *resolution.pip_options, "-r", str(pins)]
        )  # fmt: skip
        if cuda := sorted(path.name for path in tree.rglob("libtorch_cuda*.so")):
            raise CudaBuildError(f"the wheels brought {', '.join(cuda)}, which needs a GPU; pin a CPU build")
        (tree / MARKER).write_text(json.dumps(describe(recipe, target), indent=2) + "\n")
        if final.exists():
            shutil.rmtree(final)
        tree.rename(final)
    return size(final)


def size(folder: Path) -> int:
    """Return the bytes of all files in a folder, as Lambda counts them."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def verdict(total: int) -> str:
    """Return what a layer's size means for Lambda, in one sentence."""
    if total <= LIMIT:
        return f"{total:,} bytes of the {LIMIT:,} that Lambda takes for a function and its layers"
    return (
        f"WARNING: {total:,} bytes, and Lambda takes {LIMIT:,} for a function and all its layers; "
        "as it is, this layer cannot be deployed"
    )
