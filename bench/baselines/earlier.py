"""Earlier commits, as they were: their code, and their layers built by their own builder.

They are kept below ``.layers`` between runs. Where the history is missing, as in a download without it, there
is nothing to compare with.
"""

import os
import subprocess
import sys
from pathlib import Path

from bench.row import ROOT
from layer.builder.build import WORK

RELEASE = "d9c8673"
"""The release before split libraries and late imports: torch is unpacked at a start."""
EAGER = "95c18ff^"
"""The commit before torch's imports were made late; its layers are split already."""


def checkout(commit: str) -> Path | None:
    """Return a folder with a commit's files, None where the history does not have it."""
    named = subprocess.run(
        ["git", "rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}"],  # noqa: S607
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if named.returncode:
        return None
    folder = WORK / f"earlier-{named.stdout[:12]}"
    if not (folder / "template.yaml").exists():
        folder.mkdir(parents=True, exist_ok=True)
        archive = subprocess.Popen(
            ["git", "archive", named.stdout.strip()],  # noqa: S607
            cwd=ROOT,
            stdout=subprocess.PIPE,
        )
        subprocess.run(["tar", "-x", "-C", folder], stdin=archive.stdout, check=True)  # noqa: S607
        if archive.wait():
            raise RuntimeError(f"git archive ended with {archive.returncode}")
    return folder


def build(folder: Path, recipe: str, *options: str) -> Path:
    """Return the ``python`` folder of a recipe's layer for this machine, as that commit builds it."""
    out = folder / ".layers" / "-".join([recipe, "host", *(one.strip("-") for one in options)])
    layer = out / "layer" / "python"
    if not layer.exists():
        subprocess.run(
            [sys.executable, "-m", "layer", "build", recipe, *options, "--out", out],
            cwd=folder,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join([str(folder), str(folder / "layer" / "python")]),
            },
            check=True,
            stdout=sys.stderr,
        )
    return layer


def find_package(folder: Path) -> Path:
    """Return the folder that holds the package lambda_inference and nothing else."""
    (found,) = folder.glob("layer/**/lambda_inference/__init__.py")
    return found.parent
