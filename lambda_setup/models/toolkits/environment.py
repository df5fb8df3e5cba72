"""The environment that a converter runs in: made on demand, beside the project's own."""

import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from lambda_setup.errors import CommandError
from lambda_setup.functions import ROOT
from lambda_setup.output import status

CACHE = ROOT / ".converters"
TORCH = "torch==2.13.0" + ("+cpu" if sys.platform == "linux" else "")
_CONVERTER = ("ctranslate2==4.8.5", "sentencepiece==0.2.3", "numpy==2.4.6")
PACKAGES = {
    # transformers reads SentencePiece models by protobuf, which sentencepiece does not declare.
    "transformers": ("transformers==5.24.0", *_CONVERTER, "protobuf==7.36.2"),
    "onnx": (
        "transformers==5.24.0", "onnx==1.22.0", "onnxruntime==1.27.0", "onnxscript==0.7.2",
        "tokenizers==0.23.3", "sentencepiece==0.2.3", "numpy==2.4.6",
    ),
    # What inference imports; eole names its servers', trainers' and scorers' packages, too.
    "eole": (
        "eole==0.6.4", *_CONVERTER, "pyonmttok==1.38.1", "subword-nmt==0.3.8", "safetensors==0.8.0",
        "pydantic==2.14.4", "PyYAML==6.0.4", "ConfigArgParse==1.9.0", "huggingface_hub==2.4.0",
        "regex==2026.11.19", "pillow==13.0.0", "rich==15.0.0", "six==1.17.0",
    ),
}  # fmt: skip
"""Of each toolkit's environment; the toolkit's own comes first."""
CPU_INDEX = "https://download.pytorch.org/whl/cpu"


def make_environment(toolkit: str, cache: Path = CACHE) -> Path:
    """Return the Python with a toolkit's packages; CommandError if pip cannot install them.

    An environment of the same packages is used again. It appears under its name only once it is complete.
    """
    first, *others = PACKAGES[toolkit]
    pins = " ".join((sys.version.partition(" ")[0], TORCH, first, *others))
    folder = cache / f"{toolkit}-{hashlib.sha256(pins.encode()).hexdigest()[:12]}"
    python = folder / "bin" / "python"
    if python.exists():
        return python
    status(f"making an environment with {first}, about 1.2 GB; this happens once")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="partial-", dir=cache) as name:
        partial = Path(name) / "environment"
        run_command([sys.executable, "-m", "venv", str(partial)])
        # By `python -m`, which does not mind that the folder is renamed.
        pip = [str(partial / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        # A conversion imports few of the modules; the others need no bytecode.
        pip += ["--disable-pip-version-check", "--no-compile"]
        status(f"[1/2] {TORCH}")
        try:
            run_command([*pip, TORCH])
        except CommandError:
            run_command([*pip, TORCH, "--index-url", CPU_INDEX])
        status(f"[2/2] {', '.join((first, *others))}")
        run_command([*pip, *others, *([] if toolkit == "eole" else [first])])
        if toolkit == "eole":
            run_command([*pip, "--no-deps", first])
        shutil.move(partial, folder)
    return python


def run_command(command: Sequence[str], data: bytes = b"") -> bytes:
    """Run a program with data on its standard input, and return its standard output.

    Raises:
        CommandError: it failed; the message ends with the last lines that it wrote.

    """
    done = subprocess.run(command, input=data, capture_output=True, check=False)
    if done.returncode:
        written = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
        raise CommandError(
            f"{Path(command[0]).name} {' '.join(command[1:3])} ended with {done.returncode}: "
            + (" / ".join(line.strip() for line in written[-3:]) or "no message")
        )
    return done.stdout
