"""The libraries that are built and measured: ``libraries/*.toml``, a table a library.

::

    [scikit-learn]                      # the name in the table of results
    requirements = ["scikit-learn"]     # lines of a requirements file
    imports = ["sklearn"]               # packages that stay whole (default: the name)
    recipe = {…}                        # further keys of a recipe, each for a reason beside it
    targets = ["host", …]               # those that have wheels (default: all)
    smoke = '''…'''                     # traces and proves; at most ten lines; answer(**_) returns JSON
    other = '''…'''                     # never traced; uses other public functions
"""

import hashlib
import json
import tomllib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

LIBRARIES = Path(__file__).with_name("libraries")
TARGETS = ("host", "python3.13-x86_64", "python3.13-arm64")


@dataclass(frozen=True)
class Package:
    """A library with its requirements, and the two scripts that use it."""

    name: str
    requirements: tuple[str, ...]
    smoke: str
    other: str
    imports: tuple[str, ...]
    recipe: dict[str, Any] = field(default_factory=dict)
    targets: tuple[str, ...] = TARGETS

    @property
    def digest(self) -> str:
        """The sha256 of all that the library's entry says."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


def read(folder: Path = LIBRARIES) -> dict[str, Package]:
    """Return every library by its name, in the order of the files."""
    packages = {}
    for path in sorted(folder.glob("*.toml")):
        for name, table in tomllib.loads(path.read_text(encoding="utf-8")).items():
            lists = {key: tuple(table[key]) for key in ("requirements", "imports", "targets") if key in table}
            packages[name] = Package(**({"name": name, "imports": (name.replace("-", "_"),)} | table | lists))
    return packages
