"""Sizes and cold starts of a function's packages: as installed, as everyone slims them, and as built here.

Run: ``.venv/bin/python -m bench.areas.layers``. Everything is made from the same locked wheels and runs on
the same disk, on all cores. Each cold start is a fresh interpreter, from before its first import: the
packages are unpacked, the function's code is imported, and it answers its first event, one sentence, with the
shipped model in memory. The kinds take turns. What is compared with 1.05 is import and answer alone.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.areas.unpack import build_nested_layer, unpack_layer
from bench.baselines import nested_zip
from bench.row import OF_TIME, ROOT, Row, make_size_row, measures, ratio, scratch_folder
from layer.builder import build, tree
from layer.builder.recipe import load
from layer.builder.slim import patch
from layer.builder.target import HOST, get_target
from layer.builder.wheels import install as wheels
from layer.builder.wheels import lock

REPETITIONS = 9
EVENT = {"data": ["The table has been changed."], "result": "inline"}

COLD_START = """
import sys, time
start = time.perf_counter()
unpacked, packed, index, folder, *path = sys.argv[1:]
sys.path[:0] = path
if unpacked == "ours":
    import _unpack
    from pathlib import Path
    sys.path.append(str(_unpack.unpack(Path(packed), index, temporary=Path(folder)).folder))
elif unpacked == "extractall":
    import nested_zip
    from pathlib import Path
    nested_zip.extract(Path(packed), Path(folder, "requirements"))
else:
    sys.path.append(packed)
ready = time.perf_counter()
import function_smoke
(answer, _) = function_smoke.answer(
    engine="opennmt", events=[sys.argv[4] + "/event.json"], precisions=["float16"], model="models/en-es"
)
assert answer["statusCode"] == 200, answer
print(ready - start, time.perf_counter() - ready)
"""


def install(scratch: Path, name: str = "opennmt") -> Path:
    """Return a recipe's locked wheels as pip installs them, with the fixes without which they do not run."""
    recipe, target, cache = load(name), get_target(HOST), build.WORK / "wheels"
    wheel_lock = lock.read(recipe, target) or lock.make(recipe, target, cache)
    wheels.fetch(wheel_lock, target, recipe.cpu_index, cache, print)
    wheels.install(wheel_lock, target, cache, scratch / "installed")
    patch.apply(scratch / "installed", recipe.patches, "fix")
    compile_all(scratch / "installed", "timestamp")
    return scratch / "installed"


def compile_all(folder: Path, mode: str) -> None:
    """Byte-compile, as pip does."""
    command = [sys.executable, "-m", "compileall", "-q", "-j0", "--invalidation-mode", mode, str(folder)]
    subprocess.run(command, check=False, stdout=subprocess.DEVNULL)  # some packages ship templates as .py


def restore_sources(full: Path, slim: Path, scratch: Path) -> Path:
    """Return the builder's tree with the sources in place of the bytecode."""
    recipe = load("opennmt")
    sources = scratch / "sources-of-all"
    shutil.copytree(full, sources, copy_function=os.link)
    patch.apply(sources, recipe.patches, "slim")
    folder = scratch / "sources"
    for file in tree.files(slim):
        inside = file.path.removesuffix("c") if file.path.endswith(".pyc") else file.path
        (folder / inside).parent.mkdir(parents=True, exist_ok=True)
        origin = sources / inside if inside != file.path else slim / inside
        shutil.copyfile(origin, folder / inside)
    return folder


@dataclass(frozen=True)
class Kind:
    """Packages as a function may find them."""

    how: str  # they come to where they are imported: as it is, extractall or ours
    packed: Path  # their archive or folder
    folder: Path  # the same, unpacked
    index: str = ""  # of our archive, its hash


def kinds(scratch: Path) -> dict[str, Kind]:
    """Make every kind."""
    full = install(scratch)
    copied = scratch / "copied"
    shutil.copytree(full, copied, copy_function=os.link)
    nested_zip.slim(copied)
    nested_zip.pack(copied, scratch / "copied.zip")
    archive, index, slim = unpack_layer(build_nested_layer(), scratch)
    sources = restore_sources(full, slim, scratch)
    both = scratch / "sources-and-bytecode"
    shutil.copytree(sources, both)
    compile_all(both, "unchecked-hash")
    return {
        "as installed": Kind("as it is", full, full),
        "the recipe that everyone copies": Kind("extractall", scratch / "copied.zip", copied),
        "the builder's layer": Kind("ours", archive, slim, index),
        "the same, there already": Kind("as it is", slim, slim),
        "the same, with sources too": Kind("as it is", both, both),
        "the same, sources alone": Kind("as it is", sources, sources),
    }


