"""Run a recipe's smoke prediction on a tree alone; ``verify.smoke`` starts it in the target's Python.

Nothing is importable but the standard library, the function's code and the tree. The tree may not
be written to, and nothing may be connected to. What was opened and mapped is recorded.
"""

import contextlib
import errno
import importlib
import importlib.util
import json
import os
import struct
import sys
import sysconfig
import traceback
import warnings
from typing import Any

_NETWORK = {
    "socket.connect": 1, "socket.bind": 1, "socket.sendto": 1,
    "socket.getaddrinfo": 0, "socket.gethostbyname": 0,
}  # fmt: skip
"""Of each event that uses the network, which of its arguments is the address."""
_LOCAL = {None, "", "localhost", "::1", "0.0.0.0", "::"}  # noqa: S104
_WRITES = {
    "os.mkdir": 0, "os.remove": 0, "os.rmdir": 0, "os.rename": 1, "os.link": 1, "os.symlink": 1
}  # fmt: skip
"""Of each event that writes without opening, which of its arguments is the path."""
_ENTRY = struct.Struct("=Q")
_PRESENT = 3 << 62
"""Bits of an entry of a page that is in memory, or was (proc_pid_pagemap(5))."""
_PAGE = 4096


def is_local(event: str, address: Any) -> bool:
    """Return whether the address of a socket's event is this machine's own, such as 127.0.0.1 or a path."""
    named = event in {"socket.getaddrinfo", "socket.gethostbyname"}
    host = address if named else address[0] if isinstance(address, tuple) and address else None
    host = os.fsdecode(host) if isinstance(host, bytes) else host
    return host in _LOCAL or (isinstance(host, str) and host.startswith("127."))


class AuditHook:
    """An audit hook that records what is opened and written, and refuses what a proof must not do.

    Nothing is written below ``read_only``, nor, if ``writable`` is not empty, outside of that. Nothing is
    sent but to this machine itself, and that only where nobody but the prediction is on it: ``alone``.
    """

    def __init__(
        self, trees: list[str], read_only: list[str], writable: list[str], *, alone: bool = False
    ) -> None:
        self.trees, self.read_only, self.writable = tuple(trees), tuple(read_only), tuple(writable)
        self.alone = alone
        self.opened: set[str] = set()
        self.written: set[str] = set()

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Take one event of ``sys.addaudithook``."""
        if event in _NETWORK and not (self.alone and is_local(event, arguments[_NETWORK[event]])):
            raise PermissionError(errno.EACCES, f"the smoke prediction uses the network: {event}")
        writes = event in _WRITES and arguments[-1] in {-1, None}  # else relative to an open folder
        if event != "open" and not writes:
            return
        path = arguments[_WRITES.get(event, 0)]
        if not isinstance(path, str | bytes | os.PathLike):
            return
        path = os.fsdecode(path)
        if event == "open" and arguments[1] is None and not path.startswith(os.sep):
            return  # os.open, perhaps relative to an open folder: the event does not tell
        path = os.path.abspath(path)  # noqa: PTH100 - pathlib is an import more
        if event == "open":
            mode, flags = arguments[1], arguments[2] or 0
            writes = bool(set(mode or "") & set("wax+") or flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
        if writes and (
            path.startswith(self.read_only) or (self.writable and not path.startswith(self.writable))
        ):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)
        if writes:
            self.written.add(path)
        elif path.startswith(self.trees):
            self.opened.add(path)


def refuse_shared_memory() -> None:
    """Have semaphores and shared memory fail as they do where there is no /dev/shm."""

    class Refused:
        SEM_VALUE_MAX = 2**31 - 1

        def __init__(self, *_: Any, **__: Any) -> None:
            raise OSError(errno.ENOSYS, f"{os.strerror(errno.ENOSYS)}: there is no /dev/shm")

    for module, name in (("_multiprocessing", "SemLock"), ("_posixshmem", "shm_open")):
        with contextlib.suppress(ImportError):
            setattr(importlib.import_module(module), name, Refused)


def list_mapped_files(tree: str) -> set[str]:
    """Return the files of the tree that are mapped into this process: its shared libraries."""
    try:
        with open("/proc/self/maps", encoding="utf-8") as lines:  # noqa: PTH123
            paths = {line.split(maxsplit=5)[5].strip() for line in lines if len(line.split(maxsplit=5)) == 6}  # noqa: PLR2004
    except OSError:
        return set()  # no Linux
    return {path for path in paths if path.startswith(tree)}


def list_present_pages(tree: str, opened: set[str]) -> dict[str, list[int]] | None:
    """Return, by large file of the tree, the pages that were read; None where the system does not tell.

    Of a mapped file those are the ones that this process has in memory: touched, or near. Another one that is
    ``opened`` is read whole.
    """
    found: dict[str, list[int]] = {}
    size = os.sysconf("SC_PAGESIZE")
    parts = range(size // _PAGE)
    try:
        with (
            open("/proc/self/maps", encoding="utf-8") as lines,  # noqa: PTH123
            open("/proc/self/pagemap", "rb") as table,  # noqa: PTH123
        ):
            for line in lines:
                span, _, offset, _, _, *path = line.rstrip("\n").split(maxsplit=5)
                if not path or not path[0].startswith(tree):
                    continue
                first, last = (int(address, 16) // size for address in span.split("-"))
                table.seek(first * _ENTRY.size)
                entries = table.read((last - first) * _ENTRY.size)
                start = int(offset, 16) // size
                pages = found.setdefault(path[0].removeprefix(tree), [])
                pages += [
                    (start + number) * len(parts) + part
                    for number, (entry,) in enumerate(_ENTRY.iter_unpack(entries))
                    if entry & _PRESENT
                    for part in parts
                ]
    except OSError:
        return None  # no Linux, or one that does not tell
    if found and not any(found.values()):
        return None  # an emulator's addresses are not the kernel's
    for path in opened:
        name = path.removeprefix(tree)
        if path.startswith(tree) and name not in found and os.path.isfile(path):  # noqa: PTH113
            found[name] = list(range(-(-os.path.getsize(path) // _PAGE)))  # noqa: PTH202
    return {path: sorted(set(pages)) for path, pages in found.items()}


def list_modules(tree: str) -> list[str]:
    """Return the files of imported modules that lie in the tree."""
    files = {getattr(module, "__file__", None) or "" for module in list(sys.modules.values())}
    return sorted(path.removeprefix(tree) for path in files if path.startswith(tree))


def list_foreign_modules(roots: list[str]) -> list[str]:
    """Return the files of imported modules that lie outside all of the roots."""
    files = {getattr(module, "__file__", None) or "" for module in list(sys.modules.values())}
    # torch names files for modules that it makes itself, and these names are relative.
    return sorted(path for path in files if path.startswith(os.sep) and not path.startswith(tuple(roots)))


def import_modules(names: list[str], progress: int) -> dict[str, list[str]]:
    """Import modules; return, by name, the error of each that fails, and the files of its traceback.

    ``progress`` is a descriptor for the name of the module that is being imported: it may end the process.
    """
    failures = {}
    with open(progress, "w", encoding="utf-8") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in names:
            file.seek(0)
            file.truncate()
            file.write(name)
            file.flush()
            try:
                importlib.import_module(name)
            except BaseException as error:  # noqa: BLE001 - SystemExit, too: modules are scripts sometimes
                frames = traceback.extract_tb(error.__traceback__)
                failures[name] = [type(error).__name__, *(frame.filename for frame in frames)]
        file.truncate(0)
    return failures


def list_touched_pages(tree: str) -> dict[str, list[int]]:
    """Return, by library of a tree, the pages of code that the handler of split libraries has unpacked."""
    try:
        import ctypes

        library = ctypes.CDLL("libhotcold.so", os.RTLD_NOLOAD)
    except (ImportError, OSError):
        return {}  # no split library was loaded
    library.hotcold_name.restype = ctypes.c_char_p
    library.hotcold_pages.restype = ctypes.c_uint64
    library.hotcold_touched.restype = ctypes.c_void_p
    touched = {}
    for number in range(library.hotcold_libraries()):
        path = os.path.realpath(os.fsdecode(library.hotcold_name(number)))
        marks = ctypes.string_at(library.hotcold_touched(number), library.hotcold_pages(number))
        touched[path.removeprefix(tree)] = [page for page, mark in enumerate(marks) if mark]
    return touched


def predict(script: str, arguments: dict[str, Any]) -> Any:
    """Return what the ``answer`` of a recipe's script returns."""
    spec = importlib.util.spec_from_file_location("smoke", script)
    assert spec is not None  # noqa: S101
    assert spec.loader is not None  # noqa: S101
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.answer(**arguments)


