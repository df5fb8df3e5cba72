"""Templates of functions: a few values are replaced where they stand, and everything else stays as it is.

A template may be laid out in any way that YAML allows, with comments, other resources and any line ends.
What was written is read again before it becomes a file: it has the new values, and is otherwise the same.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import tomlkit
import tomlkit.exceptions
import yaml  # type: ignore[import-untyped]

from lambda_setup import functions
from lambda_setup.errors import CommandError
from lambda_setup.functions import ROOT
from lambda_setup.scaffold.files import Files
from lambda_setup.scaffold.places import Places

APPLICATION = "AWS::Serverless::Application"
_TEXT = "tag:yaml.org,2002:str"
_NEEDED = """\
Parameters:
  Engine:
    Type: String
    Default: {name}
  ModelName:
    Type: String
    Default: {model}
Resources:
  Application:
    Type: AWS::Serverless::Application
    Properties:
      Location: {up}/template.yaml
      Parameters:
        CodeFolder: {code}
        Engine: !Ref Engine
        ModelName: !Ref ModelName"""
_SETTINGS = {
    "default.global.parameters": "stack_name",
    "default.deploy.parameters": "s3_prefix",
    "default.build.parameters": "base_dir",
}
"""Of samconfig.toml: the tables, and in each what is another one's in another function."""


class _Unsuitable(ValueError):
    """A template lacks what another function's would be made of; the message says what."""


def plan_deployment(places: Places, home: Path | None = None) -> Files:
    """Return the template and the samconfig.toml of a new function.

    Args:
        places: where it goes.
        home: the folder of the function whose files are taken (default: the first that has suitable ones).

    Raises:
        CommandError: they lack what a function's need; the message says what to add.

    """
    homes = [home] if home else [one.home for one in functions.discover() if one.home != ROOT]
    if not homes:
        raise CommandError("no function here has a template of its own to copy; restore one of examples/")
    refusals = []
    for one in homes:
        try:
            return {
                places.code / "template.yaml": edit_template(places, one / "template.yaml"),
                places.code / "samconfig.toml": edit_samconfig(places, one / "samconfig.toml"),
            }
        except CommandError as error:
            refusals.append(error)
    raise refusals[0]


def edit_template(places: Places, path: Path) -> str:
    """Return the text of a function's template for another function.

    Raises:
        CommandError: it cannot be read, or lacks what a function's template needs.

    """
    try:
        text = path.read_bytes().decode("utf-8")  # line ends as they are
        found = _compose(text)
        edits = list(_list_edits(found, places))
        return _apply(text, found, edits)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, _Unsuitable) as error:
        needed = _NEEDED.format(
            name=places.name, model=places.model_name, up=places.up, code=places.code.relative_to(ROOT)
        )
        raise CommandError(
            f"no template for {places.name} can be made of {path}: {' '.join(str(error).split())}. Nothing "
            "was written. Add there what is missing, with that function's own values in place of these:\n"
            f"{needed}"
        ) from None


def _compose(text: str) -> Any:
    """Return the nodes of a document, each with its place in the text."""
    found = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(found, yaml.MappingNode):
        raise _Unsuitable("its top level is not a mapping")
    return found


def _list_edits(root: Any, places: Places) -> Iterator[tuple[Any, Sequence[str] | str]]:
    """Yield the nodes to replace, each with its value: a text, or the items of a list."""
    parameters = "Parameters"
    yield _get_required(root, parameters, "Engine", "Default"), places.name
    yield _get_required(root, parameters, "ModelName", "Default"), places.model_name
    if allowed := _find(root, parameters, "Engine", "AllowedValues"):
        yield allowed, [places.name]
    if description := _find(root, "Description"):
        yield description, f"{places.name}."
    name = _find_application(root)
    of_application = ("Resources", name, "Properties")
    yield _get_required(root, *of_application, "Location"), f"{places.up}/template.yaml"
    yield _get_required(root, *of_application, parameters, "CodeFolder"), str(places.code.relative_to(ROOT))
    for one in ("Engine", "ModelName"):
        value = _get_required(root, *of_application, parameters, one)
        if not _refers_to(value, one):
            raise _Unsuitable(f"{'.'.join((*of_application, parameters, one))} is not !Ref {one}")


def _find_application(root: Any) -> str:
    """Return the name of the resource that is the project's own template with other parameters."""
    resources = _get_required(root, "Resources")
    names = [
        key.value
        for key, value in (resources.value if isinstance(resources, yaml.MappingNode) else [])
        if getattr(_find(value, "Type"), "value", "") == APPLICATION
        and _find(value, "Properties", "Parameters", "CodeFolder")
    ]
    if len(names) != 1:
        found = f": {', '.join(names)}" if names else ""
        raise _Unsuitable(
            f"it has {len(names)} resources of type {APPLICATION} with a CodeFolder, not one{found}"
        )
    return str(names[0])


