"""Metadata that stays: licences, which are distributed with what is used, and what code looks up at run time.

A distribution's name need not be that of its packages: scikit-learn brings ``sklearn``. The installer's
records say which files belong together.
"""

import csv
import re
import zipfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from layer.builder import tree as trees
from layer.builder.report.facts import Removed
from layer.builder.slim.globs import matches
from layer.builder.slim.prune import LICENCES

_LOOKED_UP = ("METADATA", "entry_points.txt")
"""What ``importlib.metadata`` reads for versions and plug-ins."""

_END_OF_FIELDS = re.compile(rb"\r?\n\r?\n")


def list_owners(tree: Path) -> dict[str, str]:
    """Return, by its path, the ``.dist-info`` folder that each installed file belongs to."""
    owners = {}
    for record in sorted(tree.glob("*.dist-info/RECORD")):
        with record.open(encoding="utf-8", newline="") as lines:
            owners.update({row[0]: record.parent.name for row in csv.reader(lines) if row})
    return owners


def list_wheel_owners(wheels: Iterable[Path]) -> dict[str, str]:
    """Return the same for files of wheels that are not installed."""
    owners = {}
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            names = archive.namelist()
        info = next(name.partition("/")[0] for name in names if name.endswith(".dist-info/WHEEL"))
        owners.update(dict.fromkeys(names, info))
    return owners


def get_globs(owners: Mapping[str, str], used: Iterable[str], whole: Sequence[str]) -> list[str]:
    """Return globs of the metadata that stay.

    Args:
        owners: see ``list_owners``.
        used: files that a prediction opened or mapped.
        whole: globs of packages that stay whole, whatever was opened.

    """
    named = {owner for path, owner in owners.items() if matches(path, whole)}
    others = {owners[path] for path in used if path in owners}
    licences = [glob.replace("*.dist-info", owner) for owner in named | others for glob in LICENCES]
    return sorted([*licences, *(f"{owner}/{name}" for owner in named for name in _LOOKED_UP)])


def remove_descriptions(tree: Path, opened: Collection[str]) -> list[Removed]:
    """Remove the descriptions of distributions whose metadata no prediction opened; the fields stay.

    A description is the page of an index, often longer than the code that it is about.
    """
    removed = []
    for path in sorted(tree.glob("*.dist-info/METADATA")):
        if (file := path.relative_to(tree).as_posix()) in opened:
            continue
        data = path.read_bytes()
        fields = _END_OF_FIELDS.split(data, maxsplit=1)[0] + b"\n"
        if len(fields) < len(data):
            path.write_bytes(fields)
            package, saved = trees.File(file, 0).package, len(data) - len(fields)
            removed.append(Removed("descriptions", "pages of an index; nothing read them", package, 0, saved))
    return removed
