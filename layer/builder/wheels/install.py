"""Fetch wheels into a local cache, check each against its lock, and install them from there."""

import importlib.util
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from layer.builder.errors import CudaBuildError, ResolveError
from layer.builder.report.facts import InstalledWheel
from layer.builder.target import Target
from layer.builder.tree import file_sha256
from layer.builder.wheels.lock import Lock
from layer.builder.wheels.resolve import Pip, Wheel, run_pip

Say = Callable[[str], None]


def fetch(lock: Lock, target: Target, cpu_index: str, cache: Path, say: Say, run: Pip = run_pip) -> int:
    """Fetch a lock's wheels into the cache, if need be from the index of CPU builds; return how many."""
    missing = [wheel for wheel in lock.wheels if not _cache_path(cache, wheel).is_file()]
    if not missing:
        return 0
    say(f"fetching {len(missing)} wheels")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=cache) as folder:
        pins = Path(folder) / "requirements.txt"
        pins.write_text("".join(wheel.pin() + "\n" for wheel in missing))
        command = ["download", "--quiet", "--no-deps", "--require-hashes", "--dest", folder,
                   *target.pip_options(), "-r", str(pins)]  # fmt: skip
        try:
            run(command)
        except ResolveError as error:
            advised = ResolveError(
                f"{error}\nIf the index has other files now, lock again: remove {lock.path.name} "
                "from the recipe's folder, and build again"
            )
            if not cpu_index:
                raise advised from None
            try:
                run([*command, "--extra-index-url", cpu_index])
            except ResolveError:
                raise advised from None
        for wheel in missing:
            path = _cache_path(cache, wheel)
            path.parent.mkdir(parents=True, exist_ok=True)
            (Path(folder) / wheel.file).rename(path)
    return len(missing)


def install(lock: Lock, target: Target, cache: Path, tree: Path, run: Pip = run_pip) -> None:
    """Install a lock's wheels from the cache into a folder, every file checked against its hash.

    A wheel that contains CUDA libraries, which its metadata need not declare, is a CudaBuildError.
    """
    with tempfile.TemporaryDirectory() as folder:
        pins = Path(folder) / "requirements.txt"
        uris = [(_cache_path(cache, wheel).resolve().as_uri(), wheel.sha256) for wheel in lock.wheels]
        pins.write_text("".join(f"{uri} --hash=sha256:{sha256}\n" for uri, sha256 in uris))
        try:
            run(
                ["install", "--quiet", "--no-deps", "--no-compile", "--no-index", "--require-hashes",
                 "--target", str(tree), *target.pip_options(), "-r", str(pins)]
            )  # fmt: skip
        except ResolveError:
            _discard_damaged(lock, cache)
            raise
    shutil.rmtree(tree / "bin", ignore_errors=True)  # console scripts contain a path of this machine
    if cuda := sorted(path.name for path in tree.rglob("libtorch_cuda*.so")):
        raise CudaBuildError(f"the wheels contain {', '.join(cuda)}, which needs a GPU; pin a CPU build")


def ensure_tool(module: str, pin: str, folder: Path, run: Pip = run_pip) -> None:
    """Make a module importable: install it into a folder unless it is installed already."""
    if importlib.util.find_spec(module):
        return
    if not (folder / module).is_dir():
        run(["install", "--quiet", "--no-deps", "--only-binary=:all:", "--target", str(folder), pin])
    sys.path.append(str(folder))
    importlib.invalidate_caches()


def describe_wheels(lock: Lock, cache: Path) -> list[InstalledWheel]:
    """Return the wheels of a layer for its report."""
    return [
        InstalledWheel(wheel.name, wheel.version, wheel.file, _cache_path(cache, wheel).stat().st_size)
        for wheel in lock.wheels
    ]


def _cache_path(cache: Path, wheel: Wheel) -> Path:
    return cache / wheel.sha256[:16] / wheel.file


def _discard_damaged(lock: Lock, cache: Path) -> None:
    """Remove damaged wheels from the cache, so that the next build fetches them again."""
    for wheel in lock.wheels:
        path = _cache_path(cache, wheel)
        if path.is_file() and file_sha256(path) != wheel.sha256:
            path.unlink()