def main() -> None:
    """Do what the plan, a JSON file, says, and write the answer and the trace where it says."""
    with open(sys.argv[1], encoding="utf-8") as file:  # noqa: PTH123
        plan = json.load(file)
    del sys.argv[1:]  # there are modules that read arguments when they are imported
    trees = [tree + os.sep for tree in plan["trees"]]
    own = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120
    sys.path[:] = [path for path in sys.path if os.path.abspath(path) != own]  # noqa: PTH100
    standard = [*sys.path, sysconfig.get_path("stdlib")]
    standard += [os.path.realpath(path) for path in standard]
    sys.path += [*plan["code"], *plan["trees"]]
    if plan["writable"]:
        refuse_shared_memory()
    hook = AuditHook(trees, [*trees, *plan["read_only"]], plan["writable"], alone=plan["alone"])
    sys.addaudithook(hook)
    answer = predict(plan["script"], plan["arguments"]) if plan["script"] else None
    own_tree = trees[0]
    present = list_present_pages(own_tree, hook.opened)
    imported = list_modules(own_tree)
    failures = import_modules(plan["modules"], plan["progress"])
    roots = [*trees, *standard, *plan["code"], plan["script"] or trees[0], os.path.abspath(__file__)]  # noqa: PTH100
    # Code may write modules for itself, and import them.
    if outside := [path for path in list_foreign_modules(roots) if path not in hook.written]:
        raise ImportError(f"modules came from outside the layer: {', '.join(outside)}")
    touched = list_touched_pages(own_tree)
    seen = hook.opened | list_mapped_files(own_tree)
    opened = {
        path.removeprefix(own_tree)
        for path in seen
        if path.startswith(own_tree) and os.path.isfile(path)  # noqa: PTH113
    }
    with open(plan["result"], "w", encoding="utf-8") as file:  # noqa: PTH123 - a descriptor
        table = {"answer": answer, "failures": failures, "opened": sorted(opened), "touched": touched}
        json.dump({**table, "imported": imported, "present": present}, file, sort_keys=True)


if __name__ == "__main__":
    main()
