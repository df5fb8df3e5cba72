"""Tokens without a file: between spaces, single characters, matches of a pattern."""

import re
from typing import Any

from lambda_inference import Unavailable

SPACE = "▁"
"""The mark of a space among characters, as in SentencePiece's pieces."""


class Space:
    """Tokens that are separated by spaces, as OpenNMT-py reads its lines."""

    def encode(self, text: str) -> list[str]:
        """Return the parts between spaces; two spaces have an empty token between them."""
        line = text.strip()
        return line.split(" ") if line else []

    def decode(self, tokens: list[str]) -> str:
        """Join tokens by spaces."""
        return " ".join(tokens)

    def can_produce(self, token: str) -> bool:
        """Return whether a token has no space."""
        return " " not in token


class Characters:
    """Single characters, a space as ``▁``."""

    def encode(self, text: str) -> list[str]:
        """Return a text's characters."""
        return list(text.strip().replace(" ", SPACE))

    def decode(self, tokens: list[str]) -> str:
        """Join characters."""
        return "".join(tokens).replace(SPACE, " ")

    def can_produce(self, token: str) -> bool:
        """Return whether a token is one character."""
        return len(token) == 1


class Pattern:
    """The matches of a regular expression, and what stands between them; white space is dropped."""

    def __init__(self, pattern: Any) -> None:
        if not isinstance(pattern, str):
            raise Unavailable('[tokenizer] of kind regex takes pattern = "a regular expression"')
        try:
            self._pattern = re.compile(pattern)
        except re.error as error:
            raise Unavailable(f"[tokenizer] pattern is not a regular expression: {error}") from error

    def encode(self, text: str) -> list[str]:
        """Return the matches, and what matches nothing as tokens that the model does not know."""
        tokens: list[str] = []
        end = 0
        for match in self._pattern.finditer(text):
            tokens += [*text[end : match.start()].split(), match[0]]
            end = match.end()
        return [token for token in [*tokens, *text[end:].split()] if token]

    def decode(self, tokens: list[str]) -> str:
        """Join matches."""
        return "".join(tokens)

    def can_produce(self, token: str) -> bool:
        """Return whether a token matches as a whole."""
        return bool(self._pattern.fullmatch(token))
