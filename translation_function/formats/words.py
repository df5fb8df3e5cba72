"""Texts to words as pyonmttok splits them, without its library, which has no wheel for Lambda's Python.

Held to pyonmttok 1.38. Its rules stand in https://github.com/OpenNMT/Tokenizer, "Options".
"""

import functools
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

OPEN, CLOSE = "｟", "｠"
"""Around placeholders, which no rule splits."""
ESCAPE = "％"  # noqa: RUF001
_SUBSTITUTES = {"▁": "_", "￭": "■", "￨": "│", "％": "%", "＃": "#", "：": ":"}  # noqa: RUF001
"""Characters that have a meaning in tokens, and what stands for them."""
_FEATURE = "￨"  # noqa: RUF001
_KINDS = {"Z": "space", "N": "number", "L": "letter", "M": "mark"}


@dataclass
class Word:
    """A word, and how it stands to its neighbours.

    Attributes:
        left, right: joined to the word before, after it.
        spacer: begins with SentencePiece's mark of a space.
        preserve: its joiners are tokens of their own.
        casing: None, "L" lowercase, "U" uppercase, "C" capitalised, "M" mixed.
        trailing: a part of a word that is not its first.

    """

    text: str = ""
    left: bool = False
    right: bool = False
    spacer: bool = False
    preserve: bool = False
    casing: str | None = None
    trailing: bool = False

    @property
    def is_placeholder(self) -> bool:
        """Whether it holds a placeholder."""
        start = self.text.find(OPEN)
        return start >= 0 and self.text.find(CLOSE, start + 2) >= 0


@functools.cache
def get_kind(character: str) -> str:
    """Return space, number, letter, mark or other."""
    return _KINDS.get(unicodedata.category(character)[0], "other")


def get_case(character: str) -> str | None:
    """Return U or L for a letter with a case."""
    return {"Lu": "U", "Ll": "L"}.get(unicodedata.category(character))


def update_casing(current: str | None, case: str | None, index: int) -> str | None:
    """Return a word's casing with one more letter, the index-th."""
    if current is None:
        if index == 0:
            return {"L": "L", "U": "C"}.get(case or "")
        return "M" if case else None
    if current == "C":
        if index == 1:
            return {"L": "C", "U": "U"}.get(case or "", "C")
        return "C" if case == "L" else "M"
    return current if current in {"M", case} else "M"


