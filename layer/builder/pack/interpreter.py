"""Find or fetch a target's interpreter, to compile for the target and to run its layers, on any machine.

If none is installed, Debian's is fetched into a folder, with its C library; nothing is installed. It
runs through its own loader, and under QEMU if the machine is of another architecture. Where apt is not, uv
fetches one for this machine.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from layer.builder.errors import InterpreterError
from layer.builder.pack import uv
from layer.builder.target import HOST, MACHINES, Target, host_architecture

_RELEASES = {"python3.13": "trixie"}
"""Of each runtime, the stable release of Debian that has it."""

_PACKAGES = ("{runtime}-minimal", "lib{runtime}-stdlib", "libstdc++6")
"""apt adds what these depend on; wheels take libstdc++ for granted."""

# Besides, the machine's own configuration holds: its proxy, certificates and passwords.
_APT = """\
#clear APT::Update;
APT::Update::Error-Mode "any";
APT::Architecture "{architecture}";
APT::Architectures "{architecture}";
APT::Default-Release "";
APT::Sandbox::User "root";
Dir::Cache "{folder}/cache";
Dir::State "{folder}/state";
Dir::State::status "{folder}/state/status";
Dir::Etc::sourcelist "{folder}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
"""

# It is what sys.executable says, too: subprocess and multiprocessing start it again.
_LAUNCHER = """\
#!/bin/sh
usr=${{0%/*}}/..
lib=$usr/lib/{machine}-linux-gnu
path=$lib${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}
exec {emulator} "$lib/{loader}" --argv0 "$0" --library-path "$path" "$usr/bin/{runtime}" "$@"
"""

_QUESTIONS = """\
import importlib.machinery, json, sys
print(json.dumps({
    "version": sys.version.split()[0],
    "bytecode": f"{sys.implementation.cache_tag} {sys.version_info.releaselevel}",
    "extensions": importlib.machinery.EXTENSION_SUFFIXES[0],
}))
"""

_LIBRARIES = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
"""Where some installed interpreters find their own library."""


@dataclass(frozen=True)
class _Architecture:
    """What Linux and Debian call it, its loader, and what QEMU calls CPUs of it, the best first."""

    machine: str
    debian: str
    loader: str
    cpus: tuple[str, ...]


_ARCHITECTURES = {
    # The first is Lambda's. QEMU's own choice signs pointers, which makes Python five times slower.
    "arm64": _Architecture(MACHINES["arm64"], "arm64", "ld-linux-aarch64.so.1", ("neoverse-n1", "max")),
    # QEMU's own choice lacks SSE4, which numpy needs.
    "x86_64": _Architecture(MACHINES["x86_64"], "amd64", "ld-linux-x86-64.so.2", ("max",)),
}


@dataclass(frozen=True)
class Interpreter:
    """A CPython that starts on this machine, by a command with these variables; an emulated one is slow.

    Reports have its description, such as ``CPython 3.13.5, Debian's, under QEMU (neoverse-n1)``.
    """

    command: tuple[str, ...]
    environment: dict[str, str]
    description: str
    emulated: bool


def find(target: Target, cache: Path) -> Interpreter | None:
    """Return an interpreter that the target's layers run on: an installed one, or one in the cache."""
    candidates = [*_list_installed(target, cache), *_list_fetched(target, target.architecture, cache)]
    return _find_first(
        candidates, {} if target.name == HOST else _describe_runner(target, target.architecture)
    )


def find_compiler(target: Target, cache: Path) -> Interpreter | None:
    """Return an interpreter whose bytecode is the target's, on whatever machine, an emulated one last."""
    candidates = [*_list_installed(target, cache)]
    for architecture in sorted(_ARCHITECTURES, key=lambda name: name != native_architecture()):
        candidates += _list_fetched(target, architecture, cache)
    return _find_first(candidates, {} if target.name == HOST else {"bytecode": f"{_cache_tag(target)} final"})


def fetch(target: Target, cache: Path, say: Callable[[str], None]) -> None:
    """Fetch the interpreter that ``find`` looks for and, if none compiles fast, this machine's as well.

    apt does it, and checks it against Debian's signature. What is there already, and works, is kept; an
    interpreter is there whole or not at all.
    """
    if target.name == HOST:
        return
    compiler = find_compiler(target, cache)
    if compiler is None or compiler.emulated:
        fetch_compiler(target, cache, say)
    if find(target, cache) is None:
        _fetch(target, target.architecture, cache, say)


def fetch_compiler(target: Target, cache: Path, say: Callable[[str], None]) -> None:
    """Fetch an interpreter of this machine's whose bytecode is the target's."""
    if uv.is_used():
        uv.install(target, cache, say)
    else:
        _fetch(target, native_architecture() or target.architecture, cache, say)


def _cache_tag(target: Target) -> str:
    return f"cpython-{target.python.replace('.', '')}"


def _describe_runner(target: Target, architecture: str) -> dict[str, str]:
    """Return what an interpreter says that loads the target's extension modules: glibc's, with a GIL."""
    return {"extensions": f".{_cache_tag(target)}-{_ARCHITECTURES[architecture].machine}-linux-gnu.so"}


def native_architecture() -> str | None:
    """Return the machine's own architecture as Lambda writes it, on Linux."""
    known = platform.system() == "Linux" and host_architecture() in _ARCHITECTURES
    return host_architecture() if known else None


def _list_installed(target: Target, cache: Path) -> Iterator[Interpreter]:
    libraries = {name: os.environ[name] for name in _LIBRARIES if name in os.environ}
    paths = {sys.executable: "the running one"}
    if path := shutil.which(target.runtime):
        paths.setdefault(str(Path(path).absolute()), f"{target.runtime} on the PATH")
    paths |= {str(path): "uv's" for path in uv.list_installed(target, cache)}
    for path, description in paths.items():
        yield Interpreter((path,), {}, description, emulated=False)
        if libraries:
            yield Interpreter((path,), libraries, description, emulated=False)


def _list_fetched(target: Target, architecture: str, cache: Path) -> Iterator[Interpreter]:
    launcher = _launcher_of(_folder_of(target, architecture, cache).resolve())
    if not launcher.is_file():
        return
    if architecture == native_architecture():
        yield Interpreter((str(launcher),), {}, "Debian's", emulated=False)
        return
    for cpu in _ARCHITECTURES[architecture].cpus:
        environment = {"QEMU_CPU": cpu}
        yield Interpreter((str(launcher),), environment, f"Debian's, under QEMU ({cpu})", emulated=True)


def _folder_of(target: Target, architecture: str, cache: Path) -> Path:
    return cache / f"{target.runtime}-{architecture}"


def _launcher_of(root: Path) -> Path:
    return root / "usr" / "bin" / "python"


def _find_first(candidates: Iterable[Interpreter], expected: dict[str, str]) -> Interpreter | None:
    """Return the first candidate that starts and says what is expected."""
    for one in candidates:
        try:
            done = _start(one, ["-I", "-S", "-c", _QUESTIONS], timeout=60)
            facts: dict[str, str] = json.loads(done.stdout)
        except (OSError, ValueError, subprocess.SubprocessError):
            continue
        if expected.items() <= facts.items():
            return replace(one, description=f"CPython {facts['version']}, {one.description}")
    return None


def _start(
    interpreter: Interpreter, arguments: list[str], timeout: float | None = None
) -> subprocess.CompletedProcess[bytes]:
    environment = {"PATH": os.environ.get("PATH", ""), **interpreter.environment}
    command = [*interpreter.command, *arguments]
    return subprocess.run(command, capture_output=True, env=environment, timeout=timeout, check=False)


def _fetch(target: Target, architecture: str, cache: Path, say: Callable[[str], None]) -> None:
    facts, final = _ARCHITECTURES[architecture], _folder_of(target, architecture, cache)
    source = _make_sources_list(target, facts)
    emulator = "" if architecture == native_architecture() else f'"{_find_emulator(facts)}"'
    packages = [package.format(runtime=target.runtime) for package in _PACKAGES]
    say(f"fetching Debian's {target.runtime} for {architecture}, some 25 MB")
    shutil.rmtree(final, ignore_errors=True)
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".interpreter-", dir=cache.resolve()) as name:
        folder = Path(name)
        for part in ("cache/archives/partial", "state/lists/partial"):
            (folder / part).mkdir(parents=True)
        (folder / "state" / "status").touch()
        (folder / "sources.list").write_text(source, encoding="utf-8")
        (folder / "apt.conf").write_text(
            _APT.format(architecture=facts.debian, folder=name), encoding="utf-8"
        )
        apt = ["apt-get", "-q", "-c", str(folder / "apt.conf")]
        _run([*apt, "update"])
        _run([*apt, "install", "--yes", "--download-only", "--no-install-recommends", *packages])
        root = folder / "root"
        for archive in sorted((folder / "cache" / "archives").glob("*.deb")):
            _run(["dpkg-deb", "--extract", str(archive), str(root)])
        launcher = _LAUNCHER.format(
            emulator=emulator, machine=facts.machine, loader=facts.loader, runtime=target.runtime
        )
        _launcher_of(root).write_text(launcher, encoding="utf-8")
        _launcher_of(root).chmod(0o755)
        # As Debian does on installing it: an emulator takes half a minute to.
        itself = Interpreter((str(_launcher_of(root)),), {"QEMU_CPU": facts.cpus[0]}, "", emulated=False)
        options = ["-I", "-m", "compileall", "-q", "-j", "0", "--invalidation-mode", "unchecked-hash"]
        library = root / "usr" / "lib" / target.runtime
        _start(find_compiler(target, cache) or itself, [*options, str(library)])
        try:
            root.rename(final)
        except OSError:
            if not final.exists():  # Nobody else fetched it meanwhile.
                raise
    found = _find_first(_list_fetched(target, architecture, cache), _describe_runner(target, architecture))
    if not found:
        raise InterpreterError(
            f"{final} was fetched, but does not start; try {_launcher_of(final)} --version"
        )
    say(f"fetched {found.description}")


def _make_sources_list(target: Target, facts: _Architecture) -> str:
    """Return where apt finds the target's interpreter, for its sources.list."""
    otherwise = (
        f"install {target.runtime}, or uv, which fetches it: any will do to compile; to run the layer it "
        f"takes one for Linux on {target.architecture}, such as a container's"
    )
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        raise InterpreterError(f"apt-get and dpkg-deb are missing, which fetch one; {otherwise}")
    if target.runtime not in _RELEASES:
        raise InterpreterError(f"no stable release of Debian has {target.runtime}; {otherwise}")
    mirror = find_debian_mirror()
    if not mirror:
        raise InterpreterError(f"apt knows no mirror of Debian; name one in DEBIAN_MIRROR, or {otherwise}")
    keyring = next(Path("/usr/share/keyrings").glob("debian-archive-keyring.[gp]*"), None)
    if not keyring:
        raise InterpreterError("Debian's keys are missing: apt-get install debian-archive-keyring")
    options = f"arch={facts.debian} target=Packages lang=none signed-by={keyring}"
    return f"deb [{options}] {mirror} {_RELEASES[target.runtime]} main\n"


def find_debian_mirror() -> str | None:
    """Return the mirror of Debian that ``DEBIAN_MIRROR`` names, or else the one that apt uses."""
    if mirror := os.environ.get("DEBIAN_MIRROR"):
        return mirror
    known = _run(["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"])
    return next((uri for uri in known.splitlines() if uri.rstrip("/").endswith("/debian")), None)


def _find_emulator(facts: _Architecture) -> str:
    names = (f"qemu-{facts.machine}-static", f"qemu-{facts.machine}")
    found = next(filter(None, map(shutil.which, names)), None)
    if not found:
        raise InterpreterError(f"running {facts.machine} here needs QEMU: apt-get install qemu-user-static")
    return str(Path(found).absolute())


def _run(command: list[str]) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"}, check=False
    )
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith(("E:", "W:"))]
        raise InterpreterError(f"{command[0]} failed:\n" + "\n".join(errors or [done.stderr.strip()]))
    return done.stdout
