"""Patches of installed packages, as data; each has a check that fails when upstream changes.

::

    [[patches]]
    name = "onmt without numpy"
    reason = "…"
    upstream = "https://github.com/…"    # describes the fault, and when the patch can go
    stage = "slim"                       # or "fix": without it the package does not even run; or "lazy"
    targets = ["host"]                   # that it is for (default: all): versions differ
    path = "onmt/utils/misc.py"
    remove = true                        # one of: remove, empty, content = "FILE", old + new
    expects = { "onmt/utils/misc.py" = "<sha256>" }   # or a list of texts that the file must contain

A fix is applied to the full tree too, before its answer is taken as the reference. A slim patch is covered by
the proof: the tree must still give the reference answer. A lazy patch moves imports to their first use; it is
applied when the trace is taken, so that what is imported later stays, and covered by ``late.gate``, too.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from layer.builder import tree as trees
from layer.builder.errors import PatchError
from layer.builder.report.facts import Removed

STAGES = ("fix", "slim", "lazy")
"""In the order in which patches are applied."""


@dataclass(frozen=True)
class Patch:
    """A change of one file.

    ``stage`` is one of ``STAGES``. ``action`` is ``remove``, ``empty``, ``content`` (a new file) or
    ``replace``: the file contains ``old`` exactly once. ``expects`` holds, by path, the sha256 or the texts
    of files that must still be as they were when the patch was written.
    """

    name: str
    reason: str
    upstream: str
    stage: str
    path: str
    action: str
    content: str = ""
    old: str = ""
    new: str = ""
    expects: dict[str, str | list[str]] = field(default_factory=dict)
    targets: tuple[str, ...] = ()

    def is_for(self, target: str) -> bool:
        """Return whether it changes the packages of a target."""
        return not self.targets or target in self.targets


def apply(tree: Path, patches: Iterable[Patch], stage: str) -> list[str]:
    """Apply the patches of a stage, and return their names; one that no longer fits is a PatchError."""
    names = []
    for patch in patches:
        if patch.stage == stage:
            _check(tree, patch)
            _write(tree, patch)
            names.append(patch.name)
    return names


def apply_slim(tree: Path, patches: Iterable[Patch]) -> list[Removed]:
    """Apply the patches that make a tree smaller, and return by how much."""
    before = trees.files(tree)
    apply(tree, patches, "slim")
    sizes = {file.path: file.size for file in trees.files(tree)}
    return [
        Removed("patches", "the recipe's patches", file.package, int(file.path not in sizes), saved)
        for file in before
        if (saved := file.size - sizes.get(file.path, 0))
    ]


def is_applied(tree: Path, patch: Patch) -> bool:
    """Return whether a tree is already patched."""
    path = tree / patch.path
    if patch.action == "remove":
        return not path.exists()
    if not path.is_file():
        return False
    text = path.read_bytes()
    if patch.action == "replace":
        return patch.old.encode() not in text and patch.new.encode() in text
    return text == patch.content.encode()


def _check(tree: Path, patch: Patch) -> None:
    for name, expected in patch.expects.items():
        path = tree / name
        if not path.is_file():
            raise _describe_mismatch(patch, f"{name} is missing")
        data = path.read_bytes()
        if isinstance(expected, str):
            actual = hashlib.sha256(data).hexdigest()
            if actual != expected:
                raise _describe_mismatch(patch, f"{name} has the sha256 {actual}, not {expected}")
        elif missing := [text for text in expected if text.encode() not in data]:
            raise _describe_mismatch(patch, f"{name} no longer contains {missing[0]!r}")
    if patch.action in {"remove", "empty", "replace"} and not (tree / patch.path).is_file():
        raise _describe_mismatch(patch, f"{patch.path} is missing")
    if patch.action == "replace":
        count = (tree / patch.path).read_bytes().count(patch.old.encode())
        if count != 1:
            raise _describe_mismatch(patch, f"{patch.path} contains {patch.old!r} {count} times, not once")


def _write(tree: Path, patch: Patch) -> None:
    path = tree / patch.path
    if patch.action == "remove":
        path.unlink()
        return
    mode = path.stat().st_mode if path.exists() else 0o644
    if patch.action == "replace":
        content = path.read_bytes().replace(patch.old.encode(), patch.new.encode())
    else:
        content = patch.content.encode()
    # A new file: the old one may be linked from elsewhere.
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_bytes(content)
    path.chmod(mode)


def _describe_mismatch(patch: Patch, difference: str) -> PatchError:
    return PatchError(
        f"patch {patch.name!r} does not fit: {difference}. Upstream has changed: read {patch.upstream}, then "
        "correct the patch in the recipe, or remove it if it is no longer needed"
    )
