"""Sentences that small models learn to copy, and their SentencePiece model: run where the toolkits are."""

import random
import string
from pathlib import Path
from typing import Any

import sentencepiece

WORDS = [
    "the", "cat", "dog", "sat", "on", "a", "mat", "and", "saw", "big", "red", "house", "near", "green",
    "river", "while", "small", "birds", "sang", "about", "old", "trees",
]  # fmt: skip
SPECIAL = {"<s>", "</s>", "<unk>"}


def draw_sentence() -> str:
    """Return one to six words."""
    return " ".join(random.choices(WORDS, k=random.randint(1, 6)))  # noqa: S311


def train_pieces(path: Path, others: int, **options: Any) -> list[str]:
    """Write a SentencePiece model of the words, and of others made of random letters; return its pieces."""
    drawn = ["".join(random.choices(string.ascii_lowercase, k=7)) for _ in range(others)]  # noqa: S311
    chosen = {"vocab_size": 2000 if others else 60, "hard_vocab_limit": False, "num_threads": 1} | options
    with path.open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(WORDS * 50 + drawn), model_writer=file, minloglevel=2, **chosen
        )
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(path))
    return [piece for row in range(len(pieces)) if (piece := pieces.id_to_piece(row)) not in SPECIAL]
