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
PACKAGES = ("transformers==5.24.0", "ctranslate2==4.8.5", "sentencepiece==0.2.3", "numpy==2.4.6")
CPU_INDEX = "https://download.pytorch.org/whl/cpu"


def make_environment(cache: Path = CACHE) -> Path:
    """Return the Python with the converter's packages; CommandError if pip cannot install them.

    An environment of the same packages is used again. It appears under its name only once it is complete.
    """
    pins = " ".join((sys.version.partition(" ")[0], TORCH, *PACKAGES))
    folder = cache / f"transformers-{hashlib.sha256(pins.encode()).hexdigest()[:12]}"
    python = folder / "bin" / "python"
    if python.exists():
        return python
    status(f"making an environment with {PACKAGES[0]}, about 1.2 GB; this happens once")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="partial-", dir=cache) as name:
        partial = Path(name) / "environment"
        run_command([sys.executable, "-m", "venv", str(partial)])
        # By `python -m`, which does not mind that the folder is renamed.
        pip = [str(partial / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        pip.append("--disable-pip-version-check")
        status(f"[1/2] {TORCH}")
        try:
            run_command([*pip, TORCH])
        except CommandError:
            run_command([*pip, TORCH, "--index-url", CPU_INDEX])
        status(f"[2/2] {', '.join(PACKAGES)}")
        run_command([*pip, *PACKAGES])
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
