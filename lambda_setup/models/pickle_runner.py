"""Inspection of one file as a pickle, in its own process, without calling anything that the file names.

Run as ``python -I pickle_runner.py FILE SECONDS``. Exits 0 if the file is not a pickle, or one that the
function's engine loads. Otherwise it prints lines of JSON: ``unsafe``, the names that the engine does not
admit, and the ``reason`` why the file does not load.
"""

import argparse
import contextlib
import io
import itertools
import json
import pickletools
import resource
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

PICKLES = (".pkl", ".pickle", ".joblib", ".pt", ".pth")
"""Suffixes of files that are pickles whatever their content."""
MEMORY = 8 * 1024**3
"""Bytes of address space besides the file's own; torch takes about two of these 8 GB."""
MAX_OPERATIONS = 4_000_000
"""Limit of inspected opcodes: more than the largest models have."""
LEGACY_PICKLES = 5
"""Consecutive pickles before the tensors in a file of torch before 1.6."""
_HEADERS = {bytes([0x80, protocol]) for protocol in range(6)}
_CALLS = {"REDUCE", "BUILD", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX"}


def main(path: Path, seconds: int) -> int:
    """Inspect a file; return 0 if it is harmless."""
    _limit(seconds, MEMORY + 2 * path.stat().st_size)
    members = _find_pickles_in_zip(path)
    if not (members or _is_pickle(path)):
        return 0
    try:
        import torch
    except ImportError:
        return _refuse(reason="torch, which inspects it, is not installed; run: pip install torch")
    names = _find_names(path, members)
    with torch.serialization.safe_globals([argparse.Namespace]):
        if unsafe := torch.serialization.get_unsafe_globals_in_checkpoint(_build_checkpoint(names)):
            return _refuse(unsafe=sorted(unsafe))
        if members and (reason := _find_difference_from_torch(path, members)):
            return _refuse(reason=reason)
        try:
            torch.load(path, map_location="cpu", weights_only=True, mmap=bool(members))
        except Exception as error:  # noqa: BLE001 - any error would occur in the engine, too
            return _refuse(reason=str(error).partition("\n")[0] or repr(error))
    return 0


def _limit(seconds: int, memory: int) -> None:
    for kind, limit in ((resource.RLIMIT_CPU, seconds), (resource.RLIMIT_AS, memory)):
        with contextlib.suppress(ValueError, OSError):  # macOS does not limit memory
            resource.setrlimit(kind, (limit, resource.getrlimit(kind)[1]))


def _find_pickles_in_zip(path: Path) -> list[zipfile.ZipInfo]:
    """Return the pickles in a zip file, duplicates included."""
    # zipfile raises NotImplementedError for unsupported files, such as multi-volume archives.
    with contextlib.suppress(zipfile.BadZipFile, NotImplementedError, ValueError):
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                return [member for member in archive.infolist() if member.filename.lower().endswith(PICKLES)]
    return []


def _find_difference_from_torch(path: Path, members: list[zipfile.ZipInfo]) -> str:
    """Return how a zip file with pickles differs from one that torch saved, empty if it does not."""
    names = [member.filename for member in members]
    if [name.rpartition("/")[2] for name in names] != ["data.pkl"]:
        return f"it holds {' and '.join(names)}, and torch saves one data.pkl"
    with zipfile.ZipFile(path) as archive:
        is_compressed = any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist())
    return "it is compressed, and torch compresses nothing" if is_compressed else ""


def _is_pickle(path: Path) -> bool:
    """Return whether a file is a pickle by its name, its first bytes, or its calls."""
    with path.open("rb") as file:
        if path.name.lower().endswith(PICKLES) or file.read(2) in _HEADERS:
            return True
        file.seek(0)
        return _has_calls(file)


def _has_calls(file: IO[bytes]) -> bool:
    """Return whether bytes, read as a pickle, would call something; other bytes hardly ever do.

    Protocols 0 and 1 have no magic number that tells them from text. So the opcodes are followed as long as
    they are valid, by the number of objects that each pops from the stack and pushes.
    """
    depth, has_name = 0, False
    marks: list[int] = []
    for operation, argument, _ in _read_operations(file):
        popped: list[Any] = operation.stack_before
        if pickletools.markobject in popped:
            if not marks:
                return False
            depth, popped = marks.pop(), popped[: popped.index(pickletools.markobject)]
        depth -= len(popped)
        if depth < 0:
            return False
        if operation.name in {"GLOBAL", "INST"}:
            module, _, name = argument.partition(" ")
            has_name = all(part.isidentifier() for part in (module + "." + name).split("."))
        if has_name and operation.name in _CALLS:
            return True
        if operation.name == "MARK":
            marks.append(depth)
        else:
            depth += len(operation.stack_after)
    return False


def _find_names(path: Path, members: list[zipfile.ZipInfo]) -> set[tuple[str, str]]:
    """Return the (module, name) pairs that a file's pickles import, as far as they can be read."""
    names: set[tuple[str, str]] = set()
    with (
        contextlib.ExitStack() as stack,
        contextlib.suppress(Exception),
    ):  # loading the file reports the error
        if not members:
            file = stack.enter_context(path.open("rb"))
            for _ in range(LEGACY_PICKLES):
                names.update(_read_imports(file))
        archive = stack.enter_context(zipfile.ZipFile(path))
        for member in members:
            names.update(_read_imports(stack.enter_context(archive.open(member))))
    return names


def _read_imports(file: IO[bytes]) -> Iterator[tuple[str, str]]:
    """Yield the imports of one pickle; where the names are computed, the latest strings."""
    strings: list[str] = ["", ""]
    memo: dict[int, str] = {}
    for operation, argument, _ in _read_operations(file):
        name = operation.name
        if name in {"GLOBAL", "INST"}:
            module, _, attribute = argument.partition(" ")
            yield module, attribute
        elif name == "STACK_GLOBAL":
            yield strings[-2], strings[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = strings[-1]
        elif name in {"PUT", "BINPUT", "LONG_BINPUT"}:
            memo[argument] = strings[-1]
        elif name in {"GET", "BINGET", "LONG_BINGET"}:
            strings.append(memo.get(argument, ""))
        elif isinstance(argument, str):
            strings.append(argument)


def _read_operations(file: IO[bytes]) -> Iterator[tuple[pickletools.OpcodeInfo, Any, int | None]]:
    """Yield a pickle's opcodes up to its end or the first invalid one."""
    with contextlib.suppress(ValueError):
        yield from itertools.islice(pickletools.genops(file), MAX_OPERATIONS)


def _build_checkpoint(names: set[tuple[str, str]]) -> io.BytesIO:
    """Return a checkpoint that only imports names, for torch to report the names that it does not admit."""
    file = io.BytesIO()
    opcodes = [f"c{module}\n{name}\n" for module, name in sorted(names) if (module + name).isprintable()]
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("names/data.pkl", "".join([*opcodes, "."]).encode())
        archive.writestr("names/version", "3")
    file.seek(0)
    return file


def _refuse(**report: Any) -> int:
    print(json.dumps({"unsafe": [], **report}))
    return 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
