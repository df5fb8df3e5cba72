"""Patches: changes to installed packages, as data, each with a check that fails when upstream changed.

::

    [[patches]]
    name = "onmt without numpy"
    reason = "…"
    upstream = "https://github.com/…"    # where the fault is described, and when the patch can go
    stage = "slim"                       # or "fix": without it the package does not even run
    path = "onmt/utils/misc.py"
    remove = true                        # one of: remove, empty, content = "file beside", old + new
    expects = { "onmt/utils/misc.py" = "<sha256>" }   # or [text, …] that must stand in the file

A mend is done to the full tree too, before its answer is taken as the reference; a cut is what the
proof compares with it.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from layer.builder.errors import PatchError


@dataclass(frozen=True)
class Patch:
    """A change to one file.

    Attributes:
        stage: ``mend`` or ``cut``.
        path: of the file, in the tree.
        action: ``remove``, ``empty``, ``content`` (the whole file anew) or ``replace``.
        content: what the file then holds, for ``content``.
        old: what must stand in it exactly once, for ``replace``.
        new: what stands there instead.
        expects: path to sha256, or to texts: what else must be as it was when the patch was written.

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
    expects: dict[str, str | tuple[str, ...]] = field(default_factory=dict)


def apply(tree: Path, patches: Iterable[Patch], stage: str) -> list[str]:
    """Do the patches of a stage, and return their names.

    Raises:
        PatchError: upstream is not what a patch was written for; nothing of that patch is done.

    """
    done = []
    for patch in patches:
        if patch.stage == stage:
            _check(tree, patch)
            _change(tree, patch)
            done.append(patch.name)
    return done


def is_done(tree: Path, patch: Patch) -> bool:
    """Return whether a tree is already as a patch leaves it."""
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
            raise _changed(patch, f"there is no {name}")
        data = path.read_bytes()
        if isinstance(expected, str):
            found = hashlib.sha256(data).hexdigest()
            if found != expected:
                raise _changed(patch, f"{name} has the sha256 {found}, not {expected}")
        elif missing := [text for text in expected if text.encode() not in data]:
            raise _changed(patch, f"{name} no longer says {missing[0]!r}")
    if patch.action in {"remove", "empty", "replace"} and not (tree / patch.path).is_file():
        raise _changed(patch, f"there is no {patch.path}")
    if patch.action == "replace":
        count = (tree / patch.path).read_bytes().count(patch.old.encode())
        if count != 1:
            raise _changed(patch, f"{patch.path} says {patch.old!r} {count} times, not once")


def _change(tree: Path, patch: Patch) -> None:
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


def _changed(patch: Patch, what: str) -> PatchError:
    return PatchError(
        f"patch {patch.name!r} does not fit: {what}. Upstream has changed: read {patch.upstream}, then "
        "correct the patch in the recipe, or remove it if it is no longer needed"
    )
