"""The pages of fields, errors and events are what the code takes, raises and recognises."""

import json
import re
import tomllib
from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import Meta, inspect
from support.project import ROOT

from lambda_inference._events import parse_event
from lambda_setup.models.describe import Description
from tools.pages import fields

PAGES = fields.make_pages()
TEXT = "| field | meaning |\n|---|---|\n| `data` | the items |\n"


def test_the_code_stands_beside_the_meaning() -> None:
    """What a field takes, and its default, in the order of the page."""
    filled = fields.fill_tables(
        "page.md", f"Before.\n\n{TEXT}\nAfter.\n", [{"data": ("`data`", "a|b", "`1`")}]
    )
    assert filled == (
        "Before.\n\n| field | takes | default | meaning |\n|---|---|---|---|\n"
        "| `data` | a\\|b | `1` | the items |\n\nAfter.\n"
    )


@pytest.mark.parametrize("names", [(), ("data", "other"), ("other",)])
def test_a_name_that_only_the_page_or_the_code_has_is_an_error(names: tuple[str, ...]) -> None:
    """So that a new field is written about, and one that is gone is not."""
    with pytest.raises(ValueError, match=r"page\.md: (data|other|data, other) stands in"):
        fields.fill_tables("page.md", TEXT, [dict.fromkeys(names, ("", "", ""))])


def test_a_table_that_is_missing_is_an_error() -> None:
    """It is not left out of the page."""
    with pytest.raises(ValueError, match=r"page\.md lacks a table"):
        fields.fill_tables("page.md", "No table.\n", [{}])


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Annotated[int, Meta(ge=1, description="one or more")], "one or more"),
        (Annotated[int, Meta(ge=1)], "an integer from 1 on"),
        (Annotated[str, Meta(pattern=r"\A[0-9]{2}\Z")], "a string, `[0-9]{2}`"),
        (str | None, "a string"),
        (Literal["b", "a"], '"a" or "b"'),
        (list[str], "a list of strings"),
        (list[Any], "a list"),
        (dict[str, str], "a table of strings"),
        (dict[str, Any], "a table"),
    ],
)
def test_what_a_field_takes_is_said(kind: Any, words: str) -> None:
    """By its description, or else by its type."""
    assert fields.describe_type(inspect.type_info(kind)) == words


def test_the_example_of_a_model_is_one() -> None:
    """It has every required key, and no other types than publishing reads."""
    [example] = re.findall(r"```toml\n(.*?)```", PAGES[fields.MODEL], re.DOTALL)
    msgspec.convert(tomllib.loads(example), Description, strict=True)


EVENTS = re.findall(
    r"^\| (.*) \| \[[\w.]+\]\(\.\./\.\./(events/valid/\w+\.json)\) \| (.*) \|$",
    PAGES[fields.REQUESTS],
    re.MULTILINE,
)


@pytest.mark.parametrize(("event", "path", "answer"), EVENTS, ids=[path for _, path, _ in EVENTS])
def test_an_event_arrives_as_the_page_says(event: str, path: str, answer: str) -> None:
    """By HTTP, from a queue, or directly; each example has its answer beside it."""
    content = json.loads((ROOT / path).read_text(encoding="utf-8"))
    calls, queued = parse_event(content)
    assert {call.http for call in calls} == {any(word in event for word in ("HTTP", "API", "URL"))}
    assert queued == event.startswith("SQS")
    if version := re.search(r"payload (\d\.\d)", event):
        assert content["version"] == version[1]
    assert content.get("isBase64Encoded", False) == ("base64" in event)
    assert ("warmup" in calls[0].payload()) == ("warmup" in answer)
    assert (ROOT / path).with_suffix(".answer.json").is_file()


def test_every_form_of_event_has_an_example() -> None:
    """Of those that the function recognises, but for the state machine's own."""
    assert len(EVENTS) == 8
