"""Finding and fetching a target's interpreter; those of a fake PATH and cache are shell scripts."""

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from layer.builder.errors import InterpreterError
from layer.builder.pack import interpreter
from layer.builder.pack.interpreter import fetch, find, find_compiler
from layer.builder.target import get_target

ARM64 = get_target("python3.13-arm64")
X86_64 = get_target("python3.13-x86_64")


def fake(program: Path, machine="x86_64-linux-gnu", version="3.13.9", condition="true"):
    """Write an interpreter that only says what it is, and that only under a condition."""
    tag = "cpython-" + "".join(version.split(".")[:2])
    said = {"version": version, "bytecode": f"{tag} final", "extensions": f".{tag}-{machine}.so"}
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(f"#!/bin/sh\n{condition} && echo '{json.dumps(said)}'\n")
    program.chmod(0o755)


def script(program: Path, text: str):
    """Write a program for sh."""
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)


@pytest.fixture(autouse=True)
def path(tmp_path, monkeypatch):
    """Return a folder that is all there is on the PATH, of an x86_64 Linux that runs another Python."""
    folder = tmp_path / "bin"
    fake(folder / "running", version="3.11.7")
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(sys, "executable", str(folder / "running"))
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    for name in ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "DEBIAN_MIRROR"):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.fixture
def cache(tmp_path):
    """Return a cache that is not there yet."""
    return tmp_path / "cache"


def fetched(cache, target, **says):
    """Put an interpreter into the cache and return its launcher."""
    launcher = cache / target.name / "usr" / "bin" / "python"
    fake(launcher, **says)
    return str(launcher)


class TestFind:
    """An interpreter that runs the target's layers."""

    def test_nothing(self, cache):
        """There is none, and nothing is left behind by looking."""
        assert find(ARM64, cache) is None
        assert find_compiler(ARM64, cache) is None
        assert not cache.exists()

    def test_host(self, cache, path):
        """The host's is the one that runs."""
        for found in (find(get_target("host"), cache), find_compiler(get_target("host"), cache)):
            assert found.command == (str(path / "running"),)
            assert found.description == "CPython 3.11.7, the running one"
            assert not found.emulated

    def test_running(self, cache, path):
        """The running one is taken if it is the target's, too."""
        fake(path / "running")
        assert find(X86_64, cache).command == (str(path / "running"),)

    def test_on_the_path(self, cache, path):
        """One on the PATH runs the target of its own architecture."""
        fake(path / "python3.13")

        found = find(X86_64, cache)

        assert (found.command, found.environment) == ((str(path / "python3.13"),), {})
        assert found.description == "CPython 3.13.9, python3.13 on the PATH"
        assert find(ARM64, cache) is None

    @pytest.mark.parametrize("machine", ["x86_64-linux-musl", "darwin", "i386-linux-gnu"])
    def test_other_machine(self, machine, cache, path):
        """One that loads other extension modules compiles, and does not run the layer."""
        fake(path / "python3.13", machine=machine)
        assert find(X86_64, cache) is None
        assert find_compiler(X86_64, cache).command == (str(path / "python3.13"),)

    @pytest.mark.parametrize("text", ["exit 127", "echo Python 3.13", "kill -9 $$", "echo {}"])
    def test_does_not_start(self, text, cache, path):
        """One that fails, as a version manager's shim does, is passed over."""
        script(path / "python3.13", text)
        assert find(X86_64, cache) is None
        assert find_compiler(X86_64, cache) is None

    def test_settings(self, cache, path, monkeypatch):
        """It has to start without the machine's settings, save where its own library is."""
        fake(path / "python3.13", condition='test -n "$LD_LIBRARY_PATH" -a -z "$PYTHONHOME"')
        monkeypatch.setenv("PYTHONHOME", "/nowhere")
        monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/python/lib")
        assert find(X86_64, cache).environment == {"LD_LIBRARY_PATH": "/opt/python/lib"}

    def test_fetched(self, cache):
        """One in the cache, of the machine's own architecture."""
        launcher = fetched(cache, X86_64)

        found = find(X86_64, cache)

        assert found.command == (launcher,)
        assert found.description == "CPython 3.13.9, Debian's"
        assert not found.emulated

    def test_emulated(self, cache):
        """One of another architecture, as the CPU that Lambda has."""
        launcher = fetched(cache, ARM64, machine="aarch64-linux-gnu")

        found = find(ARM64, cache)

        assert (found.command, found.environment) == ((launcher,), {"QEMU_CPU": "neoverse-n1"})
        assert found.description == "CPython 3.13.9, Debian's, under QEMU (neoverse-n1)"
        assert found.emulated

    def test_old_emulator(self, cache):
        """A QEMU that does not know that CPU gets another."""
        fetched(cache, ARM64, machine="aarch64-linux-gnu", condition="test $QEMU_CPU = max")
        assert find(ARM64, cache).environment == {"QEMU_CPU": "max"}

    def test_relative_cache(self, cache, tmp_path, monkeypatch):
        """Its command works from any folder."""
        launcher = fetched(cache, X86_64)
        monkeypatch.chdir(tmp_path)
        assert find(X86_64, Path("cache")).command == (launcher,)