class Splitter:
    """A text on its way into words, by the options of pyonmttok."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = options
        self._words: list[Word] = []
        self._word = Word()
        self._length = 0

    def split(self, text: str) -> list[Word]:
        """Return a text's words."""
        text = text.partition("\0")[0]
        if self._options["mode"] in {"none", "space"}:
            self._split_placeholders(text)
        else:
            self._split_characters(text)
        self._end_word()
        return self._words

    def _end_word(self) -> None:
        if self._word.text:
            self._words.append(self._word)
            self._word, self._length = Word(), 0

    def _append(self, text: str) -> None:
        self._word.text += text
        self._length += 1

    def _append_safely(self, character: str) -> None:
        plain = self._options["no_substitution"]
        self._append(character if plain else _SUBSTITUTES.get(character, character))

    def _append_escaped(self, character: str) -> None:
        plain = self._options["no_substitution"]
        self._append(character if plain else f"{ESCAPE}{ord(character):04x}")

    def _add_placeholder(self, text: str, start: int) -> int:
        """Append a placeholder up to its end, or all that is left without one; return where that is."""
        end = text.find(CLOSE, start) + 1 or len(text)
        for character in text[start:end]:
            if get_kind(character) == "space":
                self._append_escaped(character)
            elif self._options["mode"] in {"none", "space"} or not _is_skipped(character):
                self._append(character)
        return end

    def _split_placeholders(self, text: str) -> None:
        """Split at placeholders, and in mode space at spaces."""
        segmented = bool(self._options["preserve_segmented_tokens"])
        index, skip = 0, False
        while index < len(text):
            character = text[index]
            if character == OPEN:
                if self._word.text:
                    self._word.right = get_kind(text[index - 1]) != "space"
                    self._word.preserve = segmented
                    self._end_word()
                index = self._add_placeholder(text, index)
                if self._word.text.endswith(CLOSE):
                    self._word.right = index < len(text) and get_kind(text[index]) != "space"
                    self._word.preserve = segmented or bool(self._options["preserve_placeholders"])
                    self._end_word()
                continue
            index += 1
            if self._options["mode"] == "space" and get_kind(character) == "space":
                self._end_word()
                skip = False
            elif self._options["mode"] == "space" and character == _FEATURE:
                skip = True  # a feature of the word, which is not text
            elif not skip:
                self._append_safely(character)

    def _split_characters(self, text: str) -> None:
        """Split where letters, numbers, spaces and others meet."""
        state, index = "space", 0
        while index < len(text):
            if _is_skipped(text[index]):
                index += 1
                continue
            if text[index] == OPEN:
                self._begin_placeholder(state)
                index = self._add_placeholder(text, index)
                closed = text[index - 1] == CLOSE
                self._word.preserve |= closed and bool(self._options["preserve_placeholders"])
                state = "placeholder"
                continue
            end = index + 1
            while end < len(text) and get_kind(text[end]) == "mark":
                end += 1
            if get_kind(text[index]) == "space":
                state = self._split_space(text[index:end], state)
            else:
                state = self._add_character(text[index:end], text[end : end + 1], state)
            index = end

    def _begin_placeholder(self, state: str) -> None:
        if state == "space":
            return
        self._end_word()
        if state in {"letter", "number"}:
            self._word.left = True
        else:
            self._words[-1].right = True

    def _add_character(self, character: str, following: str, state: str) -> str:
        """Append a character with its marks to a word; return the state."""
        mode, kind = self._options["mode"], get_kind(character[0])
        is_word = kind == "letter" or (
            mode == "conservative" and _joins_words(character[0], kind, following, state)
        )
        if is_word and mode != "char":
            self._add_letter(character[0], state)
            state = "letter"
        elif kind == "number" and mode != "char":
            self._add_number(state)
            state = "number"
        else:
            if state != "space":
                self._end_word()
                self._word.left = True
                self._word.preserve |= bool(self._options["preserve_segmented_tokens"]) and kind == "mark"
            state = "other"
        self._append_safely(character[0])
        for mark in character[1:]:
            self._append(mark)
        if state == "other":
            self._end_word()
        return state

    def _split_space(self, space: str, state: str) -> str:
        """End a word at a space, which becomes a word where marks combine with it; return the state."""
        if state != "space":
            self._end_word()
        if len(space) == 1:
            return "space"
        self._word.left |= state != "space"
        self._append_escaped(space[0])
        for mark in space[1:]:
            self._append(mark)
        self._end_word()
        return "other"

    def _add_letter(self, letter: str, state: str) -> None:
        """Begin a new word before a letter, or go on with one."""
        case = get_case(letter)
        casing = update_casing(self._word.casing, case, self._length)
        changes_case = state == "letter" and bool(self._options["segment_case"]) and casing == "M"
        if state in {"number", "placeholder"} or changes_case:
            self._word.right = True
            self._word.preserve |= changes_case and bool(self._options["preserve_segmented_tokens"])
            self._end_word()
            self._word.casing = update_casing(self._word.casing, case, 0)
            return
        self._word.casing = casing
        if state == "other" and not self._word.text:
            self._words[-1].right = True

    def _add_number(self, state: str) -> None:
        """Begin a new word before a number, or go on with one."""
        again = bool(self._options["segment_numbers"]) and state == "number"
        if state in {"letter", "placeholder"} or again:
            self._word.preserve |= again and bool(self._options["preserve_segmented_tokens"])
            self._end_word()
            if state == "letter":
                self._word.left = True
            else:
                self._words[-1].right = True
        elif state == "other":
            self._words[-1].right = True


def _is_skipped(character: str) -> bool:
    """Return whether modes that look at characters leave one out, wherever marks would combine with it."""
    return character < " " or character == "\ufeff"


def _joins_words(character: str, kind: str, following: str, state: str) -> bool:
    """Return whether mode conservative takes a character for a letter."""
    if kind == "number" or character == "_":
        return True
    if state not in {"letter", "placeholder"}:
        return False
    return character == "-" or (
        character in ".," and bool(following) and get_kind(following) in {"number", "letter"}
    )
