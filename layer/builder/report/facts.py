"""The facts about a layer, which ``report.json`` holds: its files, what was removed, and whether it fits."""

import json
import types
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from layer.builder.errors import ReportError
from layer.builder.tree import write_atomic

REPORT = "report.json"


@dataclass(frozen=True)
class Proof:
    """Whether the layer was run as its target runs it, and how in one sentence.

    A layer is ``stale`` if its packages were run so, with other code of the function.
    """

    status: Literal["proven", "stale", "unproven"]
    how: str

    @property
    def label(self) -> str:
        """The status, in capitals if it is a warning."""
        return self.status if self.status == "proven" else self.status.upper()


@dataclass(frozen=True)
class Trace:
    """Where it is known from what the function needs, in one sentence."""

    source: str


@dataclass(frozen=True)
class Budget:
    """Bytes unzipped: what Lambda takes, the layer, the function, and the last two together."""

    limit: int
    layer: int
    function: int
    total: int


@dataclass(frozen=True)
class Archive:
    """The archive in the layer: its bytes, and the bytes and number of the files in it."""

    bytes: int
    tree_bytes: int
    files: int


@dataclass(frozen=True)
class File:
    """A file that is in: in the layer as it is, or in the layer's archive."""

    path: str
    bytes: int
    package: str
    place: Literal["layer", "archive"]


@dataclass(frozen=True)
class Removed:
    """The files of a package that a step or rule took out, and why in one sentence."""

    step_or_rule: str
    reason: str
    package: str
    files: int
    bytes: int


@dataclass(frozen=True)
class Stripped:
    """Files that lost their symbols, with their bytes before and after; those in ``restored`` kept them."""

    files: int
    before: int
    after: int
    restored: tuple[str, ...]

    @property
    def savings(self) -> int:
        """The bytes that stripping took."""
        return self.before - self.after


@dataclass(frozen=True)
class Split:
    """A library that was split: bytes of its file before and now, and of its code that is hot and cold."""

    path: str
    before: int
    after: int
    hot: int
    cold: int


@dataclass(frozen=True)
class Check:
    """A check of the tree, and its result."""

    name: str
    result: str


@dataclass(frozen=True)
class InstalledWheel:
    """A wheel that the layer was made from; ``bytes`` are those of its file."""

    name: str
    version: str
    file: str
    bytes: int


@dataclass(frozen=True)
class Report:
    """All facts about a layer.

    ``reason`` and ``compiled`` are sentences, on the strategy and on bytecode. ``digest`` is that of the
    tree before it was compiled, ``layer_sha256`` that of the folder to publish, by ``tree.folder_sha256``.
    """

    recipe: str
    engine: str
    target: str
    runtime: str
    architecture: str
    strategy: Literal["direct", "nested"]
    reason: str
    digest: str
    layer_sha256: str
    proof: Proof
    trace: Trace
    compiled: str
    budget: Budget
    archive: Archive | None
    files: tuple[File, ...]
    removed: tuple[Removed, ...]
    stripped: Stripped
    checks: tuple[Check, ...]
    wheels: tuple[InstalledWheel, ...]
    split: tuple[Split, ...] = ()

    @property
    def fits(self) -> bool:
        """Whether Lambda takes it, together with the function."""
        return self.budget.total <= self.budget.limit

    @property
    def removed_bytes(self) -> int:
        """The bytes of the files and symbols that were taken out."""
        return sum(one.bytes for one in self.removed) + self.stripped.savings

    @property
    def proven(self) -> bool:
        """Whether the layer was run as its target runs it."""
        return self.proof.status == "proven"

    @property
    def verdict(self) -> str:
        """Whether it can be deployed, in one sentence."""
        left = self.budget.limit - self.budget.total
        if self.fits:
            return f"it fits: {left:,} bytes are left"
        return f"it does not fit: {-left:,} bytes too many; as it is, this layer cannot be deployed"


def write(report: Report, out: Path) -> None:
    """Write ``report.json``, with keys and files sorted."""
    report = replace(
        report,
        files=tuple(sorted(report.files, key=lambda file: (file.path, file.place))),
        wheels=tuple(sorted(report.wheels, key=lambda wheel: wheel.file)),
    )
    write_atomic(out / REPORT, json.dumps(asdict(report), indent=2, sort_keys=True) + "\n")


def read(path: Path) -> Report:
    """Read a ``report.json``; one that is missing or of another version is a ReportError."""
    try:
        report: Report = _convert(Report, json.loads(path.read_text(encoding="utf-8")), "it")
    except FileNotFoundError:
        raise ReportError(f"there is no {path}; build the layer, which writes it") from None
    except (ValueError, RecursionError) as error:
        raise ReportError(
            f"{path} is not a report of this version of the builder: {error}; build the layer again"
        ) from None
    return report


def _convert(kind: Any, value: Any, what: str) -> Any:
    """Return a value of JSON as the type that a dataclass declares for it."""
    if isinstance(kind, types.UnionType):
        optional, none = get_args(kind)
        return None if value is None and none is types.NoneType else _convert(optional, value, what)
    if get_origin(kind) is Literal:
        if value in get_args(kind):
            return value
    elif get_origin(kind) is tuple:
        if isinstance(value, list):
            return tuple(_convert(get_args(kind)[0], one, what) for one in value)
    elif is_dataclass(kind):
        names = {field.name for field in fields(kind)}
        if isinstance(value, dict) and value.keys() == names:
            hints = get_type_hints(kind)
            make: Any = kind
            return make(**{name: _convert(hints[name], value[name], name) for name in names})
    elif type(value) is kind:
        return value
    raise ValueError(f"{what} is not as it should be")