def cold_start(kind: Kind, folder: Path) -> tuple[float, float]:
    """Return the seconds of unpacking, and of import and first answer."""
    folder.mkdir()
    (folder / "event.json").write_text(json.dumps(EVENT))
    places = [ROOT / "bench" / "baselines"] if kind.how == "extractall" else []
    places += [ROOT / "layer" / "python" / "lambda_inference"] if kind.how == "ours" else []
    beside = build.default_out(load("inference"), get_target(HOST)) / "layer" / "python"
    recipes = ROOT / "layer" / "recipes"
    places += [
        recipes,
        recipes / "parts" / "smoke",
        ROOT / "translation_function",
        ROOT / "layer" / "python",
        beside,
    ]
    arguments: list[str | Path] = [kind.how, kind.packed, kind.index, folder, *places]
    done = subprocess.run(
        [sys.executable, "-s", "-S", "-P", "-B", "-c", COLD_START, *arguments],
        env={"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(done.stderr)
    unpacking, answering = map(float, done.stdout.splitlines()[-1].split())
    shutil.rmtree(folder)
    return unpacking, answering


def measure(
    made: dict[str, Kind], scratch: Path, repetitions: int, names: Iterable[str]
) -> dict[str, list[tuple[float, float]]]:
    """Return what each repetition of each kind took; the first of all fills the page cache."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for repetition in range(repetitions + 1):
        for name, taken in times.items():
            one = cold_start(made[name], scratch / f"run-{repetition}")
            if repetition:
                taken.append(one)
    return times


@measures("layer.import_and_answer", "layer.cold_start")
def measure_start() -> Iterator[Row]:
    """Compare the layer's cold start with an ordinary site-packages' and the copied recipe's."""
    names = (
        "as installed",
        "the recipe that everyone copies",
        "the builder's layer",
        "the same, there already",
    )
    with scratch_folder() as scratch:
        times = measure(kinds(scratch), scratch, REPETITIONS, names)
    full, copied, nested, there = (times[name] for name in names)
    yield Row(
        name="layer.import_and_answer",
        **ratio([answer for _, answer in there], [answer for _, answer in full]),
        unit=OF_TIME,
        baseline="import and first answer from the same wheels as pip installs them (bench/areas/layers.py)",
        goal=1.05,
    )
    yield Row(
        name="layer.cold_start",
        **ratio([sum(one) for one in nested], [sum(one) for one in copied]),
        unit=OF_TIME,
        baseline="unpacking, import and first answer by the recipe that everyone copies "
        "(bench/baselines/nested_zip.py)",
        goal=0.5,
    )


@measures("layer.size.opennmt", "layer.size.ctranslate2")
def measure_sizes() -> Iterator[Row]:
    """Count what the builder makes for this machine."""
    for name, goal in (("opennmt", 205_000_000), ("ctranslate2", 85_000_000)):
        recipe, target = load(name), get_target(HOST)
        job = build.Job(recipe, target, build.default_out(recipe, target))
        build.build(job, print)
        yield make_size_row(name, tree.size(job.out / "layer"), goal, "the layer")


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory(prefix="bench-layers-") as name:
        made = kinds(Path(name))
        print_table(made, measure(made, Path(name), REPETITIONS, made))


def print_table(made: dict[str, Kind], times: dict[str, list[tuple[float, float]]]) -> None:
    """Print a line a kind, in cold starts from an ordinary site-packages."""
    answer = statistics.median(two for _, two in times["as installed"])
    columns = ("packages", "files", "bytes", "packed", "unpacking", "import and first answer", "cold start")
    print(f"| {' | '.join(columns)} |")
    print("|---|---|---|---|---|---|---|")
    for name, kind in made.items():
        size = f"{kind.packed.stat().st_size:,}" if kind.packed.is_file() else ""
        parts = [statistics.median(one[i] for one in times[name]) / answer for i in (0, 1)]
        total = [sum(one) / answer for one in times[name]]
        spread = f"{statistics.median(total):.2f} ({min(total):.2f} to {max(total):.2f})"
        print(f"| {name} | {len(tree.files(kind.folder)):,} | {tree.size(kind.folder):,} | {size} "
              f"| {parts[0]:.2f} | {parts[1]:.2f} | {spread} |")  # fmt: skip


if __name__ == "__main__":
    main()
