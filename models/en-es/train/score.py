"""Score a model on the test split with OpenNMT-py's own translation, the reference for every other engine."""

from __future__ import annotations

from pathlib import Path

import opennmt
import sacrebleu
import sentencepiece
from tokenise import read_lines, write_lines


def score(model: Path, pieces: Path, work: Path, beam: int) -> str:
    """Translate the test split and compare it with its Spanish side.

    Args:
        model: a checkpoint or a released model.
        pieces: its SentencePiece model.
        work: the folder with the tokenised corpus; the translation is left there as `test.out.es`.
        beam: the width of the search.

    Returns:
        BLEU and chrF2 as sacreBLEU prints them, a line each.

    """
    cut, whole = work / "test.out.sp.es", work / "test.out.es"
    where = ["-model", str(model), "-src", str(work / "test.sp.en"), "-output", str(cut)]
    opennmt.translate([*where, "-beam_size", str(beam), "-gpu", "-1"])
    processor = sentencepiece.SentencePieceProcessor(model_file=str(pieces))
    hypotheses = [processor.decode(line.split()) for line in read_lines(cut)]
    write_lines(whole, hypotheses)
    references = [read_lines(work / "test.es")]
    return f"{sacrebleu.corpus_bleu(hypotheses, references)}\n{sacrebleu.corpus_chrf(hypotheses, references)}"
