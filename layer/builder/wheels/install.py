"""Fetch wheels into a local cache, check each against its lock, and install them from there."""

import importlib.util
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from layer.builder.errors import CudaBuildError, ResolveError
from layer.builder.report.facts import InstalledWheel
from layer.builder.target import Target
from layer.builder.tree import file_sha256
from layer.builder.wheels import sdist
from layer.builder.wheels.lock import Lock
from layer.builder.wheels.tool import Pip, get_pip, run_pip
from layer.builder.wheels.wheel import Source, Wheel, cache_path

Say = Callable[[str], None]

_OTHER_FILES = re.compile("No matching distribution|DO NOT MATCH THE HASHES|Hashes are required")


def fetch(lock: Lock, target: Target, cpu_index: str, cache: Path, say: Say, run: Pip | None = None) -> int:
    """Fetch a lock's wheels into the cache, if need be from the index of CPU builds; return how many."""
    missing = [wheel for wheel in lock.wheels if not cache_path(cache, wheel).is_file()]
    if not missing:
        return 0
    run = run or get_pip(target)
    say(f"fetching {len(missing)} wheels")
    cache.mkdir(parents=True, exist_ok=True)
    for wheel in missing:
        if wheel.source:
            _build(wheel, wheel.source, lock, cache, run)
    if published := [wheel for wheel in missing if not wheel.source]:
        _download(published, lock, target, cpu_index, cache, run)
    return len(missing)


def _build(wheel: Wheel, source: Source, lock: Lock, cache: Path, run: Pip) -> None:
    """Build a wheel from its source distribution, and compare it with the one that is locked."""
    built = sdist.make(wheel.name, wheel.version, source, cache, run)
    if built.sha256 != wheel.sha256:
        raise ResolveError(
            f"{source.file} builds another wheel here (sha256 {built.sha256}) than the one that is locked: "
            "its build depends on the machine or on newer build tools. If you trust it, lock again: remove "
            f"{lock.path} and build again"
        )


def _download(
    missing: Sequence[Wheel], lock: Lock, target: Target, cpu_index: str, cache: Path, run: Pip
) -> None:
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=cache) as folder:
        pins = Path(folder) / "requirements.txt"
        pins.write_text("".join(wheel.pin() + "\n" for wheel in missing))
        command = ["download", "--quiet", "--no-deps", "--require-hashes", "--dest", folder,
                   *target.pip_options(), "-r", str(pins)]  # fmt: skip
        try:
            run(command)
        except ResolveError as error:
            advised = _advise(error, lock)
            if not cpu_index:
                raise advised from None
            try:
                run([*command, "--extra-index-url", cpu_index])
            except ResolveError:
                raise advised from None
        for wheel in missing:
            path = cache_path(cache, wheel)
            path.parent.mkdir(parents=True, exist_ok=True)
            (Path(folder) / wheel.file).rename(path)


def _advise(error: ResolveError, lock: Lock) -> ResolveError:
    """Return an error with the advice to lock again, where other files are why."""
    if not _OTHER_FILES.search(str(error)):
        return error
    return ResolveError(
        f"{error}\nIf the index has other files now, lock again: remove {lock.path.name} "
        "from the recipe's folder, and build again"
    )


def install(lock: Lock, target: Target, cache: Path, tree: Path, run: Pip | None = None) -> None:
    """Install a lock's wheels from the cache into a folder, every file checked against its hash.

    A wheel that contains CUDA libraries, which its metadata need not declare, is a CudaBuildError.
    """
    run = run or get_pip(target)
    with tempfile.TemporaryDirectory() as folder:
        pins = Path(folder) / "requirements.txt"
        uris = [(cache_path(cache, wheel).resolve().as_uri(), wheel.sha256) for wheel in lock.wheels]
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
        InstalledWheel(wheel.name, wheel.version, wheel.file, cache_path(cache, wheel).stat().st_size)
        for wheel in lock.wheels
    ]


def _discard_damaged(lock: Lock, cache: Path) -> None:
    """Remove damaged wheels from the cache, so that the next build fetches them again."""
    for wheel in lock.wheels:
        path = cache_path(cache, wheel)
        if path.is_file() and file_sha256(path) != wheel.sha256:
            path.unlink()
