# ruff: noqa: SLF001 - most registries are private
"""See what imports and a prediction enter in registries; runs as the script of a smoke prediction.

A module that is imported later, or not at all, registers later, or not at all: most of it without a sound. So
the same is observed on a tree with and without patches of the stage ``lazy``, and ``gate`` compares.
"""

import atexit
import codecs
import concurrent.futures
import contextlib
import copyreg
import functools
import importlib
import importlib.util
import io
import json
import logging
import os
import signal
import sys
import threading
import traceback
import types
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

_SECONDS = 900
"""After which a process of its own is given up: an emulated one is slow."""
_THREADS = 8
Registries = dict[str, list[str]]


class Calls:
    """The calls of functions that register something where nobody can list it, since this was made."""

    def __init__(self) -> None:
        self.entries: Registries = {"atexit": [], "codecs": [], "fork hooks": []}
        self._record(atexit, "register", "atexit")
        self._record(codecs, "register", "codecs")
        self._record(os, "register_at_fork", "fork hooks")

    def _record(self, module: types.ModuleType, name: str, registry: str) -> None:
        original = getattr(module, name)

        def register(*arguments: Any, **named: Any) -> Any:
            whats = [*(arguments[:1]), *(named[key] for key in sorted(named) if callable(named[key]))]
            self.entries[registry] += [_name(one) for one in whats]
            return original(*arguments, **named)

        setattr(module, name, register)


def answer(
    script: str,
    arguments: dict[str, Any],
    packages: list[str],
    modules: list[str],
    operations: str = "",
    names: dict[str, list[str]] | None = None,
    prepared: str = "",
) -> dict[str, Any]:
    """Return what a tree does: registries after imports and after the prediction, late imports, and answers.

    Args:
        script: of the recipe's smoke prediction; empty if it has none.
        arguments: of the script's ``answer``.
        packages: what is imported first.
        modules: of the tree; each that is not there by then is imported in a process of its own.
        operations: a script whose ``answer`` makes more than the prediction does.
        names: by module, what is looked up in it (default: what modules hold after the imports).
        prepared: the folder that was made for the script, which it then takes as an argument.

    """
    calls = Calls()
    for package in packages:
        importlib.import_module(package)
    found: dict[str, Any] = {"imported": list_registries(calls)}
    found["loaded"] = sorted(name for name in sys.modules if _is_within(name, packages))
    found["names"] = list_names(packages) if names is None else {}
    found["missing"] = [] if names is None else _list_apart(find_missing, names)
    late = [name for name in sorted({*modules, *(names or ())}) if name not in sys.modules]
    found["late"] = {name: _run_apart(import_late, name) for name in late}
    found["attributes"] = [name for name in sys.modules if _is_within(name, packages) and _is_bound(name)]
    moved = [name for name in late if name in (names or ())]
    found["attributes"] += [name for name in moved if _run_apart(is_reached, name) is True]
    found["threads"] = _list_apart(import_at_once, moved)
    found["operations"] = _run_apart(_call_answer, operations, {}) if operations else None
    if prepared:
        arguments = {**arguments, "prepared": prepared}
    found["answer"] = _call_answer(script, arguments) if script else None
    found["predicted"] = list_registries(calls)
    return found


def list_registries(calls: Calls) -> Registries:
    """Return the entries of all registries that are known, each in the order that does not matter: sorted."""
    found: dict[str, Iterable[str]] = {
        **calls.entries,
        "copyreg": [_name(one) for one in copyreg.dispatch_table],
        "import hooks": [_name(one) for one in (*sys.meta_path, *sys.path_hooks, sys.excepthook)],
        "logging handlers": list(_list_handlers()),
        "signals": [
            f"{one.name}: {_name(handler)}"
            for one in sorted(signal.valid_signals())
            if isinstance(one, signal.Signals) and callable(handler := signal.getsignal(one))
        ],
        "threads": [
            one.name for one in threading.enumerate() if not one.name.startswith(("asyncio", "Thread-"))
        ],
        "warnings filters": [
            " ".join(str(getattr(part, "pattern", getattr(part, "__name__", part))) for part in one)
            for one in warnings.filters
        ],
    }
    if torch := sys.modules.get("torch"):
        found |= _list_torch(torch)
    return {name: sorted(set(entries)) for name, entries in found.items()}


def _list_torch(torch: Any) -> dict[str, Iterable[str]]:
    """Return torch's own registries, as far as this version has them."""
    native = sys.modules.get("torch._native.registry")
    opaque = sys.modules.get("torch._library.opaque_object")
    unpickler = sys.modules.get("torch._weights_only_unpickler")
    registry = torch._library.simple_registry.singleton
    pytree = torch.utils._pytree
    numbers = (torch.SymInt, torch.SymFloat, torch.SymBool)
    return {
        "dispatcher operators": torch._C._dispatch_get_all_op_names(),
        "dispatcher registrations": [
            f"{key} {name}"
            for key in torch._C.DispatchKey.__members__
            for name in _list_registrations(torch, key)
        ],
        "library definitions": torch.library._defs,
        "library implementations": torch.library._impls,
        "native overrides": [
            f"{key} {node.node_id} {node.dsl_name}"
            for key, nodes in getattr(native, "_graphs", {}).items()
            for node in nodes
        ],
        "fake implementations": [
            f"{name} {_name(getattr(kernel, 'func', kernel))}"
            for name, entry in registry._data.items()
            if (kernel := getattr(entry.fake_impl, "kernel", None))
        ],
        "higher-order operators": torch._ops._higher_order_ops,
        "pytree nodes": map(_name, pytree.SUPPORTED_NODES),
        "pytree serialized types": pytree.SERIALIZED_TYPE_TO_PYTHON_TYPE,
        "opaque types": map(str, getattr(opaque, "_OPAQUE_TYPES_BY_NAME", ())),
        "safe globals": [
            _name(one[0] if isinstance(one, tuple) else one)
            for one in getattr(unpickler, "_marked_safe_globals_set", ())
        ],
        "storage locations": [f"{one[0]} {_name(one[1])}" for one in torch.serialization._package_registry],
        "symbolic numbers": [f"{one.__name__}.{name}" for one in numbers for name in vars(one)],
    }


