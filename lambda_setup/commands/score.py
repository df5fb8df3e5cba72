"""``model score``: how good a model is, measured through the function."""

import argparse
import gzip
from pathlib import Path
from typing import NamedTuple

from lambda_setup.deployment.local import predict
from lambda_setup.output import relative_path, status


class Scores(NamedTuple):
    """Corpus scores as sacreBLEU computes them by default, and its signatures."""

    bleu: float
    chrf: float
    signatures: tuple[str, str]


def run(options: argparse.Namespace) -> int:
    """Translate the test split and print its scores."""
    scores, pairs = score(options.folder, options.beam)
    print(f"pairs  {pairs}, beam {options.beam}")
    print(f"BLEU   {scores.bleu:.1f}   {scores.signatures[0]}")
    print(f"chrF2  {scores.chrf:.1f}   {scores.signatures[1]}")
    return 0


def score(folder: Path, beam: int = 5) -> tuple[Scores, int]:
    """Return a model's scores on the test split in its folder, and how many pairs that has."""
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

    sources, references = (_lines(folder / f"test.{language}.gz") for language in ("en", "es"))
    status(
        f"starting S3 and the function with {relative_path(folder)}, and translating {len(sources)} sentences"
    )
    found = predict(folder, {"data": sources, "beam": beam}, timeout=900)
    texts = [one["hypotheses"][0]["text"] for one in found]
    bleu, chrf = BLEU(), CHRF()
    return Scores(
        bleu.corpus_score(texts, [references]).score,
        chrf.corpus_score(texts, [references]).score,
        (str(bleu.get_signature()), str(chrf.get_signature())),
    ), len(sources)


def _lines(path: Path) -> list[str]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [line.rstrip("\n") for line in file]