def _find(node: Any, *path: str) -> Any:
    """Return the node at a path of keys, None where there is none."""
    for name in path:
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        node = next((value for key, value in reversed(pairs) if key.value == name), None)
    return node


def _get_required(node: Any, *path: str) -> Any:
    """Return the node at a path of keys, which the template has to have."""
    found = _find(node, *path)
    if found is None:
        raise _Unsuitable(f"it has no {'.'.join(path)}")
    return found


def _refers_to(node: Any, name: str) -> bool:
    """Return whether a node is a reference to a parameter, in either form."""
    short = node.tag == "!Ref" and node.value == name
    return short or getattr(_find(node, "Ref"), "value", None) == name


def _apply(text: str, root: Any, edits: Sequence[tuple[Any, Sequence[str] | str]]) -> str:
    """Return the text with other values in the places of nodes."""
    uses = Counter(id(node) for node in _walk(root))
    changes = []
    for node, value in edits:
        if uses[id(node)] > 1:
            raise _Unsuitable(f"line {node.start_mark.line + 1} is used twice, by an anchor")
        changes.append(_replace(text, node, value))
    for start, end, written in sorted(changes, reverse=True):
        text = text[:start] + written + text[end:]
    if _describe(_compose(text)) != _describe(root):
        raise _Unsuitable("it is laid out in a way that cannot be edited")
    return text


def _replace(text: str, node: Any, value: Sequence[str] | str) -> tuple[int, int, str]:
    """Give a node another value, and return the start and the end of its place and what is written there."""
    start, end = node.start_mark.index, node.end_mark.index
    if isinstance(value, str):
        if not isinstance(node, yaml.ScalarNode):
            raise _Unsuitable(f"line {node.start_mark.line + 1} holds no text")
        written = _write(value)
        if node.style in {"|", ">"}:  # such a place ends with its line
            written += "\r\n" if "\r\n" in text[start:end] else "\n"
        node.tag, node.value = _TEXT, value
        return start, end, written
    if not isinstance(node, yaml.SequenceNode):
        raise _Unsuitable(f"line {node.start_mark.line + 1} holds no list")
    written = ", ".join(map(_write, value))
    if node.value:  # a list in lines ends behind the comments after it
        start, end = node.value[0].start_mark.index, node.value[-1].end_mark.index
    else:
        written = f"[{written}]"
    node.value = [yaml.ScalarNode(_TEXT, one) for one in value]
    return start, end, written


def _write(value: str) -> str:
    """Return a text as YAML has it: without quotes, unless it would be something else."""
    read = yaml.compose(value, Loader=yaml.SafeLoader)
    return value if (read.tag, read.value) == (_TEXT, value) else f'"{value}"'


def _walk(node: Any) -> Iterator[Any]:
    """Yield a node and all below it, once for each use."""
    yield node
    if isinstance(node, yaml.MappingNode):
        for pair in node.value:
            for one in pair:
                yield from _walk(one)
    elif isinstance(node, yaml.SequenceNode):
        for one in node.value:
            yield from _walk(one)


def _describe(node: Any) -> Any:
    """Return what a node says, however it is laid out."""
    if isinstance(node, yaml.MappingNode):
        return node.tag, [(_describe(key), _describe(value)) for key, value in node.value]
    if isinstance(node, yaml.SequenceNode):
        return node.tag, [_describe(one) for one in node.value]
    return node.tag, node.value


def edit_samconfig(places: Places, path: Path) -> str:
    """Return the text of a function's samconfig.toml for another function.

    Raises:
        CommandError: it cannot be read, or lacks a table that is needed.

    """
    stack = places.name.replace("_", "-")
    values = {"stack_name": stack, "s3_prefix": stack, "base_dir": places.up}
    try:
        settings: Any = tomlkit.parse(path.read_bytes().decode("utf-8"))
        for table, key in _SETTINGS.items():
            parameters = settings
            for name in table.split("."):
                parameters = parameters[name]
            parameters[key] = values[key]
    except (OSError, UnicodeDecodeError, tomlkit.exceptions.TOMLKitError) as error:
        needed = "\n".join(f'[{table}]\n{key} = "{values[key]}"' for table, key in _SETTINGS.items())
        raise CommandError(
            f"no samconfig.toml for {places.name} can be made of {path}: {error}. Nothing was written. Add "
            f"there what is missing, with that function's own values in place of these:\n{needed}"
        ) from None
    return tomlkit.dumps(settings)
