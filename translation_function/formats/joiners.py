"""Tokens as pyonmttok makes them from words: BPE or SentencePiece, joiners, and marks of case.

Held to pyonmttok 1.38, as far as its options are in ``OPTIONS``.
"""

import re
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

from formats.casing import lower, mark_case, restore
from formats.subword_nmt import END, parse_codes
from formats.words import CLOSE, ESCAPE, OPEN, Splitter, Word, get_kind
from lambda_inference import Unavailable

OPTIONS: dict[str, Any] = {
    "mode": "conservative", "joiner": "￭", "joiner_annotate": False, "spacer_annotate": False,
    "case_markup": False, "soft_case_regions": False, "segment_case": False, "segment_numbers": False,
    "preserve_placeholders": False, "preserve_segmented_tokens": False, "no_substitution": False,
}  # fmt: skip
"""Options that are mapped, with pyonmttok's defaults; any other one changes tokens in a way that is not."""
_MODES = ("none", "space", "conservative", "aggressive", "char")
_SPACER = "▁"
_MARKUP = re.compile(f"{OPEN}mrk_(case_modifier|begin_case_region|end_case_region)_(.){CLOSE}")
_ESCAPED = re.compile(f"{ESCAPE}([0-9a-f]{{4}})")

Encode = Callable[[str], list[str]]


class Pyonmttok:
    """pyonmttok's tokenizer with mapped options."""

    def __init__(self, options: Mapping[str, Any], subwords: "Subwords | None") -> None:
        self._options = options
        self._subwords = subwords

    def encode(self, text: str) -> list[str]:
        """Return a text's tokens."""
        words = Splitter(self._options).split(text)
        if self._options["case_markup"]:
            for word in words:
                if not word.is_placeholder:
                    word.text, word.casing = lower(word.text)
        if self._subwords:
            encode = self._subwords.encode
            words = [part for word in words for part in ([word] if word.is_placeholder else encode(word))]
        return self._write(words)

    def decode(self, tokens: list[str]) -> str:
        """Return the text of tokens."""
        line, joined = "", True
        region = modifier = None
        for token in filter(None, tokens):
            if markup := _MARKUP.fullmatch(token):
                kind, casing = markup.groups()
                if kind != "case_modifier":
                    region = casing if kind == "begin_case_region" else None
                modifier = casing if kind == "case_modifier" else None
                continue
            word = self._read(token)
            text = word.text
            if not word.is_placeholder:
                text = restore(text, modifier or region)
                text = _ESCAPED.sub(lambda escaped: chr(int(escaped[1], 16)), text)
            if not (joined or word.left):
                line += " "
            line += text
            joined = word.right
            if word.text:
                modifier = None
        return line

    def can_produce(self, token: str) -> bool:
        """Return whether a token is a placeholder, or a subword with its marks."""
        word = self._read(token)
        return word.is_placeholder or not self._subwords or self._subwords.can_produce(word.text)

    def _read(self, token: str) -> Word:
        """Return the word of a token with its marks."""
        if self._options["spacer_annotate"]:
            return Word(token.removeprefix(_SPACER), left=not token.startswith(_SPACER))
        joiner = self._options["joiner"]
        inner = token.removesuffix(joiner)
        return Word(inner.removeprefix(joiner), left=token.startswith(joiner), right=inner != token)

    def _write(self, words: list[Word]) -> list[str]:
        """Return the tokens of words, with marks of case, joiners and spacers."""
        marks = mark_case(words, soft=self._options["soft_case_regions"])
        tokens: list[str] = []
        for index, word in enumerate(words):
            before, after = marks[index] if self._options["case_markup"] else ("", "")
            prefix = suffix = ""
            attach = not word.preserve
            if self._options["joiner_annotate"]:
                prefix = self._options["joiner"] if word.left and index else ""
                suffix = self._options["joiner"] if word.right and index + 1 < len(words) else ""
                attach = attach or word.spacer
            elif self._options["spacer_annotate"]:
                apart = not (word.left or words[index - 1].right) if index else word.spacer
                prefix = _SPACER if apart else ""
            parts = [prefix + word.text + suffix] if attach else [prefix, word.text, suffix]
            tokens += filter(None, [before, *parts, after])
        return tokens


