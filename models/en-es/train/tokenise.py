"""Cut the corpus into SentencePiece's pieces and count them into OpenNMT-py's vocabulary."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import sentencepiece
from corpus import WRITTEN

LANGUAGES = ("en", "es")
PIECES = 8000
LONGEST = 120  # pieces; longer sentences do not train (`src_seq_length`), and do not count


def tokenise(work: Path, model: Path | None) -> int:
    """Write `{train,valid,test}.sp.{en,es}`, `enes.model` and `vocab.txt` beside the corpus.

    Args:
        work: the folder with the corpus.
        model: the SentencePiece model to use; None trains a new one, which no published model fits.

    Returns:
        The number of different pieces in the vocabulary.

    """
    own = work / "enes.model"
    if model is None:
        learn(work, own)
    else:
        shutil.copyfile(model, own)
    processor = sentencepiece.SentencePieceProcessor(model_file=str(own))
    for name in WRITTEN:
        for language in LANGUAGES:
            lines = read_lines(work / f"{name}.{language}")
            cut = [" ".join(processor.encode(line, out_type=str)) for line in lines]
            write_lines(work / f"{name}.sp.{language}", cut)
    pieces = count(*(read_lines(work / f"train.sp.{language}") for language in LANGUAGES))
    write_lines(work / "vocab.txt", pieces)
    return len(pieces)


def learn(work: Path, model: Path) -> None:
    """Train a joint unigram model on both sides of the training data."""
    sentencepiece.SentencePieceTrainer.train(
        input=[str(work / f"train.{language}") for language in LANGUAGES],
        model_prefix=str(model.with_suffix("")),
        vocab_size=PIECES,
        character_coverage=1.0,
        model_type="unigram",
        split_digits=True,
    )


def count(source: list[str], target: list[str]) -> list[str]:
    """Return the pieces of all pairs that the training will see, the most frequent first."""
    counts: tuple[Counter[str], Counter[str]] = Counter(), Counter()
    for pair in zip(source, target, strict=True):
        pieces = [line.split() for line in pair]
        if max(map(len, pieces)) <= LONGEST:
            for side, counter in zip(pieces, counts, strict=True):
                counter.update(side)
    return [piece for piece, _ in (counts[0] + counts[1]).most_common()]


def read_lines(path: Path) -> list[str]:
    """Return the lines of a text file; only a line feed ends a line."""
    return path.read_bytes().decode().removesuffix("\n").split("\n")


def write_lines(path: Path, lines: list[str]) -> None:
    """Write lines to a text file."""
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
