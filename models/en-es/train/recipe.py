"""Make the shipped English-Spanish model, from the corpus to the released file.

In order: `corpus`, `tokenise`, `train 1`, `train 2`, `train 3`, `release`, `score-reference`. What is made
in between is kept in the folder `work` beside this file. OMP_NUM_THREADS limits the threads.

A corpus needs Debian's apt-get and dpkg-deb. Beside what the project installs, the recipe takes polib, lxml
and sacrebleu.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
WORK = HERE / "work"
MODEL = HERE.parent / "en-es.pt"
PIECES = HERE.parent / "enes.model"


def run_corpus(_: argparse.Namespace) -> None:
    """Build the corpus and print the size of each split."""
    import corpus

    for name, pairs in corpus.build(WORK).items():
        print(f"{name}: {pairs} pairs")


def run_tokenise(options: argparse.Namespace) -> None:
    """Tokenise the corpus and print the size of the vocabulary."""
    import tokenise

    print(f"{tokenise.tokenise(WORK, None if options.new else PIECES)} pieces in the vocabulary")


def run_train(options: argparse.Namespace) -> None:
    """Train a stage."""
    import training

    training.train(
        options.stage, WORK, MODEL, start=options.start, steps=options.steps, bfloat16=not options.float32
    )


def run_release(options: argparse.Namespace) -> None:
    """Release checkpoints and print the size of the result."""
    import release

    print(f"{options.out}: {release.release(options.checkpoints, options.out)} bytes")


def run_score(options: argparse.Namespace) -> None:
    """Score a model and print its scores."""
    import score

    print(score.score(options.model, options.pieces, WORK, options.beam))


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    root = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = root.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, run: Callable[[argparse.Namespace], None], text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=run)
        return command

    add(
        "corpus",
        run_corpus,
        "download LibreOffice's help and interface and align their sentences",
    )

    command = add("tokenise", run_tokenise, "cut the corpus into pieces and write the vocabulary")
    command.add_argument("--new", action="store_true", help="train new pieces, do not use the shipped ones")

    command = add("train", run_train, "train a stage, or go on where it stopped; Ctrl-C ends it")
    command.add_argument(
        "stage", type=int, choices=(1, 2, 3), help="1: a new model, 2: subword regularisation, 3: settling"
    )
    command.add_argument("--start", type=Path, metavar="CKPT", help="what an unbegun stage continues")
    command.add_argument("--steps", type=int, metavar="N", help="the step to stop at")
    command.add_argument("--float32", action="store_true", help="for a CPU that is slower in bfloat16")

    command = add("release", run_release, "average checkpoints into one small file in half precision")
    command.add_argument("checkpoints", type=Path, nargs="+", metavar="CKPT")
    command.add_argument("--out", type=Path, default=MODEL, help="default: the shipped model")

    command = add(
        "score-reference", run_score, "translate the test split with OpenNMT-py, print BLEU and chrF2"
    )
    command.add_argument("--model", type=Path, default=MODEL, help="default: the shipped model")
    command.add_argument("--pieces", type=Path, default=PIECES, help="default: the shipped pieces")
    command.add_argument("--beam", type=int, default=5, help="default: 5")
    return root


if __name__ == "__main__":
    chosen = parser().parse_args()
    chosen.run(chosen)