class Subwords:
    """Words to subwords, by BPE codes or SentencePiece."""

    def __init__(self, encode: Encode, can_produce: Callable[[str], bool], *, spacers: bool) -> None:
        self._encode = encode
        self._spacers = spacers
        self.can_produce = can_produce

    def encode(self, word: Word) -> list[Word]:
        """Return a word's subwords."""
        parts = self._encode(word.text)
        if not parts:
            return [word]
        words = self._attach_spacers(parts) if self._spacers else [Word(part, right=True) for part in parts]
        if not words:
            return []
        words[0].left, words[-1].right = word.left, word.right
        words[0].preserve |= word.left and word.preserve
        words[-1].preserve |= word.right and word.preserve
        for index, part in enumerate(words):
            casing = "L" if word.casing == "C" and index else word.casing
            part.casing = lower(part.text)[1] if casing == "M" else casing
            part.trailing = index > 0
        return words

    @staticmethod
    def _attach_spacers(pieces: list[str]) -> list[Word]:
        words: list[Word] = []
        waiting = False
        for piece in pieces:
            if piece == _SPACER:
                waiting = True
            elif piece.startswith(_SPACER):
                words.append(Word(piece[1:], spacer=True))
            else:
                words.append(Word(piece, spacer=waiting, preserve=waiting, left=bool(words) and not waiting))
                waiting = False
        return words


def build(options: Mapping[str, Any], data: bytes, sentencepiece: Any) -> Pyonmttok:
    """Return the tokenizer of a table of options.

    Args:
        options: pyonmttok's own; what is false is as good as left out.
        data: codes, if the model has them.
        sentencepiece: a SentencePiece tokenizer in place of codes, or None.

    Raises:
        Unavailable: an option is not mapped, or the codes are invalid.

    """
    if unknown := sorted(name for name, value in options.items() if name not in OPTIONS and value):
        raise Unavailable(
            f"[tokenizer.options] holds {', '.join(unknown)}, and of pyonmttok's options only "
            f"{', '.join(OPTIONS)} are mapped; train with those, or publish texts as tokens with "
            'kind = "space"'
        )
    chosen = OPTIONS | {name: value for name, value in options.items() if name in OPTIONS}
    if chosen["mode"] not in _MODES:
        raise Unavailable(f"[tokenizer.options] mode takes {', '.join(_MODES)}; got {chosen['mode']!r}")
    if chosen["joiner_annotate"] and chosen["spacer_annotate"]:
        raise Unavailable("[tokenizer.options] takes joiner_annotate or spacer_annotate, not both")
    if chosen["case_markup"]:
        if chosen["mode"] in {"none", "space"}:
            raise Unavailable("[tokenizer.options] case_markup takes another mode than none and space")
        chosen["segment_case"] = True
    if sentencepiece is None:
        return Pyonmttok(chosen, _read_codes(data) if data else None)
    if chosen["mode"] == "none" and not (chosen["joiner_annotate"] or chosen["spacer_annotate"]):
        chosen |= {"spacer_annotate": True, "no_substitution": True}
    pieces = Subwords(
        sentencepiece.encode,
        lambda text: sentencepiece.can_produce(text) or sentencepiece.can_produce(_SPACER + text),
        spacers=True,
    )
    return Pyonmttok(chosen, pieces)


def _read_codes(data: bytes) -> Subwords:
    """Return BPE as pyonmttok applies it: it ranks what a merge makes, whatever the two parts are."""
    begin, end, apart = "", END, True
    first, _, rest = data.partition(b"\n")
    header = first.decode(errors="replace").split(";")
    if header[0] == "v3" and len(header) == 6:  # noqa: PLR2004 - of pyonmttok's own learner
        if header[3] == "true":
            raise Unavailable("the BPE codes ignore case, which is not mapped; learn them with case_markup")
        begin = header[4] if header[1] == "true" else ""
        end = header[5] if header[2] == "true" else ""
        codes, version = parse_codes(rest)
    else:
        codes, version = parse_codes(data)
    apart = version == 1
    ranks: dict[str, int] = {}
    for left, right in codes:
        ranks.setdefault(left + right, len(ranks))

    def encode(text: str) -> list[str]:
        symbols = _read_symbols(text)
        if len(symbols) == 1:
            return symbols
        symbols = ([begin] if begin else []) + symbols
        if end and apart:
            symbols.append(end)
        elif end:
            symbols[-1] += end
        while len(symbols) > 1:
            scores = [ranks.get(left + right, len(ranks)) for left, right in pairwise(symbols)]
            best = min(scores)
            if best == len(ranks):
                break
            at = scores.index(best)
            symbols[at : at + 2] = [symbols[at] + symbols[at + 1]]
        symbols[0] = symbols[0].removeprefix(begin)
        symbols[-1] = symbols[-1].removesuffix(end)
        return [symbol for symbol in symbols if symbol]

    merged = {(key.removeprefix(begin)).removesuffix(end) for key in ranks}
    return Subwords(encode, lambda text: len(_read_symbols(text)) == 1 or text in merged, spacers=False)


def _read_symbols(text: str) -> list[str]:
    """Return a word's characters, each with its marks; an escaped character is one."""
    symbols: list[str] = []
    escaped = 0
    for character in text:
        if escaped or (symbols and get_kind(character) == "mark"):
            symbols[-1] += character
            escaped = max(escaped - 1, 0)
        else:
            symbols.append(character)
            escaped = 4 if character == ESCAPE else 0
    return symbols