class TestFindCompiler:
    """An interpreter that compiles for the target."""

    def test_fast_first(self, cache):
        """It is the machine's own rather than the target's."""
        fetched(cache, ARM64, machine="aarch64-linux-gnu")
        assert find_compiler(ARM64, cache).emulated
        launcher = fetched(cache, X86_64)
        assert find_compiler(ARM64, cache).command == (launcher,)

    def test_not_final(self, cache, path):
        """A release candidate's bytecode may differ."""
        said = {"version": "3.13.0rc1", "bytecode": "cpython-313 candidate", "extensions": ".so"}
        script(path / "python3.13", f"echo '{json.dumps(said)}'")
        assert find_compiler(ARM64, cache) is None


class TestFetch:
    """What it takes to fetch, by programs that are not there or fail."""

    def refusal(self, cache, target=X86_64):
        """Return what is said of why there is nothing to be fetched."""
        with pytest.raises(InterpreterError) as caught:
            fetch(target, cache, pytest.fail)
        return str(caught.value)

    def test_host(self, cache):
        """For the host there is nothing to fetch."""
        fetch(get_target("host"), cache, pytest.fail)
        assert not cache.exists()

    def test_no_apt(self, cache):
        """Elsewhere than on Debian and its like one has to install it."""
        assert "install python3.13" in self.refusal(cache)

    def test_no_release(self, cache, path):
        """Debian never had some."""
        self.apt(path)
        assert "no stable release of Debian has python3.12" in self.refusal(
            cache, get_target("python3.12-x86_64")
        )

    def test_no_mirror(self, cache, path):
        """On Ubuntu apt knows no mirror of Debian."""
        self.apt(path, "http://mirror.invalid/ubuntu/")
        assert "DEBIAN_MIRROR" in self.refusal(cache)

    @pytest.mark.parametrize("named", ["", "http://named.invalid/other"])
    def test_mirror(self, path, monkeypatch, named):
        """One that is named comes before the one that apt uses."""
        self.apt(path, "http://mirror.invalid/debian/")
        monkeypatch.setenv("DEBIAN_MIRROR", named)
        assert interpreter.find_debian_mirror() == (named or "http://mirror.invalid/debian/")

    def test_no_emulator(self, cache, path):
        """An interpreter of another architecture needs QEMU; the machine's own is fetched without."""
        fetched(cache, X86_64)
        self.apt(path, "http://mirror.invalid/debian/")
        lines = []
        with pytest.raises(InterpreterError, match=r"qemu-user-static|debian-archive-keyring"):
            fetch(ARM64, cache, lines.append)
        assert lines == []

    @pytest.mark.skipif(
        not list(Path("/usr/share/keyrings").glob("debian-archive-keyring.*")),
        reason="no keys of Debian here",
    )
    @pytest.mark.parametrize("step", ["update", "install"])
    def test_apt_fails(self, cache, path, step):
        """What apt says of a step is said, and nothing stays."""
        failure = f'case "$*" in *" {step}"*) echo "E: no such mirror" >&2; exit 100 ;; esac'
        self.apt(path, "http://mirror.invalid/debian/", failure)
        with pytest.raises(InterpreterError, match="no such mirror"):
            fetch(X86_64, cache, lambda _: None)
        assert list(cache.iterdir()) == []

    def test_uv(self, cache, path):
        """Without apt, uv fetches this machine's into the cache, and installs nothing outside of it."""
        program = cache / "uv" / "cpython-3.13.9-any" / "bin" / "python3.13"
        fake(path / "made", machine="darwin")
        script(path / "uv", f'echo "$@" > {path}/asked; {shutil.which("install", path=os.defpath)} -D '
               f"{path}/made {program}")  # fmt: skip

        said = []
        interpreter.fetch_compiler(ARM64, cache, said.append)

        assert "fetching python3.13 by uv, some 30 MB" in said
        assert (path / "asked").read_text() == f"python install --no-bin --install-dir {cache}/uv 3.13\n"
        assert find_compiler(ARM64, cache).description == "CPython 3.13.9, uv's"
        assert find(ARM64, cache) is None
        assert "install python3.13, or uv" in self.refusal(cache, ARM64)

    def test_uv_fails(self, cache, path):
        """What uv says is said, with its command."""
        script(path / "uv", "echo no such release >&2; exit 2")
        with pytest.raises(InterpreterError, match=r"uv python install .* 3.13 failed:\nno such release"):
            interpreter.fetch_compiler(ARM64, cache, lambda _: None)

    def test_kept(self, cache):
        """What is there and works is kept."""
        fetched(cache, X86_64)
        fetch(X86_64, cache, pytest.fail)

    def apt(self, path, mirror="", otherwise="exit 1"):
        """Put an apt onto the PATH that knows a mirror and does something otherwise."""
        script(path / "apt-get", f"case $1 in indextargets) echo '{mirror}' ;; *) {otherwise} ;; esac")
        script(path / "dpkg-deb", "exit 1")


