"""What is found in pages, code and templates, by the rules in rules.toml."""

import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tools.prose.code import read_descriptions, read_python
from tools.prose.readability import score
from tools.prose.text import Sentence, read_rows, read_sentences

RULES = Path(__file__).with_name("rules.toml")


@dataclass(frozen=True)
class Rule:
    """A habit to lose: how it is found, and what to write."""

    pattern: re.Pattern[str]
    habit: str
    instead: str


@dataclass(frozen=True)
class Rules:
    """Every rule.

    Attributes:
        median: the most words of a page's median sentence.
        longest: the most words of a sentence.
        made: generated pages, which are checked where their texts are.
        code: globs of the files of Python and of templates that are checked.
        foreign: globs of files whose words are upstream's.
        habits: what not to write.

    """

    median: float
    longest: int
    made: tuple[str, ...]
    code: tuple[str, ...]
    foreign: tuple[str, ...]
    habits: tuple[Rule, ...]


def load_rules(path: Path = RULES) -> Rules:
    """Read the rules."""
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    habits = (
        Rule(re.compile(one["pattern"], re.IGNORECASE), one["habit"], one["instead"])
        for one in table["rules"]
    )
    lists = (tuple(table[name]) for name in ("made", "code", "foreign"))
    return Rules(table["median"], table["longest"], *lists, tuple(habits))


def list_pages(root: Path, rules: Rules) -> list[Path]:
    """Return the pages that people read; in place of generated ones, the texts that they are made of."""
    pages = [*root.glob("*.md"), *(root / "docs").rglob("*.md"), *root.glob("examples/*/*.md")]
    texts = root.glob("tools/pages/texts/*.md")
    return sorted({*pages, *texts} - {root / made for made in rules.made})


def list_code(root: Path, rules: Rules) -> list[Path]:
    """Return the files of Python and the templates whose words people read."""
    foreign = {path for pattern in rules.foreign for path in root.glob(pattern)}
    return sorted({path for pattern in rules.code for path in root.glob(pattern)} - foreign)


def check_page(page: str, rules: Rules) -> Iterator[str]:
    """Yield each finding as its line and what to do."""
    sentences = read_sentences(page)
    counts = score(sentences)
    if counts.median > rules.median:
        yield f"1: {counts.median:g} words in the median sentence; at most {rules.median:g}: split long ones"
    yield from _check_lengths(sentences, rules)
    yield from _check_habits([*sentences, *read_rows(page)], rules)


def check_code(path: Path, rules: Rules) -> Iterator[str]:
    """Yield each finding in a file of Python, or in the descriptions of a template."""
    text = path.read_text(encoding="utf-8")
    sentences = list(read_python(text) if path.suffix == ".py" else read_descriptions(text))
    yield from _check_lengths(sentences, rules)
    yield from _check_habits(sentences, rules)


def _check_lengths(sentences: Iterable[Sentence], rules: Rules) -> Iterator[str]:
    for one in sentences:
        if one.words > rules.longest:
            yield f"{one.line}: {one.words} words in a sentence; at most {rules.longest}: {one.text[:60]}…"


def _check_habits(sentences: Iterable[Sentence], rules: Rules) -> Iterator[str]:
    for one in sentences:
        for rule in rules.habits:
            if match := rule.pattern.search(one.text):
                yield f"{one.line}: {rule.habit}: {match[0][:60]!r}; write {rule.instead}"
