"""The prose in code: docstrings, comments and messages of Python, and the descriptions of templates."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator

import yaml

from tools.prose.text import Sentence, split

_DESCRIPTIONS = {"Description", "ConstraintDescription", "Comment", "description"}
_SHORTEST = 3
"""Words from which a string is a message, and not a name or a value."""
_DIRECTIVE = re.compile(r"#\s*(?:noqa|type:|fmt:|pragma|!)")
_WORD = re.compile(r"(?<!\S)[(\"']*[A-Za-z][a-z'-]*[.,;:)\"']*(?!\S)")
_SECTION = re.compile(r"[A-Z]\w+:")
_ENTRY = re.compile(r"[\w`*][\w`*, ]*: ")
"""The beginning of an argument's or an attribute's line."""


def read_python(text: str) -> list[Sentence]:
    """Return the sentences of a module's docstrings, messages (help and log lines too) and comments."""
    return sorted(_read_python(text), key=lambda one: one.line)


def _read_python(text: str) -> Iterator[Sentence]:
    tree = ast.parse(text)
    docstrings = {node: node.value for node in _list_docstrings(tree)}
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if node in docstrings:
            yield from _read_docstring(str(docstrings[node]), node.lineno)
        elif id(node) not in inside and isinstance(node, ast.Constant | ast.JoinedStr):
            message = _join(node)
            if len(_WORD.findall(message)) >= _SHORTEST and "\n" not in message:
                yield from split(message, node.lineno)
    for comment, line in _read_comments(text):
        yield from split(comment, line)


def read_descriptions(text: str) -> Iterator[Sentence]:
    """Yield the sentences of the descriptions in a file of YAML or JSON."""
    nodes = [yaml.compose(text, yaml.SafeLoader)]
    while nodes:
        node = nodes.pop()
        if isinstance(node, yaml.SequenceNode):
            nodes += node.value
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value in _DESCRIPTIONS and isinstance(value, yaml.ScalarNode):
                    yield from split(" ".join(value.value.split()), value.start_mark.line + 1)
                nodes.append(value)


def _list_docstrings(tree: ast.Module) -> Iterator[ast.Constant]:
    """Yield the strings that stand for themselves: below a definition, or an assignment."""
    for node in ast.walk(tree):
        value = node.value if isinstance(node, ast.Expr) else None
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            yield value


def _read_docstring(text: str, first: int) -> Iterator[Sentence]:
    """Yield the sentences of a docstring's paragraphs and entries, without its programs."""
    block: list[str] = []
    start, program = first, False
    for number, line in enumerate([*text.splitlines(), ""], first):
        words = line.strip()
        program = (program and (not words or line.startswith("    "))) or (
            bool(block) and block[-1].endswith("::")
        )
        ends = not words or program or bool(_SECTION.fullmatch(words))
        if block and (ends or _ENTRY.match(words)):
            yield from split(" ".join(block).replace("``", "`"), start)
            block = []
        if not ends:
            start = start if block else number
            block.append(words)


def _join(node: ast.Constant | ast.JoinedStr) -> str:
    """Return a string with `CODE` in place of what is filled in; nothing for a constant of another type."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    return "".join(str(part.value) if isinstance(part, ast.Constant) else "CODE" for part in node.values)


def _read_comments(text: str) -> Iterator[tuple[str, int]]:
    """Yield the comments, those of lines in a row as one, with the line of the first."""
    block: list[str] = []
    first, last, margin = 0, 0, 0
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type != tokenize.COMMENT or _DIRECTIVE.match(token.string):
            continue
        line, column = token.start
        if block and (line, column) != (last + 1, margin):
            yield " ".join(block), first
            block = []
        if not block:
            first, margin = line, column
        block.append(token.string.lstrip("# "))
        last = line
    if block:
        yield " ".join(block), first
