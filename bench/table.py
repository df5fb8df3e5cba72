"""Rows as a table, and their values in words."""

from collections.abc import Sequence
from typing import Any

SIGNS = {"lower": "≤", "higher": "≥"}

Record = dict[str, Any]
"""A row as results.json has it."""


def draw(rows: Sequence[Record]) -> str:
    """Return rows as a table in Markdown, and below it the causes of missed goals."""
    lines = ["| row | value | runs | goal | | compared with |", "|---|---|---|---|---|---|"]
    for row in rows:
        runs = row["runs"]
        spread = f"{format_number(min(runs))} to {format_number(max(runs))}" if len(runs) > 1 else ""
        value = f"{format_number(row['value'])} {row['unit']}"
        goal = f"{SIGNS[row['better']]} {format_number(row['goal'])}"
        baseline = escape(row["baseline"])
        lines.append(f"| {row['name']} | {value} | {spread} | {goal} | {describe_goal(row)} | {baseline} |")
    causes = [f"- {row['name']}: {row['cause']}." for row in rows if not row["met"]]
    return "\n".join([*lines, *(["", *causes] if causes else [])])


def covers(name_or_beginning: str, name: str) -> bool:
    """Return whether a row's name or its beginning, by whole words, selects the row."""
    return not name_or_beginning or name == name_or_beginning or name.startswith(f"{name_or_beginning}.")


def describe_goal(row: Record) -> str:
    """Return whether a row meets its goal; a miss stands out."""
    return "met" if row["met"] else "**missed**"


def escape(words: str) -> str:
    """Return words that do not end the cell of a table."""
    return words.replace("|", r"\|")


def format_number(value: float) -> str:
    """Return a number with separators from a thousand on, below with two digits."""
    if 0 < abs(value) < 0.1:  # noqa: PLR2004
        return f"{value:.2g}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.2f}"  # noqa: PLR2004
