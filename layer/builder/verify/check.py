"""Check that a tree's shared libraries would load in the runtime, which this machine may not be able to run.

As auditwheel does for platform tags: every library's machine, the libraries that it is linked to,
and the newest version of each symbol that it takes from the runtime's own libraries.
"""

import platform
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from layer.builder import tree as trees
from layer.builder.errors import CheckError, ElfError
from layer.builder.report.facts import Check
from layer.builder.slim.elf import Needs, is_elf, read_needs
from layer.builder.target import HOST, OFFERED, Target
from layer.builder.wheels.resolve import CPU_INDEX

# What Amazon Linux 2023 brings itself, of what PEP 600 lets a wheel expect.
_SYSTEM = re.compile(
    r"(libc|libm|libmvec|libdl|librt|libpthread|libutil|libresolv|libnsl|libanl)\.so\.\d+"
    r"|ld-linux-\S+|libstdc\+\+\.so\.6|libgcc_s\.so\.1|libz\.so\.1|libpython3\S*|linux-vdso\S*"
)
_CUDA = re.compile(
    r"lib((c10|torch)_cuda|cu(da|dart|blas|dnn|fft|pti|rand|solver|sparse)|nccl|nv[A-Za-z]+)\W.*"
)
_VERSION = re.compile(r"([A-Z]+)_(\d+(?:\.\d+)*)")


def check(
    tree: Path,
    target: Target,
    libraries: Path | None = None,
    find_carrier: Callable[[str], str | None] = lambda _: None,
) -> list[Check]:
    """Check every shared library of a tree against what the target's runtime offers; report all faults.

    ``libraries`` is the folder of libraries beside the tree. ``find_carrier`` returns a distribution that
    carries a library, for the advice.
    """
    needs, faults = _read_all(tree)
    if libraries:
        beside, damaged = _read_all(libraries)
        needs |= {f"lib/{path}": need for path, need in beside.items()}
        faults += damaged
    own = {Path(path).name for path in needs}
    unlinked = {path: names for path, need in needs.items() if (names := _list_unlinked(need, own))}
    faults += [
        f"{path} is linked to {library}, which neither the layer nor {target.runtime} has"
        for path, names in unlinked.items()
        for library in names
    ]
    count = len(faults)
    # Not by library: libm.so.6 offers the versions of glibc that libc.so.6 does.
    limits = {
        kind: limit for library in _runtime_versions(target).values() for kind, limit in library.items()
    }
    newest: dict[str, tuple[tuple[int, ...], str]] = {}
    for path, need in needs.items():
        if need.machine != target.machine:
            faults.append(f"{path} is for {need.machine}, not {target.machine}")
        for library, versions in need.versions.items():
            if library in own:  # the layer has it
                continue
            for name in versions:
                if not (match := _VERSION.fullmatch(name)):
                    continue
                version = tuple(int(part) for part in match[2].split("."))
                newest[match[1]] = max(newest.get(match[1], ((0,), "")), (version, path))
                limit = limits.get(match[1])
                if limit and version > limit:
                    offer = f"{target.runtime} offers {match[1]}_{_format_version(limit)}"
                    faults.append(f"{path} needs {name} of {library}; {offer}")
    if faults:
        raise CheckError(
            f"these would not load in {target.runtime} on {target.architecture}:\n  "
            + "\n  ".join(faults)
            + "".join(f"\n{line}" for line in _advise(unlinked, find_carrier, others=len(faults) > count))
        )
    return [
        Check("shared libraries", f"{len(needs)}, all for {target.machine}"),
        *(
            Check(
                f"newest {kind}",
                f"{_format_version(version)} ({path}); offered: {_format_version(limits[kind])}",
            )
            for kind, (version, path) in sorted(newest.items())
            if kind in limits
        ),
    ]


def _read_all(tree: Path) -> tuple[dict[str, Needs], list[str]]:
    """Return what each shared library needs, and which ones are damaged."""
    needs, faults = {}, []
    for file in trees.files(tree):
        if is_elf(tree / file.path):
            try:
                needs[file.path] = read_needs(tree / file.path)
            except ElfError as error:
                faults.append(str(error).removeprefix(f"{tree}/"))
    return needs, faults


def find_unlinked(tree: Path, libraries: Path) -> dict[str, list[str]]:
    """Return the shared libraries of a tree that lack others, and which: no layer could load them.

    One that is linked to such a library lacks it, too.
    """
    needs, _ = _read_all(tree)
    beside = {file.path for file in trees.files(libraries)}
    unlinked: dict[str, list[str]] = {}
    while True:
        own = {Path(path).name for path in needs} | beside
        found = {path: names for path, need in needs.items() if (names := _list_unlinked(need, own))}
        if not found:
            return unlinked
        unlinked |= found
        needs = {path: need for path, need in needs.items() if path not in found}


def explain_unlinked(
    unlinked: dict[str, list[str]], find_carrier: Callable[[str], str | None]
) -> Iterator[str]:
    """Yield which shared libraries were taken out because they lack others, and what to do about it."""
    taken = {Path(path).name for path in unlinked}
    lacked = {path: [name for name in names if name not in taken] for path, names in unlinked.items()}
    for path, names in lacked.items():
        if names:
            yield f"{path} was taken out: it is linked to {', '.join(names)}, which the layer does not have"
    if others := [path for path, names in lacked.items() if not names]:
        yield f"with it, because they are linked to what was taken out: {', '.join(others)}"
    yield from _advise(lacked, find_carrier, others=False)


def _list_unlinked(need: Needs, own: set[str]) -> list[str]:
    return [name for name in need.libraries if name not in own and not _SYSTEM.fullmatch(name)]


def _advise(
    unlinked: dict[str, list[str]], find_carrier: Callable[[str], str | None], *, others: bool
) -> Iterator[str]:
    """Yield what to do about libraries that are missing, and about other faults."""
    lacked = sorted({name for names in unlinked.values() for name in names})
    if cuda := [name for name in lacked if _CUDA.fullmatch(name)]:
        yield (
            f"{', '.join(cuda)} belong to CUDA: the wheel is built for a GPU, which Lambda does not have. "
            f"PIP_EXTRA_INDEX_URL={CPU_INDEX} finds PyTorch's CPU builds: set it, and pin again"
        )
    if missing := [name for name in lacked if name not in cuda]:
        carriers = {name: find_carrier(name) for name in missing}
        table = ", ".join(f'"{name}" = "{carrier or "NAME==VERSION"}"' for name, carrier in carriers.items())
        yield "Take it from a wheel that carries it: write above the tables of recipe.toml"
        yield f"libraries = {{ {table} }}"
        if None in carriers.values():
            yield "or remove what is linked to it by a rule, if nothing needs it"
    if others:
        yield "Pin versions whose wheels are built for an older system (manylinux_2_28 or before)"


def _runtime_versions(target: Target) -> Mapping[str, Mapping[str, tuple[int, ...]]]:
    if target.name != HOST:
        return OFFERED
    name, version = platform.libc_ver()
    return {"libc.so.6": {"GLIBC": tuple(map(int, version.split(".")))}} if name == "glibc" else {}


def _format_version(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
