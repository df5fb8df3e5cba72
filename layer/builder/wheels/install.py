"""Wheels: fetched once into a local folder, each checked against its lock, and installed from there."""

import hashlib
import importlib.util
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from layer.builder.errors import CudaBuildError, ResolveError
from layer.builder.report.facts import InstalledWheel
from layer.builder.target import Target
from layer.builder.wheels.lock import Lock
from layer.builder.wheels.resolve import Pip, Wheel, pip

Say = Callable[[str], None]


def fetch(lock: Lock, target: Target, cpu_index: str, cache: Path, say: Say, run: Pip = pip) -> int:
    """Bring a lock's wheels into the cache, and return how many were not there.

    Raises:
        ResolveError: pip found no file with a wheel's hash, also not on the index of CPU builds.

    """
    missing = [wheel for wheel in lock.wheels if not _place(cache, wheel).is_file()]
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
            if not cpu_index:
                raise _advised(error, lock) from None
            try:
                run([*command, "--extra-index-url", cpu_index])
            except ResolveError:
                raise _advised(error, lock) from None
        for wheel in missing:
            place = _place(cache, wheel)
            place.parent.mkdir(parents=True, exist_ok=True)
            (Path(folder) / wheel.file).rename(place)
    return len(missing)


def install(lock: Lock, target: Target, cache: Path, tree: Path, run: Pip = pip) -> None:
    """Install a lock's wheels from the cache into a folder, every file checked against its hash.

    Raises:
        CudaBuildError: a wheel brought CUDA without having said so.

    """
    with tempfile.TemporaryDirectory() as folder:
        pins = Path(folder) / "requirements.txt"
        pins.write_text(
            "".join(
                f"{_place(cache, wheel).resolve().as_uri()} --hash=sha256:{wheel.sha256}\n"
                for wheel in lock.wheels
            )
        )
        try:
            run(
                ["install", "--quiet", "--no-deps", "--no-compile", "--no-index", "--require-hashes",
                 "--target", str(tree), *target.pip_options(), "-r", str(pins)]
            )  # fmt: skip
        except ResolveError:
            _discard_damaged(lock, cache)
            raise
    shutil.rmtree(tree / "bin", ignore_errors=True)  # console scripts hold a path of this machine
    if cuda := sorted(path.name for path in tree.rglob("libtorch_cuda*.so")):
        raise CudaBuildError(f"the wheels brought {', '.join(cuda)}, which needs a GPU; pin a CPU build")


def have_tool(module: str, pin: str, folder: Path, run: Pip = pip) -> None:
    """Make a module that the builder needs importable: from where it is, or installed into a folder."""
    if importlib.util.find_spec(module):
        return
    if not (folder / module).is_dir():
        run(["install", "--quiet", "--no-deps", "--only-binary=:all:", "--target", str(folder), pin])
    sys.path.append(str(folder))
    importlib.invalidate_caches()


def facts(lock: Lock, cache: Path) -> list[InstalledWheel]:
    """Return what a layer is made from, for its report."""
    return [
        InstalledWheel(wheel.name, wheel.version, wheel.file, _place(cache, wheel).stat().st_size)
        for wheel in lock.wheels
    ]


def _place(cache: Path, wheel: Wheel) -> Path:
    return cache / wheel.sha256[:16] / wheel.file


def _discard_damaged(lock: Lock, cache: Path) -> None:
    """Remove what is not what it was fetched as, so that the next build fetches it again."""
    for wheel in lock.wheels:
        place = _place(cache, wheel)
        if place.is_file():
            with place.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != wheel.sha256:
                    place.unlink()


def _advised(error: ResolveError, lock: Lock) -> ResolveError:
    return ResolveError(
        f"{error}\nIf the files have changed where pip looks, lock them anew: remove {lock.path.name} "
        "beside the recipe, and build again"
    )
