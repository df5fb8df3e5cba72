"""Sizes and cold starts of a function's packages: as installed, as everyone slims them, and as built here.

Run: ``.venv/bin/python bench/layers.py``. Everything is made from the same locked wheels and runs on the
same disk, on all cores. Each cold start is a fresh interpreter, from before its first import: the packages
are unpacked, the function's code is imported, and it answers its first event, one sentence, with the
shipped model in memory. The kinds take turns. What is compared with 1.05 is import and answer alone.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from baselines import nested_zip

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from layer import build, lock, patch, tree, wheels  # noqa: E402
from layer.recipe import load  # noqa: E402
from layer.target import HOST, named  # noqa: E402

REPETITIONS = 9
EVENT = {"data": ["The table has been changed."], "result": "inline"}

COLD_START = """
import sys, time
start = time.perf_counter()
unpacked, packed, index, folder, *path = sys.argv[1:]
sys.path[:0] = path
if unpacked == "ours":
    import unpack
    from pathlib import Path
    sys.path.append(str(unpack.unpack(Path(packed), index, temporary=Path(folder)).folder))
elif unpacked == "extractall":
    import nested_zip
    from pathlib import Path
    nested_zip.extract(Path(packed), Path(folder, "requirements"))
else:
    sys.path.append(packed)
ready = time.perf_counter()
import function_smoke
(answer, _) = function_smoke.answer("opennmt", "models/en-es", [sys.argv[4] + "/event.json"])
assert answer["statusCode"] == 200, answer
print(ready - start, time.perf_counter() - ready)
"""


def installed(scratch: Path) -> Path:
    """Return the locked wheels as pip installs them, with the mends without which they do not run."""
    recipe, target = load("opennmt"), named(HOST)
    found = lock.read(recipe, target) or lock.make(recipe, target)
    cache = build.WORK / "wheels"
    wheels.fetch(found, target, recipe.cpu_index, cache, print)
    wheels.install(found, target, cache, scratch / "installed")
    patch.apply(scratch / "installed", recipe.patches, "mend")
    compile_all(scratch / "installed", "timestamp")
    return scratch / "installed"


def compile_all(folder: Path, mode: str) -> None:
    """Byte-compile, as pip does."""
    command = [sys.executable, "-m", "compileall", "-q", "-j0", "--invalidation-mode", mode, str(folder)]
    subprocess.run(command, check=False, stdout=subprocess.DEVNULL)  # some packages ship templates as .py


def with_sources(full: Path, slim: Path, scratch: Path) -> Path:
    """Return the builder's tree with the sources in place of the bytecode."""
    recipe = load("opennmt")
    sources = scratch / "sources-of-all"
    shutil.copytree(full, sources, copy_function=os.link)
    patch.apply(sources, recipe.patches, "cut")
    folder = scratch / "sources"
    for file in tree.files(slim):
        inside = file.path.removesuffix("c") if file.path.endswith(".pyc") else file.path
        (folder / inside).parent.mkdir(parents=True, exist_ok=True)
        origin = sources / inside if inside != file.path else slim / inside
        shutil.copyfile(origin, folder / inside)
    return folder


def cold_start(kind: str, packed: Path, index: str, folder: Path) -> tuple[float, float]:
    """Return the seconds of unpacking, and of import and first answer."""
    folder.mkdir()
    (folder / "event.json").write_text(json.dumps(EVENT))
    places = [ROOT / "bench" / "baselines"] if kind == "extractall" else []
    places += [ROOT / "layer" / "lambda_inference"] if kind == "ours" else []
    beside = build.default_out(load("inference"), named(HOST)) / "layer" / "python"
    recipes = ROOT / "layer" / "recipes"
    places += [recipes, recipes / "shared", ROOT / "translation_function", ROOT / "layer", beside]
    done = subprocess.run(
        [sys.executable, "-s", "-S", "-P", "-B", "-c", COLD_START, kind, packed, index, folder, *places],
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


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--temporary", type=Path, default=Path(tempfile.gettempdir()), help="default: %(default)s"
    )
    parser.add_argument("--repetitions", type=int, default=REPETITIONS, help="default: %(default)s")
    options = parser.parse_args()
    recipe, target = load("opennmt"), named(HOST)
    job = build.Job(recipe, target, build.default_out(recipe, target), strategy="nested")
    build.build(job, print)
    layer = job.out / "layer" / "python"
    marker = json.loads((layer / build.MARKER).read_text())["archive"]
    with tempfile.TemporaryDirectory(prefix="bench-layers-", dir=options.temporary) as name:
        scratch = Path(name)
        full = installed(scratch)
        copied = scratch / "copied"
        shutil.copytree(full, copied, copy_function=os.link)
        nested_zip.slim(copied)
        nested_zip.pack(copied, scratch / "copied.zip")
        sys.path.insert(0, str(ROOT / "layer"))
        from lambda_inference.unpack import unpack

        slim = unpack(layer / marker["file"], marker["index"], temporary=scratch).folder
        sources = with_sources(full, slim, scratch)
        both = scratch / "sources-and-bytecode"
        shutil.copytree(sources, both)
        compile_all(both, "unchecked-hash")
        kinds = {
            "as installed": ("as it is", full, full),
            "the recipe that everyone copies": ("extractall", scratch / "copied.zip", copied),
            "the builder's layer": ("ours", layer / marker["file"], slim),
            "the same, there already": ("as it is", slim, slim),
            "the same, with sources too": ("as it is", both, both),
            "the same, sources alone": ("as it is", sources, sources),
        }
        times: dict[str, list[tuple[float, float]]] = {kind: [] for kind in kinds}
        for repetition in range(options.repetitions + 1):
            for kind, (how, packed, _) in kinds.items():
                index = marker["index"] if how == "ours" else ""
                one = cold_start(how, packed, index, scratch / f"run-{repetition}")
                if repetition:  # the first fills the page cache
                    times[kind].append(one)
        answer = statistics.median(two for _, two in times["as installed"])
        columns = (
            "packages",
            "files",
            "bytes",
            "packed",
            "unpacking",
            "import and first answer",
            "cold start",
        )
        print(f"| {' | '.join(columns)} |")
        print("|---|---|---|---|---|---|---|")
        for kind, (_, packed, folder) in kinds.items():
            size = f"{packed.stat().st_size:,}" if packed.is_file() else ""
            parts = [statistics.median(one[i] for one in times[kind]) / answer for i in (0, 1)]
            total = [sum(one) / answer for one in times[kind]]
            spread = f"{statistics.median(total):.2f} ({min(total):.2f} to {max(total):.2f})"
            print(f"| {kind} | {len(tree.files(folder)):,} | {tree.size(folder):,} | {size} "
                  f"| {parts[0]:.2f} | {parts[1]:.2f} | {spread} |")  # fmt: skip


if __name__ == "__main__":
    main()
