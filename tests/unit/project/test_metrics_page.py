"""docs/reference/metrics.md has every metric and log line of the functions, and no other."""

import ast
import re
from collections.abc import Iterator

from support.project import ROOT

PAGE = (ROOT / "docs" / "reference" / "metrics.md").read_text(encoding="utf-8")
FOLDERS = ("layer/python/lambda_inference", "translation_function", "examples/*_function")
TIMINGS = {"Predict", "Store"}
"""Recorded by the names of an answer's timings."""


def list_rows(section: str) -> set[str]:
    """Return the names in the first column of a section's table."""
    text = PAGE.partition(f"## {section}\n")[2].partition("\n## ")[0]
    return {
        name
        for cell in re.findall(r"^\| (`[^|]*) \|", text, re.MULTILINE)
        for name in re.findall("`(.*?)`", cell)
    }


def list_calls(*names: str) -> Iterator[str]:
    """Yield the first argument of each call of _telemetry's functions by these names, where it is a text."""
    for path in (ROOT / FOLDERS[0]).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and re.fullmatch(
                rf"_telemetry\.({'|'.join(names)})", ast.unparse(node.func)
            ):
                yield from _list_texts(node.args[0])
            elif isinstance(node, ast.Call) and ast.unparse(node.func) == "_log" and "error" in names:
                yield from _list_texts(node.args[1])


def _list_texts(node: ast.expr) -> Iterator[str]:
    yield from (
        part.value
        for part in ast.walk(node)
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
    )


def list_counts() -> set[str]:
    """Return the names of the functions' own counts."""
    texts = (
        path.read_text(encoding="utf-8") for folder in FOLDERS[1:] for path in ROOT.glob(f"{folder}/*.py")
    )
    return {name for text in texts for name in re.findall(r"""counts\s*=\s*\{"(\w+)":""", text)}


def test_every_metric_is_there() -> None:
    """By its name."""
    assert list_rows("Metrics") == {*list_calls("count", "record_duration"), *list_counts(), *TIMINGS}


def test_every_log_line_is_there() -> None:
    """By its message."""
    assert list_rows("Log lines") == {*list_calls("log", "warn", "debug", "error")}