def _list_registrations(torch: Any, key: str) -> list[str]:
    try:
        return list(torch._C._dispatch_get_registrations_for_dispatch_key(key))
    except RuntimeError:  # it is the start or the end of others
        return []


def _list_handlers() -> Iterator[str]:
    for name, logger in [("root", logging.root), *logging.root.manager.loggerDict.items()]:
        for handler in getattr(logger, "handlers", ()):
            yield f"{name}: {type(handler).__name__} {handler.level}"


def list_names(packages: Iterable[str]) -> dict[str, list[str]]:
    """Return, by loaded module of packages, the names in it, but not those of modules from elsewhere."""
    found = {}
    for name, module in list(sys.modules.items()):
        if _is_within(name, packages) and isinstance(module, types.ModuleType):
            found[name] = sorted(
                key
                for key, value in list(vars(module).items())
                if not (isinstance(value, types.ModuleType) and not _is_within(value.__name__, packages))
            )
    return found


def find_missing(names: dict[str, list[str]]) -> list[str]:
    """Return which names modules do not have; each module is imported first, as whoever wants a name does."""
    missing = []
    for module, wanted in names.items():
        found = sys.modules.get(module)
        if found is None:
            try:
                found = importlib.import_module(module)
            except Exception as error:  # noqa: BLE001 - a name is missing, whatever it is
                missing.append(f"{module} ({type(error).__name__})")
                continue
        missing += [f"{module}.{name}" for name in wanted if not _has(found, name)]
    return missing


def _has(module: types.ModuleType, name: str) -> bool:
    try:
        getattr(module, name)
    except Exception:  # noqa: BLE001 - it is found, or not
        return False
    return True


def import_late(name: str) -> str:
    """Import a module; return its error's name, or nothing."""
    try:
        importlib.import_module(name)
    except BaseException as error:  # noqa: BLE001 - modules are scripts sometimes
        return type(error).__name__
    return ""


def is_reached(name: str) -> bool:
    """Return whether a module that nobody has imported is found as an attribute of its package."""
    top, *parts = name.split(".")
    if top not in sys.modules:
        return False
    found: Any = sys.modules[top]
    for part in parts:
        if not _has(found, part):
            return False
        found = getattr(found, part)
    return found is sys.modules.get(name)


def _is_bound(name: str) -> bool:
    parent, _, child = name.rpartition(".")
    return bool(parent) and vars(sys.modules[parent]).get(child) is sys.modules[name]


def import_at_once(names: list[str]) -> list[str]:
    """Import modules from several threads, each at once; return those that failed in one of them."""
    barrier = threading.Barrier(_THREADS)

    def import_each() -> list[str]:
        failed = []
        for name in names:
            barrier.wait()
            if error := import_late(name):
                failed.append(f"{name}: {error}")
        return failed

    with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
        calls = [pool.submit(import_each) for _ in range(_THREADS)]
        return sorted({line for call in calls for line in call.result()})


def _call_answer(script: str, arguments: dict[str, Any]) -> Any:
    spec = importlib.util.spec_from_file_location("observed", script)
    assert spec is not None  # noqa: S101
    assert spec.loader is not None  # noqa: S101
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.answer(**arguments)


def _list_apart(function: Callable[..., list[str]], *arguments: Any) -> list[str]:
    found = _run_apart(function, *arguments)
    return found if isinstance(found, list) else [f"{function.__name__} {found}"]


def _run_apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a function returns in a process of its own, a copy of this one."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        _answer_parent(writer, function, arguments)
    os.close(writer)
    with open(reader, encoding="utf-8") as file:  # noqa: PTH123 - a descriptor
        text = file.read()
    _, status = os.waitpid(child, 0)
    return json.loads(text) if text else f"ends with {os.waitstatus_to_exitcode(status)}"


def _answer_parent(writer: int, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    """Write what a function returns as JSON, and end the process without what would run at its end."""
    signal.alarm(_SECONDS)
    code = 1
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            text = json.dumps(function(*arguments))
        os.set_blocking(writer, True)
        with open(writer, "w", encoding="utf-8") as file:
            file.write(text)
        code = 0
    except BaseException:  # noqa: BLE001 - the parent must not come back as two
        traceback.print_exc()
    finally:
        os._exit(code)


def _is_within(name: str, packages: Iterable[str]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def _name(what: Any) -> str:
    """Return a name that is the same in each process."""
    if isinstance(what, str):
        return what
    if isinstance(what, functools.partial):
        what = what.func
    kind = type(what)
    named = what if getattr(what, "__qualname__", None) else kind
    return f"{getattr(named, '__module__', '')}.{named.__qualname__}"