def out_of_reach() -> str | None:
    """Return what keeps this machine from fetching an interpreter."""
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        return "no apt-get here"
    mirror = interpreter.find_debian_mirror()
    if not mirror or not list(Path("/usr/share/keyrings").glob("debian-archive-keyring.*")):
        return "apt knows no Debian here"
    try:
        urllib.request.urlopen(f"{mirror.rstrip('/')}/dists/trixie/InRelease", timeout=10).close()  # noqa: S310
    except (OSError, ValueError):
        return "no mirror of Debian answers"
    return None


@pytest.mark.check
def test_really(cache, monkeypatch):
    """Debian's own interpreter for this machine is fetched, works with what it links to, and starts itself.

    It is skipped where apt cannot fetch: not on Linux, without a mirror of Debian, or off line.
    """
    monkeypatch.undo()
    if reason := out_of_reach():
        pytest.skip(reason)
    native = interpreter.native_architecture()
    target = get_target(f"python3.13-{native}")
    lines = []

    fetch(target, cache, lines.append)

    assert re.fullmatch(r"fetched CPython 3\.13\.\d+, Debian's", lines[-1])
    assert [folder.name for folder in cache.iterdir()] == [target.name]
    (found,) = interpreter._list_fetched(target, native, cache)
    code = (
        "import asyncio, bz2, ctypes, hashlib, lzma, sqlite3, ssl, subprocess, sys, zlib\n"
        "subprocess.run([sys.executable, '-c', 'import sys; print(sys.version_info[:2])'], check=True)"
    )
    done = subprocess.run(
        [*found.command, "-I", "-S", "-c", code],
        env={**os.environ, **found.environment},
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("(3, 13)\n", "")
