"""A target's Python by uv, for machines without apt, such as macOS: python-build-standalone's, in a folder.

Python's bytecode is the same on every system and processor, so it compiles for Lambda anywhere; on Linux it
runs layers as well.
"""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from layer.builder.errors import InterpreterError
from layer.builder.target import Target


def is_used() -> bool:
    """Return whether uv is there, and Debian's tools are not."""
    return bool(shutil.which("uv")) and not shutil.which("apt-get")


def install(target: Target, cache: Path, say: Callable[[str], None]) -> None:
    """Let uv fetch the target's Python into the cache; nothing is installed outside of it."""
    say(f"fetching {target.runtime} by uv, some 30 MB")
    command = ["uv", "python", "install", "--no-bin", "--install-dir", str(cache / "uv"), target.python]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise InterpreterError(f"{' '.join(command)} failed:\n{done.stderr.strip()}")


def list_installed(target: Target, cache: Path) -> Iterator[Path]:
    """Yield the interpreters that uv fetched for a target."""
    folders = sorted((cache / "uv").glob(f"cpython-{target.python}.*/"))
    yield from (folder / "bin" / target.runtime for folder in folders)
