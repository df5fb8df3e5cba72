"""Whether a tokenizer is the one that a model was trained with: a check before publishing."""

from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING

from lambda_inference import Unavailable

if TYPE_CHECKING:
    from tokenizer import Sides

_SPACER = "▁"
_BRACKETS = {("<", ">"), ("｟", "｠"), (">", "<")}
_PADDING = "averyunlikelytoken"
"""Beginning of the tokens by which OpenNMT-py makes a vocabulary's size a multiple."""
_MOST_STRANGE = 0.1
"""The share of a vocabulary that a fitting tokenizer need not produce: tags, padding, glossaries."""


def check_vocabularies(
    sides: "Sides",
    source: Collection[str],
    target: Collection[str],
    is_tag: Callable[[str], bool] = lambda _: False,
) -> None:
    """Compare what tokenizers produce with a model's vocabularies, special tokens included.

    Args:
        sides: the tokenizers.
        source: tokens of the source.
        target: tokens of the target.
        is_tag: whether a token names a language, and stands for no text.

    Raises:
        Unavailable: a tokenizer is not the one that the model was trained with.

    """
    for side, vocabulary in (("source", source), ("target", target)):
        words = [token for token in vocabulary if not (_is_special(token) or is_tag(token))]
        # A shared vocabulary holds the other side's tokens, too.
        strange = [
            token
            for token in words
            if not (sides.source.can_produce(token) or sides.target.can_produce(token))
        ]
        spaced = any(_SPACER in token for token in words)
        if not sides.stated and sides.kind == "space" and (mark := _find_mark(words)):
            raise Unavailable(
                f"the model's {side} vocabulary holds tokens such as {mark[0]!r}, which {mark[1]} makes, and "
                f"there is no such file beside the checkpoint; put it there, or write [tokenizer] with "
                'kind = "space" if your texts are already tokenised'
            )
        if len(strange) > _MOST_STRANGE * len(words) or (sides.kind == "sentencepiece" and not spaced):
            raise Unavailable(
                f"the {sides.kind} tokenizer does not fit the model: it cannot produce {len(strange):,} of "
                f"the {len(words):,} tokens of the {side} vocabulary, such as "
                f"{', '.join(map(repr, (strange or words)[:3]))}; publish the tokenizer that the model was "
                "trained with"
            )


def _is_special(token: str) -> bool:
    """Return whether a vocabulary's token stands for no text: <unk>, <s>, ｟tag｠, >>fr<<, padding."""
    return not token or (token[0], token[-1]) in _BRACKETS or token.startswith(_PADDING)


def _find_mark(tokens: Iterable[str]) -> tuple[str, str] | None:
    """Return a token with another tokenizer's mark, and that tokenizer's name."""
    for token in tokens:
        if token.startswith(_SPACER):
            return token, "SentencePiece"
        if len(token) > 2 and token.endswith("@@"):  # noqa: PLR2004 - more than the mark itself
            return token, "subword-nmt"
        if "￭" in token:
            return token, "pyonmttok"
    return None
