"""What is found in a page, by the rules in rules.toml."""

import re
import statistics
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tools.prose.text import read_rows, read_sentences

RULES = Path(__file__).with_name("rules.toml")


@dataclass(frozen=True)
class Rule:
    """A habit to lose: how it is found, and what to write."""

    pattern: re.Pattern[str]
    habit: str
    instead: str


@dataclass(frozen=True)
class Rules:
    """Every rule: the most words of a page's median sentence and of its longest, generated pages, habits."""

    median: float
    longest: int
    made: tuple[str, ...]
    habits: tuple[Rule, ...]


@dataclass(frozen=True)
class Counts:
    """A page's sentences, and the words of the median and of the longest one."""

    sentences: int
    median: float
    longest: int


def load_rules(path: Path = RULES) -> Rules:
    """Read the rules."""
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    habits = (
        Rule(re.compile(one["pattern"], re.IGNORECASE), one["habit"], one["instead"])
        for one in table["rules"]
    )
    return Rules(table["median"], table["longest"], tuple(table["made"]), tuple(habits))


def list_pages(root: Path, rules: Rules) -> list[Path]:
    """Return the pages that people read; in place of generated ones, the texts that they are made of."""
    pages = [*root.glob("*.md"), *(root / "docs").rglob("*.md"), *root.glob("examples/*/*.md")]
    texts = root.glob("tools/texts/*.md")
    return sorted({*pages, *texts} - {root / made for made in rules.made})


def count_words(page: str) -> Counts:
    """Return how long a page's sentences are."""
    words = [one.words for one in read_sentences(page)] or [0]
    return Counts(len(words), statistics.median(words), max(words))


def check_page(page: str, rules: Rules) -> Iterator[str]:
    """Yield each finding as its line and what to do."""
    counts = count_words(page)
    if counts.median > rules.median:
        yield f"1: {counts.median:g} words in the median sentence; at most {rules.median:g}: split long ones"
    for one in read_sentences(page):
        if one.words > rules.longest:
            yield f"{one.line}: {one.words} words in a sentence; at most {rules.longest}: {one.text[:60]}…"
    for one in [*read_sentences(page), *read_rows(page)]:
        for rule in rules.habits:
            if match := rule.pattern.search(one.text):
                yield f"{one.line}: {rule.habit}: {match[0][:60]!r}; write {rule.instead}"
