"""Strip a tree's shared libraries, check each, and keep the original where that fails."""

from pathlib import Path

from layer.builder import tree as trees
from layer.builder.errors import ElfError
from layer.builder.report.facts import Stripped
from layer.builder.slim.elf import check_loadable, is_elf, strip


def strip_tree(tree: Path) -> Stripped:
    """Strip every shared library of a tree, whatever machine it is for."""
    count = before = after = 0
    restored = []
    for file in trees.files(tree):
        path = tree / file.path
        if not is_elf(path):
            continue
        data = path.read_bytes()
        try:
            slim = strip(data)
            check_loadable(data, slim)
        except ElfError:
            restored.append(file.path)
            continue
        if len(slim) < len(data):
            count, before, after = count + 1, before + len(data), after + len(slim)
            mode = path.stat().st_mode
            path.unlink()
            path.write_bytes(slim)
            path.chmod(mode)
    return Stripped(count, before, after, tuple(restored))
