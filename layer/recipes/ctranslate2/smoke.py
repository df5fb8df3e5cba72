"""A smoke prediction: sentences through SentencePiece and CTranslate2."""

from pathlib import Path
from typing import Any

SENTENCES = ["The table has been changed.", "Choose View - Navigator to display the Navigator.", "👩‍👩‍👧 🎉"]


def answer(tokenizer: str, prepared: str) -> list[Any]:
    """Return hypotheses, scores and attention of a few sentences, one at a time and in a batch.

    Args:
        tokenizer: the SentencePiece model, from the project's root.
        prepared: the folder with the converted model.

    """
    import ctranslate2
    from sentencepiece import SentencePieceProcessor

    model = Path(__file__).resolve().parents[3] / tokenizer
    pieces = SentencePieceProcessor(model_proto=model.read_bytes())
    files = {path.name: path.read_bytes() for path in sorted(Path(prepared).iterdir())}
    translator = ctranslate2.Translator("model", device="cpu", files=files, inter_threads=1, intra_threads=1)
    sources = pieces.encode(SENTENCES, out_type=str)
    options: dict[str, Any] = {"beam_size": 5, "num_hypotheses": 2, "return_scores": True}
    alone = [translator.translate_batch([source], return_attention=True, **options)[0] for source in sources]
    together = translator.translate_batch(sources, **options)
    return [
        [
            [pieces.decode(tokens) for tokens in one.hypotheses],
            one.scores,
            one.attention,
            other.hypotheses,
            other.scores,
        ]
        for one, other in zip(alone, together, strict=True)
    ]
