"""The time of unpacking a nested layer: layer.tar.zst against a zip and ``extractall``.

Run: ``make bench ROW=layer.unpack``. Each repetition is a fresh interpreter, timed from before its imports
until all files are written; the two take turns, on one core and on two, on the same disk and with both
archives in the page cache. What was written is compared with the tree.

What was written is emptied after each repetition, and removed only after the last: ext4 looks through
everything that was deleted in the last minutes when it makes a file, which no cold start meets. For
the same reason the bench first waits until that is over.
"""

import collections
import filecmp
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.baselines import nested_zip
from bench.row import AS_FAST, ROOT, Row, measures, ratio, scratch_folder
from lambda_inference._unpack import unpack
from layer.builder import build
from layer.builder.pack.layer import MARKER
from layer.builder.recipe import load
from layer.builder.target import HOST, get_target

REPETITIONS = 7
PATIENCE = 600  # seconds
BUSY = 100e-6  # seconds for an empty file; a quiet ext4 takes a third of it

# With: cores, the archive, its index's hash, the folder to write to. The folder of a module is last on
# the path, where it hides nothing.
PROGRAMS = {
    "ours": """
import _unpack
from pathlib import Path
_unpack.unpack(Path(archive), index, temporary=Path(folder))
""",
    "extractall": """
import nested_zip
from pathlib import Path
nested_zip.extract(Path(archive), Path(folder, "requirements"))
""",
}
FOLDERS = {"ours": ROOT / "layer" / "python" / "lambda_inference", "extractall": ROOT / "bench" / "baselines"}
FRAME = """
import os, sys, time
place, cores, archive, index, folder = sys.argv[1:]
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-int(cores):])
sys.path.append(place)
start = time.perf_counter()
{program}
print(time.perf_counter() - start)
"""


def time_unpacking(kind: str, cores: int, archive_file: Path, index: str, folder: Path) -> float:
    """Return how long a fresh interpreter takes to write an archive's files into a folder."""
    code = FRAME.format(program=PROGRAMS[kind])
    arguments = [FOLDERS[kind], str(cores), archive_file, index, folder]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True, check=True
    )
    return float(done.stdout)


def files(tree: Path) -> list[Path]:
    """Return a tree's files, relative to it."""
    return sorted(path.relative_to(tree) for path in tree.rglob("*") if path.is_file())


def compare(tree: Path, written: Path) -> None:
    """Stop if what was written is not the tree."""
    names = files(tree)
    _, different, failed = filecmp.cmpfiles(tree, written, names, shallow=False)
    if different or failed or files(written) != names:
        sys.exit(f"what was written to {written} is not {tree}: {[*different, *failed][:5]}")


def wait_for_quiet(scratch: Path) -> None:
    """Wait until files are made as fast as in a folder in which nothing was deleted lately."""
    begin = time.monotonic()
    for attempt in range(PATIENCE):
        folder = scratch / f"quiet-{attempt}"
        folder.mkdir()
        start = time.perf_counter()
        for number in range(200):
            (folder / str(number)).touch()
        if time.perf_counter() - start < 200 * BUSY or time.monotonic() - begin > PATIENCE:
            return
        print(f"files were deleted in {scratch.parent} lately; waiting until that is over", flush=True)
        time.sleep(20)


def unpack_layer(layer: Path, scratch: Path) -> tuple[Path, str, Path]:
    """Return the archive of a nested layer's ``python`` folder, its index's hash, and the unpacked tree."""
    marker = json.loads((layer / MARKER).read_text())["archive"]
    archive = layer / marker["file"]
    return archive, marker["index"], unpack(archive, marker["index"], temporary=scratch).folder


def measure(
    tree: Path, archives: dict[str, Path], index: str, scratch: Path, repetitions: int, cores: Sequence[int]
) -> dict[tuple[str, int], list[float]]:
    """Return the seconds of each kind on each number of cores."""
    runs = collections.deque((kind, number) for number in cores for kind in archives)
    times: dict[tuple[str, int], list[float]] = {run: [] for run in runs}
    for repetition in range(repetitions):
        for kind, number in runs:
            folder = scratch / f"{kind}-{number}-{repetition}"
            folder.mkdir()
            archives[kind].read_bytes()
            os.sync()
            times[kind, number].append(time_unpacking(kind, number, archives[kind], index, folder))
            (written,) = folder.iterdir()
            if not repetition:
                compare(tree, written)
            for name in files(written):
                os.truncate(written / name, 0)
        runs.rotate()
    return times


def build_nested_layer() -> Path:
    """Return the ``python`` folder of a nested layer for this machine, built if need be.

    It is beside the one that the tests use, for what was asked of a build is among its inputs.
    """
    recipe, target = load("opennmt"), get_target(HOST)
    out = build.default_out(recipe, target).with_name("opennmt-host-nested")
    job = build.Job(recipe, target, out, strategy="nested")
    build.build(job, print)
    return job.out / "layer" / "python"


@measures("layer.unpack", "layer.unpack_two_cores")
def measure_unpacking() -> Iterator[Row]:
    """Compare unpacking of the layer's tree with ``extractall`` of the same."""
    with scratch_folder() as scratch:
        archive, index, tree = unpack_layer(build_nested_layer(), scratch)
        archives = {"ours": archive, "extractall": scratch / "requirements.zip"}
        nested_zip.pack(tree, archives["extractall"])
        times = measure(tree, archives, index, scratch, REPETITIONS, (1, 2))
    for name, cores, goal in (("layer.unpack", 1, 2.5), ("layer.unpack_two_cores", 2, 5.0)):
        yield Row(
            name=name,
            **ratio(times["extractall", cores], times["ours", cores]),
            better="higher",
            unit=AS_FAST,
            baseline="zipfile.extractall of the same tree, zipped (bench/baselines/nested_zip.py)",
            goal=goal,
            cause="of our processor time zstd takes 55 %, sha256 of every byte 11 % and writing the files "
            "26 %; on two cores only sharing without any loss would be twice as fast as on one",
        )
