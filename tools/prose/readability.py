"""How hard a page is to read: words a sentence, and Flesch's reading ease."""

import re
import statistics
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tools.prose.text import Sentence, read_sentences

_WORD = re.compile(r"[A-Za-z']+")
_VOWELS = re.compile(r"[aeiou]+(?:y(?![aeiou]))?|y(?![aeiou])")
_SILENT = re.compile(r"(?:[^laeiouy]e|[^dt]ed|[^aeiouyscxz]es)$")


@dataclass(frozen=True)
class Scores:
    """A page's number of sentences, words of its median and its longest one, and its reading ease.

    ``ease`` is Flesch's (A new readability yardstick, 1948): 206.835 - 1.015 x words a sentence - 84.6 x
    syllables a word; higher is easier, and 60 to 70 is plain English. Code counts as a word of one syllable.
    """

    sentences: int
    median: float
    longest: int
    ease: float


def score(sentences: Iterable[Sentence]) -> Scores:
    """Return the scores of a page's sentences."""
    found = [one for one in sentences if one.words]
    if not found:
        return Scores(0, 0, 0, 0)
    words = [word for one in found for word in _WORD.findall(one.text)]
    lengths = [one.words for one in found]
    syllables = sum(map(count_syllables, words)) / max(len(words), 1)
    ease = 206.835 - 1.015 * sum(lengths) / len(found) - 84.6 * syllables
    return Scores(len(found), statistics.median(lengths), max(lengths), ease)


def count_syllables(word: str) -> int:
    """Return about how many syllables an English word has: its groups of vowels, without silent endings."""
    word = word.lower().strip("'")
    return max(1, len(_VOWELS.findall(word)) - bool(_SILENT.search(word)))


def draw_table(pages: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Yield a line a page, by name and text, and one of all pages."""
    yield "median longest sentences   ease  page"
    every: list[Sentence] = []
    for name, text in pages:
        sentences = read_sentences(text)
        every += sentences
        yield _draw(score(sentences), name)
    yield _draw(score(every), "all")


def read_revision(root: Path, revision: str) -> Iterator[tuple[str, str]]:
    """Yield the name and the text of each page that people read, as a commit had it."""
    git = ["/usr/bin/env", "git", "-C", str(root)]
    listed = subprocess.run([*git, "ls-tree", "-r", "--name-only", revision], check=True, capture_output=True)
    for name in listed.stdout.decode().splitlines():
        path = PurePosixPath(name)
        if path.suffix == ".md" and (len(path.parts) == 1 or path.parts[0] in {"docs", "examples"}):
            shown = subprocess.run([*git, "show", f"{revision}:{name}"], check=True, capture_output=True)
            yield name, shown.stdout.decode()


def _draw(scores: Scores, name: str) -> str:
    return f"{scores.median:6.1f} {scores.longest:7} {scores.sentences:9} {scores.ease:6.1f}  {name}"
