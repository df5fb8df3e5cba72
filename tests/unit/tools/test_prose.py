"""The checker of prose finds the habits that its rules name, and leaves other sentences alone."""

import re
import subprocess
from pathlib import Path

import pytest
from support.project import ROOT

from tools.prose.check import check_code, check_page, list_code, load_rules
from tools.prose.code import read_descriptions, read_python
from tools.prose.readability import count_syllables, read_revision, score
from tools.prose.text import read_sentences

RULES = load_rules()


@pytest.mark.parametrize(
    ("sentence", "habit"),
    [
        ("A file's name is no word.", '"is no X"'),
        ("A page that nobody finds is none.", '"is none"'),
        ("A CUDA build is to be had.", "an old-fashioned phrase"),
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
    assert read_sentences(page) == []


def test_an_empty_page_has_no_words() -> None:
    """And no finding."""
    assert score(read_sentences("")).median == 0
    assert list(check_page("", RULES)) == []


def test_rules_are_read_from_any_file(tmp_path: Path) -> None:
    """They are data."""
    path = tmp_path / "rules.toml"
    path.write_text(
        "median = 3\nlongest = 9\nmade = []\ncode = []\nforeign = []\n"
        "[[rules]]\npattern = 'foo'\nhabit = 'foo'\ninstead = 'bar'\n"
    )
    assert list(check_page("Foo is here.\n", load_rules(path))) == ["1: foo: 'Foo'; write bar"]


MODULE = """\
\"\"\"The first sentence. A second one.

Attributes:
    name: of a thing.
        It goes on.
    other: of two::

        this = is no sentence

\"\"\"

# A comment that
# has two lines. And two sentences.
x = 1  # noqa: E501
raise ValueError(f"{x} is not a number; "
                 "give one")
print("name", "key=value", "a.b")
TABLE = {"first": "words of a table's cell"}
"""


def test_docstrings_messages_and_comments_are_read() -> None:
    """Names, values, directives and programs are not; what is filled in is one word."""
    assert [(one.text, one.line) for one in read_python(MODULE)] == [
        ("The first sentence.", 1),
        ("A second one.", 1),
        ("name: of a thing.", 4),
        ("It goes on.", 4),
        ("other: of two::", 6),
        ("A comment that has two lines.", 12),
        ("And two sentences.", 12),
        ("CODE is not a number; give one", 15),
        ("words of a table's cell", 18),
    ]


def test_descriptions_of_a_template_are_read() -> None:
    """Wherever they stand, with CloudFormation's tags around them; other values are not."""
    template = """\
Description: A stack. Of two.
Resources:
  One:
    Type: A thing of three words
    Value: !Sub ${A}
    Parameters:
      - Description: >-
          goes on
          below
"""
    assert {(one.text, one.line) for one in read_descriptions(template)} == {
        ("A stack.", 1), ("Of two.", 1), ("goes on below", 7),
    }  # fmt: skip


def test_a_habit_in_code_is_found(tmp_path: Path) -> None:
    """In messages as in docstrings, by its line."""
    path = tmp_path / "module.py"
    path.write_text('"""Mend the layer."""\n\nraise ValueError("this is no name of a layer")\n')
    assert [re.sub(r"; write.*", "", one) for one in check_code(path, RULES)] == [
        "1: \"mend\": 'Mend'",
        "3: \"is no X\": 'is no name'",
    ]


def test_what_users_see_is_checked() -> None:
    """Commands, functions, the template; not what is upstream's."""
    names = {path.relative_to(ROOT).as_posix() for path in list_code(ROOT, RULES)}
    assert names > {
        "lambda_setup/commands/batch.py", "layer/builder/cli/__init__.py", "template.yaml",
        "translation_function/app.py", "layer/python/lambda_inference/_errors.py",
    }  # fmt: skip
    assert not [name for name in names if "/patches/" in name or name.startswith("tests/")]


@pytest.mark.parametrize(
    ("word", "syllables"),
    [
        ("a", 1),
        ("layer", 2),
        ("make", 1),
        ("makes", 1),
        ("table", 2),
        ("loaded", 2),
        ("moved", 1),
        ("function", 2),
    ],
)
def test_syllables_are_counted(word: str, syllables: int) -> None:
    """About: by vowels that are heard."""
    assert count_syllables(word) == syllables


def test_reading_ease_is_flesch_s() -> None:
    """Two sentences of three words, each of one syllable."""
    scores = score(read_sentences("The cat sat. The dog ran.\n"))
    assert (scores.sentences, scores.median, round(scores.ease, 2)) == (2, 3, 119.19)


def test_pages_of_a_commit_are_read(tmp_path: Path) -> None:
    """Those at the root, of docs and of examples, as they were."""
    git = ["/usr/bin/env", "git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@example.com"]
    for name in ("README.md", "docs/a.md", "tests/b.md", "docs/c.svg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("then")
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "a"]):
        subprocess.run([*git, *command], check=True)
    (tmp_path / "README.md").write_text("now")
    assert list(read_revision(tmp_path, "HEAD")) == [("README.md", "then"), ("docs/a.md", "then")]
