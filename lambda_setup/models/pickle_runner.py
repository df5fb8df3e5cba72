"""Looks at one file as a pickle, in a process of its own, and calls nothing that the file names.

Run as ``python -I pickle_runner.py FILE SECONDS``. It exits 0 if the file is no pickle, or one that the
function's engine loads. Else it prints lines of JSON: what the file names beyond what the engine admits, and
the reason why it does not load.
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
"""What the name of a pickle ends with, whatever is in it."""
MEMORY = 8 * 1024**3
"""Bytes of address space beside the file's own; torch itself takes about two of these eight."""
MOST = 4_000_000
"""Operations that are looked at: more than the largest models have."""
LEGACY = 5
"""Pickles one after the other in what torch saved before 1.6, before the tensors."""
_HEADERS = {bytes([0x80, protocol]) for protocol in range(6)}
_CALLS = {"REDUCE", "BUILD", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX"}


def main(path: Path, seconds: int) -> int:
    """Look at a file; return 0 if nothing is wrong with it."""
    _limit(seconds, MEMORY + 2 * path.stat().st_size)
    members = _pickles_in_zip(path)
    if not (members or _is_pickle(path)):
        return 0
    try:
        import torch
    except ImportError:
        return _refuse(reason="torch, which looks at it, is not installed; run: pip install torch")
    names = _names(path, members)
    with torch.serialization.safe_globals([argparse.Namespace]):
        if unsafe := torch.serialization.get_unsafe_globals_in_checkpoint(_checkpoint(names)):
            return _refuse(unsafe=sorted(unsafe))
        if members and (reason := _not_as_torch_saves(path, members)):
            return _refuse(reason=reason)
        try:
            torch.load(path, map_location="cpu", weights_only=True, mmap=bool(members))
        except Exception as error:  # noqa: BLE001 - whatever it is, the engine would meet it, too
            return _refuse(reason=str(error).partition("\n")[0] or repr(error))
    return 0


def _limit(seconds: int, memory: int) -> None:
    for what, most in ((resource.RLIMIT_CPU, seconds), (resource.RLIMIT_AS, memory)):
        with contextlib.suppress(ValueError, OSError):  # macOS does not limit memory
            resource.setrlimit(what, (most, resource.getrlimit(what)[1]))


def _pickles_in_zip(path: Path) -> list[zipfile.ZipInfo]:
    """Return the pickles in a zip, each as often as it is in it."""
    # zipfile raises NotImplementedError for what it cannot read, such as a zip in several volumes.
    with contextlib.suppress(zipfile.BadZipFile, NotImplementedError, ValueError):
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                return [one for one in archive.infolist() if one.filename.lower().endswith(PICKLES)]
    return []


def _not_as_torch_saves(path: Path, members: list[zipfile.ZipInfo]) -> str:
    """Return how a zip with pickles differs from what torch saves, nothing if it does not."""
    held = [member.filename for member in members]
    if [name.rpartition("/")[2] for name in held] != ["data.pkl"]:
        return f"it holds {' and '.join(held)}, and torch saves one data.pkl"
    with zipfile.ZipFile(path) as archive:
        compressed = any(one.compress_type != zipfile.ZIP_STORED for one in archive.infolist())
    return "it is compressed, and torch compresses nothing" if compressed else ""


def _is_pickle(path: Path) -> bool:
    """Return whether a file is a pickle by its name, its first bytes, or what it would call."""
    with path.open("rb") as file:
        if path.name.lower().endswith(PICKLES) or file.read(2) in _HEADERS:
            return True
        file.seek(0)
        return _calls(file)


def _calls(file: IO[bytes]) -> bool:
    """Return whether bytes, read as a pickle, would call something; other bytes hardly ever do.

    Protocols 0 and 1 begin with nothing that tells them from text, so that their operations are followed
    as far as they make sense: by how many objects each takes from the stack and puts there.
    """
    depth, named = 0, False
    marks: list[int] = []
    for operation, argument, _ in _operations(file):
        taken: list[Any] = operation.stack_before
        if pickletools.markobject in taken:
            if not marks:
                return False
            depth, taken = marks.pop(), taken[: taken.index(pickletools.markobject)]
        depth -= len(taken)
        if depth < 0:
            return False
        if operation.name in {"GLOBAL", "INST"}:
            module, _, name = argument.partition(" ")
            named = all(part.isidentifier() for part in (module + "." + name).split("."))
        if named and operation.name in _CALLS:
            return True
        if operation.name == "MARK":
            marks.append(depth)
        else:
            depth += len(operation.stack_after)
    return False


def _names(path: Path, members: list[zipfile.ZipInfo]) -> set[tuple[str, str]]:
    """Return the modules and names that a file's pickles import, as far as they can be told."""
    found: set[tuple[str, str]] = set()
    with contextlib.ExitStack() as stack, contextlib.suppress(Exception):  # loading it tells what is wrong
        if not members:
            file = stack.enter_context(path.open("rb"))
            for _ in range(LEGACY):
                found.update(_imports(file))
        archive = stack.enter_context(zipfile.ZipFile(path))
        for member in members:
            found.update(_imports(stack.enter_context(archive.open(member))))
    return found


def _imports(file: IO[bytes]) -> Iterator[tuple[str, str]]:
    """Yield what one pickle imports; where it computes the names, the strings that came last."""
    strings: list[str] = ["", ""]
    memo: dict[int, str] = {}
    for operation, argument, _ in _operations(file):
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


def _operations(file: IO[bytes]) -> Iterator[tuple[pickletools.OpcodeInfo, Any, int | None]]:
    """Yield a pickle's operations, up to where it ends or makes no sense."""
    with contextlib.suppress(ValueError):
        yield from itertools.islice(pickletools.genops(file), MOST)


def _checkpoint(names: set[tuple[str, str]]) -> io.BytesIO:
    """Return a checkpoint that does nothing but import; torch says which of the names it does not admit."""
    file = io.BytesIO()
    said = [f"c{module}\n{name}\n" for module, name in sorted(names) if (module + name).isprintable()]
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("names/data.pkl", "".join([*said, "."]).encode())
        archive.writestr("names/version", "3")
    file.seek(0)
    return file


def _refuse(**said: Any) -> int:
    print(json.dumps({"unsafe": [], **said}))
    return 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
