"""The gate of patches of the stage ``lazy``: what they change, and nobody has named, stops the build.

::

    [lazy]
    verified = ["python3.13-arm64"]            # targets, by the folders of their records, where the gate let
                                               # them pass; elsewhere they are left out
    packages = ["torch"]                       # imported first; what they register and hold is compared
    operations = "torch_operations.py"         # its answer() does more than the prediction, and returns JSON

    [[lazy.later]]                             # what is registered later than without the patches
    registry = "pytree nodes"
    entries = ["torch.export.*"]               # globs
    reason = "registered with the types that they are for"
"""

import fnmatch
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layer.builder.verify.compare import differences

SCRIPT = Path(__file__).with_name("observe.py")

NEVER = {
    "atexit", "dispatcher operators", "dispatcher registrations", "fork hooks", "library definitions",
    "library implementations", "native overrides", "safe globals",
}  # fmt: skip
"""The registries that native code or other processes ask: no import comes before their first use."""


@dataclass(frozen=True)
class Later:
    """Entries of a registry, as globs, that appear later than without patches, and why nothing is lost."""

    registry: str
    entries: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class Lazy:
    """What is compared of a tree with and without the patches of the stage ``lazy``.

    ``verified`` are the targets for which they are applied, by the folders of their records, such as
    ``python3.13-arm64`` and ``host/python3.11-linux-x86_64``. Another Python, and another torch for it,
    registers other things while it imports, and a build by somebody else should not stop for that.
    """

    verified: tuple[str, ...]
    packages: tuple[str, ...]
    operations: Path | None = None
    later: tuple[Later, ...] = ()


def get_arguments(
    script: Path | None,
    arguments: Mapping[str, Any],
    lazy: Lazy,
    modules: Sequence[str],
    names: Mapping[str, Sequence[str]] | None,
) -> dict[str, Any]:
    """Return the arguments of ``observe``'s answer, for a prediction's own script and arguments.

    ``names`` are those that it found without the patches; None is for that first time.
    """
    return {
        "script": str(script) if script else "",
        "arguments": dict(arguments),
        "packages": list(lazy.packages),
        "modules": list(modules),
        "operations": str(lazy.operations) if lazy.operations else "",
        "names": names,
    }


def compare(before: Mapping[str, Any], after: Mapping[str, Any], later: Iterable[Later]) -> list[str]:
    """Return what differs between two answers of ``observe``, a line each, but for what is named.

    ``before`` is without the patches; ``after`` looked up the names that ``before`` found.
    """
    later = tuple(later)
    return [
        *_compare_registries(before["imported"], after["imported"], later, "after the imports"),
        *_compare_registries(before["predicted"], after["predicted"], later, "after the prediction"),
        *(f"{name} is gone" for name in after["missing"]),
        *_compare_imports(before["late"], after["late"]),
        *(
            f"{name} is not an attribute of its package any more"
            for name in sorted(set(before["attributes"]) - set(after["attributes"]))
        ),
        *(
            f"{line}, when several threads import at once"
            for line in sorted(set(after["threads"]) - set(before["threads"]))
        ),
        *differences(before["operations"], after["operations"], place="operations"),
        *differences(before["answer"], after["answer"]),
    ]


def _compare_registries(
    before: Mapping[str, Sequence[str]],
    after: Mapping[str, Sequence[str]],
    later: tuple[Later, ...],
    when: str,
) -> Iterator[str]:
    for registry in sorted({*before, *after}):
        old, new = set(before.get(registry, ())), set(after.get(registry, ()))
        lost = [entry for entry in sorted(old - new) if not _is_named(registry, entry, later)]
        if lost:
            yield f"{registry}, {when}: {_join(lost)} {'is' if len(lost) == 1 else 'are'} not there"
        if more := sorted(new - old):
            yield f"{registry}, {when}: {_join(more)} {'was' if len(more) == 1 else 'were'} not there before"


def _is_named(registry: str, entry: str, later: tuple[Later, ...]) -> bool:
    return any(
        one.registry == registry and any(fnmatch.fnmatchcase(entry, glob) for glob in one.entries)
        for one in later
    )


def _compare_imports(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[str]:
    """Yield the modules whose late import ends otherwise; those that were imported at once ended well."""
    for name, error in sorted(after.items()):
        if error != before.get(name, ""):
            yield f"{name}: {error or 'imported'}, not {before.get(name) or 'imported'}"


def _join(entries: Sequence[str], most: int = 5) -> str:
    rest = f" and {len(entries) - most} more" if len(entries) > most else ""
    return ", ".join(entries[:most]) + rest


def parse_answer(answer: str) -> dict[str, Any]:
    """Return the answer of ``observe`` from a prediction's."""
    found: dict[str, Any] = json.loads(answer)
    return found
