"""The folder that Lambda mounts: a tree as it is, or in an archive, with a marker that says which."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from layer.builder import tree as trees
from layer.builder.pack import archive, start
from layer.builder.recipe import Recipe
from layer.builder.report.facts import Archive, File
from layer.builder.slim.split.pages import Run
from layer.builder.target import Target

MARKER = "layer_target.json"
ARCHIVE = "layer.tar.zst"
UNZIP = "from lambda_inference._unpack import ensure\n\nensure()\n"
"""The module by which functions of serverless-python-requirements have their packages unpacked."""


def assemble(
    tree: Path,
    layer: Path,
    strategy: str,
    recipe: Recipe,
    target: Target,
    libraries: dict[str, str],
    *,
    opened: Iterable[str] = (),
    split: Sequence[str] = (),
    pages: Mapping[str, Sequence[Run]] | None = None,
) -> tuple[Archive | None, list[File]]:
    """Make a layer's folder of a tree, which is moved there or packed, with the function's marker.

    Args:
        tree: the packages.
        layer: the folder to make.
        strategy: ``direct`` or ``nested``.
        recipe: the layer's.
        target: the runtime and the architecture.
        libraries: versions by distribution.
        opened: the files that the prediction opened, if known.
        split: the split libraries.
        pages: of large files the pages that a start reads.

    Returns:
        The archive, if there is one, and every file of the layer and of its archive.

    """
    python = layer / "python"
    lists = [start.get_name(recipe.base_layer.name)] if recipe.base_layer else []
    marker: dict[str, object] = {
        "recipe": recipe.name,
        "engine": recipe.engine,
        "runtime": target.runtime,
        "architecture": target.architecture,
        "libraries": libraries,
        **({"split": sorted(split)} if split else {}),
    }
    contents = None
    inside: list[trees.File] = []
    if strategy == "direct":
        layer.mkdir()
        tree.rename(python)
        if (files := list(opened)) and start.is_read(recipe):
            start.write(python / start.get_name(recipe.name), files, pages or {})
            lists.append(start.get_name(recipe.name))
    else:
        python.mkdir(parents=True)
        inside = trees.files(tree)
        packed = archive.pack(tree, python / ARCHIVE)
        contents = Archive(packed.bytes, packed.tree_bytes, packed.files)
        marker["archive"] = {"file": ARCHIVE, "index": packed.index_sha256, "bytes": packed.tree_bytes}
        (python / "unzip_requirements.py").write_text(UNZIP)
    if lists:
        marker["starts"] = lists
    if recipe.engine or contents:
        (python / MARKER).write_text(json.dumps(marker, indent=2) + "\n")
    plain = [file for file in trees.files(python) if file.path != ARCHIVE]  # listed by its files instead
    return contents, [
        *(File(file.path, file.size, file.package, "layer") for file in plain),
        *(File(file.path, file.size, file.package, "archive") for file in inside),
    ]
