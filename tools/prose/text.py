"""The sentences of a Markdown page: paragraphs and lists, without code, tables and generated parts."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_ABBREVIATIONS = re.compile(r"\b(?:e\.g|i\.e|etc|vs|St|Dr|approx)\.$")
_HIDDEN = (
    re.compile(r"^[ \t]*```.*?^[ \t]*```", re.DOTALL | re.MULTILINE),
    re.compile(r"<!-- ([a-z ]+) -->.*?<!-- end(?: \1)? -->", re.DOTALL),
    re.compile(r"<!--.*?-->", re.DOTALL),
)
_INLINE = (
    (re.compile(r"!\[[^\]]*\]\([^)]*\)"), ""),
    (re.compile(r"\[([^\]]*)\]\([^)]*\)"), r"\1"),
    (re.compile(r"`[^`]*`"), "CODE"),
    (re.compile(r"\*\*|\*|<[^>]+>"), ""),
)
_ITEM = re.compile(r"^\s*(?:[-*]|\d+\.) ")
_END = re.compile(r"(?<=[.!?])[)\"]*\s+(?=[\"(]?[A-Z0-9])")


@dataclass(frozen=True)
class Sentence:
    """A sentence as words, and the line that it begins in."""

    text: str
    line: int

    @property
    def words(self) -> int:
        """How many words it has; code and numbers are words, signs are not."""
        return len(re.findall(r"\w[\w'.,/-]*", self.text))


def read_sentences(page: str) -> list[Sentence]:
    """Return the sentences of a page's paragraphs and list items."""
    return [one for text, line in _read_blocks(_hide(page)) for one in split(text, line)]


def read_rows(page: str) -> list[Sentence]:
    """Return the rows of a page's tables, whose cells are not sentences."""
    lines = enumerate(_hide(page).splitlines(), 1)
    return [Sentence(_simplify(line), number) for number, line in lines if line.startswith("|")]


def _hide(page: str) -> str:
    """Return a page with empty lines in place of code, comments and generated parts."""
    for pattern in _HIDDEN:
        page = pattern.sub(lambda match: "\n" * match[0].count("\n"), page)
    return page


def _simplify(text: str) -> str:
    """Return a text without marks: links by their text, code as one word."""
    for pattern, replacement in _INLINE:
        text = pattern.sub(replacement, text)
    return text


def _read_blocks(page: str) -> Iterator[tuple[str, int]]:
    """Yield each paragraph and list item as one line, with the number of its first."""
    block: list[str] = []
    first = 0
    for number, line in enumerate([*page.splitlines(), ""], 1):
        ends = not line.strip() or line.startswith(("#", "|", "[![", "<img"))
        if (ends or _ITEM.match(line)) and block:
            yield " ".join(block), first
            block = []
        if not ends:
            first = first if block else number
            block.append(_ITEM.sub("", line, count=1).strip())


def split(text: str, line: int) -> Iterator[Sentence]:
    """Yield the sentences of a text that begins in a line."""
    text = _simplify(text)
    start = 0
    for match in _END.finditer(text):
        if not _ABBREVIATIONS.search(text[: match.start()]):
            yield Sentence(text[start : match.start()].strip(), line)
            start = match.end()
    if rest := text[start:].strip():
        yield Sentence(rest, line)
