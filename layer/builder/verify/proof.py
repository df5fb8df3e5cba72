"""Proofs: that a slim tree answers what the full one answers; kept beside the lock.

A proof holds the digest of the tree that was proven, and that of the prediction: the function's code,
its model, the events, and the base layer. Whoever builds a tree of the same digest for the same
prediction has the same files, and needs no machine that could run them. The digest is taken before
byte-compiling: CPython does not promise the same bytecode file twice.
"""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from layer.builder.recipe import Recipe
from layer.builder.target import Target
from layer.builder.tree import write_atomic


@dataclass(frozen=True)
class Proof:
    """Which tree was proven, by which prediction, on which interpreter; and the answer, as canonical JSON.

    ``terms`` says which of Lambda's terms were held, in a phrase. ``split`` is the sha256 of how libraries
    were split, if they were: the prediction then ran on them, too.
    """

    digest: str
    prediction: str
    interpreter: str
    answer: str
    terms: str = ""
    split: str = ""

    def proves(self, digest: str, prediction: str, split: str) -> bool:
        """Return whether it is one of this tree, prediction and split; one of a split tree is of any form."""
        return (self.digest, self.prediction) == (digest, prediction) and split in {"", self.split}


def path_of(recipe: Recipe, target: Target) -> Path:
    """Return where a target's proof stands."""
    return recipe.folder / target.record / "proof.json"


def read(recipe: Recipe, target: Target) -> Proof | None:
    """Return a target's proof, of whichever tree it is; None where there is no whole one."""
    path = path_of(recipe, target)
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        answer = json.dumps(found["answer"], sort_keys=True)
        return Proof(
            found["digest"], found["prediction"], found["interpreter"], answer, found.get("terms", ""),
            found.get("split", ""),
        )  # fmt: skip
    except (ValueError, LookupError, TypeError, RecursionError):
        return None


def is_known(recipe: Recipe, target: Target, digest: str) -> bool:
    """Return whether a recipe beside this one, or itself, has a proof of the tree, by any prediction.

    A function that was made as a copy of another has its packages.
    """
    beside = (replace(recipe, folder=folder) for folder in recipe.folder.parent.iterdir())
    return any((proof := read(one, target)) and proof.digest == digest for one in beside)


def record(recipe: Recipe, target: Target, proof: Proof) -> None:
    """Record a proof, unless there is one of the same tree and prediction.

    The same prediction on the same tree answers a little differently on another processor. The file is
    committed, so it stays byte for byte as it is.
    """
    known = read(recipe, target)
    if known is None or not known.proves(proof.digest, proof.prediction, proof.split):
        write(recipe, target, proof)


def write(recipe: Recipe, target: Target, proof: Proof) -> None:
    """Record a proof."""
    table = {**asdict(proof), "answer": json.loads(proof.answer)}
    if not proof.split:
        del table["split"]
    text = json.dumps(table, indent=1, sort_keys=True, ensure_ascii=False)
    write_atomic(path_of(recipe, target), text + "\n")
