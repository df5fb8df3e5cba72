"""Run a stage of the training, or go on with it where it stopped."""

from __future__ import annotations

import contextlib
import zipfile
from pathlib import Path

import opennmt
from release import load, release

AVERAGED = 3


def train(
    stage: int, work: Path, shipped: Path, *, start: Path | None, steps: int | None, bfloat16: bool
) -> None:
    """Train a stage until its configuration, `steps` or Ctrl-C ends it.

    A stage that has checkpoints goes on from the newest, with its optimiser's state. Otherwise stage 1 begins
    a new model, and the others continue `start`: by default the average of the previous stage's newest three
    checkpoints, or the shipped model where there are none.

    Args:
        stage: 1, 2 or 3; `stage1.yaml` and so on beside this file say what each does.
        work: the folder with the tokenised corpus; checkpoints go to `stage1` and so on below it.
        shipped: the released model.
        start: a checkpoint to continue instead, if the stage has none of its own.
        steps: the step to stop at, instead of the configuration's.
        bfloat16: compute in bfloat16 what torch holds safe to.

    """
    work = work.resolve()
    arguments = ["-config", str(Path(__file__).resolve().with_name(f"stage{stage}.yaml"))]
    own = checkpoints(work / f"stage{stage}")
    if own:
        # `none` would take the schedule from the checkpoint, and that is the one of the model it began from.
        arguments += resumption(own[-1], work, "keep_states")
        # With the configuration's seed the batches since the beginning would come again.
        arguments += ["-seed", str(step(own[-1]))]
    elif start is not None or stage > 1:
        arguments += resumption(start or find_start(stage, work, shipped), work, "all")
    if steps is not None:
        arguments += ["-train_steps", str(steps)]
    with contextlib.chdir(work):
        opennmt.train(arguments, bfloat16)


def checkpoints(folder: Path) -> list[Path]:
    """Return the complete checkpoints in a folder by step; one cut short while it was written is left out."""
    return sorted((path for path in folder.glob("*_step_*.pt") if zipfile.is_zipfile(path)), key=step)


def step(checkpoint: Path) -> int:
    """Return the step a checkpoint was written at, which OpenNMT-py puts at the end of its name."""
    return int(checkpoint.stem.rpartition("_")[2])


def find_start(stage: int, work: Path, shipped: Path) -> Path:
    """Return the checkpoint that a stage after the first continues by default."""
    newest = checkpoints(work / f"stage{stage - 1}")[-AVERAGED:]
    if not newest:
        return shipped
    release(newest, work / "start.pt")
    return work / "start.pt"


def resumption(checkpoint: Path, work: Path, reset: str) -> list[str]:
    """Return the options that continue a checkpoint, and write its vocabulary where the stage expects it.

    OpenNMT-py reads the vocabulary anew when the transforms have changed. From a file in another order than
    the checkpoint's it would quietly give each embedding to another piece.
    """
    vocabulary = load(checkpoint)["vocab"]["src"]
    (work / "vocab.txt").write_text("".join(f"{piece}\n" for piece in vocabulary), encoding="utf-8")
    return ["-train_from", str(checkpoint.resolve()), "-reset_optim", reset]
