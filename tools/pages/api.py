"""The page of what a function may import: signatures and docstrings of lambda_inference's public modules."""

import ast
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

DOCUMENT = "docs/reference/api.md"
PACKAGE = Path(__file__).resolve().parents[2] / "layer" / "python" / "lambda_inference"
MODULES = ("", "texts", "networks", "tensors", "threads", "inputs", "results")
"""In the order of the page; the first is the package itself."""
_TEXT = (Path(__file__).parent / "texts" / "api.md").read_text(encoding="utf-8").rstrip("\n")
_SECTION = re.compile(r"(Args|Attributes|Raises|Returns):$")
_ENTRY = re.compile(r"(\w[\w, ]*): (.*)$")

Definition = ast.FunctionDef | ast.ClassDef | ast.Assign


def make_page() -> str:
    """Return the page's text: a section a module, a heading a name."""
    lines = [_TEXT]
    for module in MODULES:
        path = PACKAGE / f"{module or '__init__'}.py"
        tree = ast.parse(path.read_text(encoding="utf-8"))
        name = ".".join(filter(None, ["lambda_inference", module]))
        lines += ["", f"## {name}", "", draw_docstring(ast.get_docstring(tree) or "")]
        found = {one: _find(tree, one) for one in list_names(tree)}
        for one, definition in found.items():
            if not isinstance(definition, ast.Assign):
                lines += ["", f"### {one}", "", *_draw(definition)]
    return "\n".join(lines) + "\n"


def list_names(tree: ast.Module) -> list[str]:
    """Return what a module's ``__all__`` names."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return list(ast.literal_eval(node.value))
    raise ValueError("a public module has an __all__")


def draw_docstring(docstring: str) -> str:
    """Return a docstring as Markdown: code, blocks of code, and sections as lists."""
    lines: list[str] = []
    block: list[str] | None = None
    for line in [*docstring.splitlines(), "end"]:
        if block is not None and line.strip() and not line.startswith("    "):
            lines += ["```python", *textwrap.dedent("\n".join(block)).strip("\n").splitlines(), "```", ""]
            block = None
        if block is not None:
            block.append(line)
        elif line.endswith("::"):
            lines += [f"{line[:-2].rstrip()}:"] * (line.strip() != "::")
            lines.append("")
            block = []
        else:
            lines.append(line)
    return re.sub(r"\n{3,}", "\n\n", _mark("\n".join(_list_entries(lines[:-1])))).strip("\n")


def _list_entries(lines: list[str]) -> Iterator[str]:
    """Yield lines, those of a section such as ``Args`` as items."""
    inside, code = "", False
    for line in lines:
        code ^= line.startswith("```")
        if not code and (match := _SECTION.match(line)):
            inside = match[1]
            yield f"{inside}:"
            yield ""
        elif inside and line.startswith("    ") and not code:
            entry = _ENTRY.match(line.strip())
            is_new = entry and not line.startswith("     ")
            yield f"- `{entry[1]}`: {entry[2]}" if is_new and entry else f"  {line.strip()}"
        else:
            inside = inside if not line.strip() else ""
            yield line


def _mark(text: str) -> str:
    """Return a text with Markdown's code in place of reStructuredText's."""
    return re.sub(r"``([^`\n]+)``", r"`\1`", text)


def _find(tree: ast.Module, name: str) -> Definition:
    """Return the definition of a name in a module, or in the one that it is imported from."""
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and any(alias.name == name for alias in node.names):
            module = (node.module or "").removeprefix("lambda_inference.")
            return _find(ast.parse((PACKAGE / f"{module}.py").read_text(encoding="utf-8")), name)
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            return node
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return node
    raise ValueError(f"lambda_inference has no {name}; correct the module's __all__")


def _draw(node: ast.FunctionDef | ast.ClassDef) -> Iterator[str]:
    yield "```python"
    yield from _sign(node)
    yield "```"
    yield ""
    yield draw_docstring(ast.get_docstring(node) or "")
    methods = _list_methods(node) if isinstance(node, ast.ClassDef) else []
    if methods:
        yield "\nMethods:\n"
    for method in methods:
        first = (ast.get_docstring(method) or "").partition("\n\n")[0].replace("\n", " ")
        yield f"- `{_write_call(method)}`: {_mark(first)}"


def _sign(node: ast.FunctionDef | ast.ClassDef) -> Iterator[str]:
    """Yield the lines of a signature; a class has its fields."""
    if isinstance(node, ast.FunctionDef):
        yield f"def {_write_call(node)}{f' -> {ast.unparse(node.returns)}' if node.returns else ''}"
        return
    bases = ", ".join(map(ast.unparse, node.bases))
    yield f"class {node.name}({bases}):" if bases else f"class {node.name}:"
    fields = [
        one for one in node.body if isinstance(one, ast.AnnAssign) and _is_public(ast.unparse(one.target))
    ]
    yield from (f"    {_write_field(one)}" for one in fields)
    if not fields:
        yield "    ..."


def _write_field(node: ast.AnnAssign) -> str:
    """Return a field without the words of its ``Meta``, which the page of requests has."""
    kind = re.sub(r"Annotated\[(.*?), Meta\(.*\)\]", r"\1", ast.unparse(node.annotation))
    value = f" = {ast.unparse(node.value)}" if node.value else ""
    return f"{ast.unparse(node.target)}: {kind}{value}"


def _list_methods(node: ast.ClassDef) -> list[ast.FunctionDef]:
    return [one for one in node.body if isinstance(one, ast.FunctionDef) and _is_public(one.name)]


def _write_call(node: ast.FunctionDef) -> str:
    arguments = re.sub(r"^(self|cls)(, )?", "", ast.unparse(node.args))
    is_property = any(ast.unparse(one) == "property" for one in node.decorator_list)
    return node.name if is_property else f"{node.name}({arguments})"


def _is_public(name: str) -> bool:
    return not name.startswith("_")
