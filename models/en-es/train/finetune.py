"""Continue the shipped model on sentence pairs of your own, and release what comes of it.

The pairs are lines of UTF-8: English, a tab, Spanish. A step reads 16 of them, from the first again after
the last. The defaults suit some dozens of pairs: what they teach is learned, and most else is kept.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import itertools
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import opennmt
import tomlkit
from release import release
from tokenise import read_lines, write_lines
from training import resumption

from lambda_setup.deployment.local import SHIPPED_MODEL, predict
from lambda_setup.models.describe import describe

HERE = Path(__file__).resolve().parent
STEPS = 40
BATCH = 16
TRIED = 3
LIBRARIES = ("torch", "OpenNMT-py")

Pair = tuple[str, str]


def finetune(data: Path, out: Path, steps: int) -> None:
    """Write a model's folder that can be published; it appears whole or not at all.

    Its smoke request are the first pairs' sources, and what the function on this machine then predicts.

    Args:
        data: the pairs.
        out: the folder, which is not there yet.
        steps: how many times the weights are changed.

    Raises:
        FileExistsError: the folder is there.
        ValueError: the data are not pairs.

    """
    if out.exists():
        raise FileExistsError(f"{out} is there already; remove it, or name another folder")
    pairs = read_pairs(data)
    shipped = describe(SHIPPED_MODEL)
    weights, pieces = (file.name for file in shipped.files)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as name:
        model, work = Path(name) / "model", Path(name) / "work"
        for folder in (model, work):
            folder.mkdir()
        shutil.copyfile(SHIPPED_MODEL / pieces, model / pieces)
        release([train(pairs, work, model / pieces, SHIPPED_MODEL / weights, steps)], model / weights)
        stated: dict[str, Any] = {
            "name": shipped.name,
            "engine": shipped.engine,
            "precision": shipped.precision,
            "files": [weights, pieces],
            "card": f"{shipped.name} {shipped.version}, continued for {steps} steps on {len(pairs)} pairs",
            "libraries": {each: importlib.metadata.version(each).partition("+")[0] for each in LIBRARIES},
        }
        (model / "model.toml").write_text(tomlkit.dumps(stated), encoding="utf-8")
        request = {"data": [source for source, _ in pairs[:TRIED]]}
        stated["smoke"] = {"request": request, "predictions": predict(model, request)}
        (model / "model.toml").write_text(tomlkit.dumps(stated), encoding="utf-8")
        model.rename(out)


def read_pairs(data: Path) -> list[Pair]:
    """Return the pairs in a file.

    Raises:
        ValueError: a line is not one, or the file is empty.

    """
    pairs = []
    for number, line in enumerate(read_lines(data), start=1):
        source, _, target = (part.strip() for part in line.partition("\t"))
        if not source or not target or "\t" in target:
            raise ValueError(f"line {number} of {data} is not a pair; expected English, a tab and Spanish")
        pairs.append((source, target))
    return pairs


def train(pairs: list[Pair], work: Path, pieces: Path, start: Path, steps: int) -> Path:
    """Continue a checkpoint for some steps in a work folder, and return what came of it."""
    read = list(itertools.islice(itertools.cycle(pairs), steps * BATCH))
    for side, language in enumerate(("en", "es")):
        write_lines(work / f"train.{language}", [pair[side] for pair in read])
    shutil.copyfile(pieces, work / "pieces.model")
    arguments = ["-config", str(HERE / "finetune.yaml"), *resumption(start, work, "all")]
    arguments += ["-train_steps", str(steps), "-save_checkpoint_steps", str(steps)]
    arguments += ["-batch_size", str(BATCH), "-bucket_size", str(len(read))]
    with contextlib.chdir(work):
        opennmt.train(arguments, bfloat16=False)
    return work / "tuned" / f"model_step_{steps}.pt"


def main() -> int:
    """Do what the command line says, and return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, metavar="FILE", help="the pairs")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the new model's folder")
    parser.add_argument("--steps", type=int, default=STEPS, metavar="N", help="(default: %(default)s)")
    options = parser.parse_args()
    try:
        finetune(options.data, options.out, options.steps)
    except (OSError, RuntimeError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{options.out} is a model; next: python -m lambda_setup model publish {options.out} --local")
    return 0


if __name__ == "__main__":
    sys.exit(main())
