"""The checker of prose finds the habits that its rules name, and leaves other sentences alone."""

import re
from pathlib import Path

import pytest

from tools.prose.check import check_page, count_words, load_rules
from tools.prose.text import read_sentences

RULES = load_rules()


@pytest.mark.parametrize(
    ("sentence", "habit"),
    [
        ("A file's name is no word.", '"is no X"'),
        ("The layer was mended.", '"mend"'),
        ("100 at once unless told otherwise.", '"told"'),
        ("Run it once more.", "an aphorism"),
        ("It is tried with pauses that grow.", "a description in place of the field's term"),
        ("What a snapshot holds is of no use.", "a negated noun"),
        ("You simply run it.", "a filler"),
        ("It has a powerful cache.", "advertising"),
        ("The file is read by one, and is checked by two and is stored by three.", "a chain of passives"),
    ],
)
def test_a_habit_is_found(sentence: str, habit: str) -> None:
    """In its line, with what to write."""
    found = list(check_page(f"# Page\n\n{sentence}\n", RULES))
    assert [re.match(rf"3: {re.escape(habit)}: .*; write ", one) is not None for one in found] == [True]


@pytest.mark.parametrize(
    "sentence",
    ["The file is no longer there.", "The function reads the file and checks it.", "`is no code` stays."],
)
def test_other_sentences_are_left_alone(sentence: str) -> None:
    """Also those that hold a habit in code."""
    assert list(check_page(f"# Page\n\n{sentence}\n", RULES)) == []


def test_every_rule_has_a_case() -> None:
    """A rule that nothing shows may never match."""
    marks = test_a_habit_is_found.pytestmark[0].args[1]
    assert {habit for _, habit in marks} >= {rule.habit for rule in RULES.habits} - {'"are no X"'}


def test_long_sentences_are_found() -> None:
    """Each by itself, and a page whose median is too long."""
    long = " ".join(["word"] * (RULES.longest + 1))
    first, second = check_page(f"Word {long}.\n", RULES)
    assert first.startswith("1: 42 words in the median sentence")
    assert second.startswith("1: 42 words in a sentence; at most 40: Word word")


def test_sentences_are_those_of_paragraphs_and_items() -> None:
    """Code, tables, headings, pictures and generated parts have none; links count by their text."""
    page = """# A heading. Not one.

The first ends. `Code. Here` is [one word](page.md#a.b), e.g. this.
It goes on
in two lines.

- An item.
  1. Another one

```
Not. This.
```

| no | table. Here. |

<!-- part -->
Not this. Nor this.
<!-- end part -->
![No. Picture.](image.svg)
"""
    assert [(one.text, one.line, one.words) for one in read_sentences(page)] == [
        ("The first ends.", 3, 3),
        ("CODE is one word, e.g. this.", 3, 6),
        ("It goes on in two lines.", 3, 6),
        ("An item.", 7, 2),
        ("Another one", 8, 2),
    ]


def test_rows_of_tables_are_read_for_habits() -> None:
    """Their cells are not sentences, whose words are counted."""
    page = "| `a.b` | what it is |\n|---|---|\n| a name | is no word. |\n"
    assert [one[:17] for one in check_page(page, RULES)] == ['3: "is no X": \'is']
    assert count_words(page).sentences == 1


def test_an_empty_page_has_no_words() -> None:
    """And no finding."""
    assert count_words("").median == 0
    assert list(check_page("", RULES)) == []


def test_rules_are_read_from_any_file(tmp_path: Path) -> None:
    """They are data."""
    path = tmp_path / "rules.toml"
    path.write_text(
        "median = 3\nlongest = 9\nmade = []\n[[rules]]\npattern = 'foo'\nhabit = 'foo'\ninstead = 'bar'\n"
    )
    assert list(check_page("Foo is here.\n", load_rules(path))) == ["1: foo: 'Foo'; write bar"]
