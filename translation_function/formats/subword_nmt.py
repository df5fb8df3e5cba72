"""Byte-pair encoding as subword-nmt applies it, from its file of codes.

Held to subword-nmt 0.3.8, without its vocabulary filter and glossaries.
"""

import functools
import re
from itertools import pairwise

from lambda_inference import Unavailable

END = "</w>"
"""The end of a word in codes."""
_CACHED_WORDS = 50_000

Codes = dict[tuple[str, str], int]


class SubwordNmt:
    """A tokenizer whose words end with an unmarked token: ``low@@ er``."""

    def __init__(self, data: bytes, separator: str) -> None:
        self._codes, self._version = parse_codes(data)
        self._separator = separator
        self._joints = re.compile(f"({re.escape(separator)} )|({re.escape(separator)} ?$)")
        self._segment = functools.lru_cache(_CACHED_WORDS)(self._segment_word)

    def encode(self, text: str) -> list[str]:
        """Return the segments of a text's words, which spaces separate."""
        return [token for word in text.strip("\r\n ").split(" ") if word for token in self._segment(word)]

    def decode(self, tokens: list[str]) -> str:
        """Return the text of segments."""
        return self._joints.sub("", " ".join(tokens))

    def can_produce(self, token: str) -> bool:
        """Return whether a token is a single character or a merge's result."""
        inner = token.removesuffix(self._separator)
        if len(inner) <= 1:
            return True
        return (inner if inner != token else token + END) in self._merged or (
            self._version == 1 and inner in self._merged
        )

    @functools.cached_property
    def _merged(self) -> set[str]:
        return {left + right for left, right in self._codes}

    def _segment_word(self, word: str) -> list[str]:
        """Return a word's segments, merged in the order of the codes."""
        if len(word) == 1:
            return [word]
        symbols = [*word, END] if self._version == 1 else [*word[:-1], word[-1] + END]
        while pairs := [pair for pair in pairwise(symbols) if pair in self._codes]:
            best = min(pairs, key=self._codes.__getitem__)
            symbols = merge(symbols, best)
            if len(symbols) == 1:
                break
        if symbols[-1] == END:
            symbols.pop()
        symbols[-1] = symbols[-1].removesuffix(END)
        return [*(symbol + self._separator for symbol in symbols[:-1]), symbols[-1]]


def merge(symbols: list[str], pair: tuple[str, str]) -> list[str]:
    """Return symbols with every occurrence of a pair merged, from the left."""
    merged: list[str] = []
    position = 0
    while position < len(symbols):
        width = 2 if tuple(symbols[position : position + 2]) == pair else 1
        merged.append("".join(symbols[position : position + width]))
        position += width
    return merged


def parse_codes(data: bytes) -> tuple[Codes, int]:
    """Return each pair's rank in a file of codes, and the minor version of the file.

    Raises:
        Unavailable: the file holds other lines than pairs, or is of an unknown version.

    """
    try:
        lines = data.decode().rstrip("\n").split("\n")
    except UnicodeDecodeError as error:
        raise Unavailable("the tokenizer's codes are not a text in UTF-8; publish subword-nmt's") from error
    version = 1
    if lines[0].startswith("#version:"):
        numbers = lines.pop(0).split()[-1]
        if numbers not in {"0.1", "0.2"}:
            raise Unavailable(f"the tokenizer's codes are of version {numbers}; expected 0.1 or 0.2")
        version = int(numbers[-1])
    codes: Codes = {}
    for rank, line in enumerate(lines):
        pair = tuple(line.strip("\r\n ").split(" "))
        if len(pair) != 2:  # noqa: PLR2004 - a pair
            raise Unavailable(
                f"line {rank + 1} of the tokenizer's codes holds {len(pair)} parts; expected two, as "
                "subword-nmt writes them"
            )
        codes.setdefault(pair, rank)
    return codes, version
