"""Targets: the interpreter and the architecture that a layer is for."""

import platform
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from layer.builder.errors import TargetError

HOST = "host"
"""The name of the target that is the running interpreter."""

_GLIBC = 34
"""glibc 2.34, of Amazon Linux 2023, which python3.12 and later run on."""

OFFERED: Mapping[str, Mapping[str, tuple[int, ...]]] = {
    "libc.so.6": {"GLIBC": (2, _GLIBC)},
    "libstdc++.so.6": {"GLIBCXX": (3, 4, 29), "CXXABI": (1, 3, 13)},
    "libgcc_s.so.1": {"GCC": (11, 0)},
}
"""The newest symbol versions of Amazon Linux 2023's own libraries: glibc 2.34, and GCC 11's runtime
(GCC manual, "ABI Policy and Guidelines")."""

_OLDEST_MANYLINUX = 17
_OLDEST_RUNTIME = 12

MACHINES = {"arm64": "aarch64", "x86_64": "x86_64"}
"""The architectures of Lambda, each with Linux's name for it."""


@dataclass(frozen=True)
class Target:
    """An interpreter and an architecture by Lambda's names; ``host``, or both, is the target's own name."""

    name: str
    runtime: str
    architecture: str

    @property
    def python(self) -> str:
        """The version of Python, such as ``3.13``."""
        return self.runtime.removeprefix("python")

    @property
    def record(self) -> str:
        """The folder of its lock, trace and proof; a host's names its interpreter."""
        if self.name != HOST:
            return self.name
        return f"{HOST}/{self.runtime}-{platform.system().lower()}-{self.architecture}"

    @property
    def machine(self) -> str:
        """Linux's name of the architecture, such as ``aarch64``."""
        return MACHINES.get(self.architecture, self.architecture)

    def pip_options(self) -> list[str]:
        """Return the options that make pip choose wheels for the target, never sources."""
        options = ["--only-binary=:all:"]
        if self.name == HOST:
            return options
        for minor in range(_GLIBC, _OLDEST_MANYLINUX - 1, -1):
            options += ["--platform", f"manylinux_2_{minor}_{self.machine}"]
        options += ["--platform", f"manylinux2014_{self.machine}"]
        options += ["--implementation", "cp", "--python-version", self.python]
        for abi in (f"cp{self.python.replace('.', '')}", "abi3", "none"):
            options += ["--abi", abi]
        return options

    def markers(self) -> dict[str, str]:
        """Return the environment of the target's requirement markers (PEP 508).

        pip evaluates markers for the interpreter it runs on, whatever ``--platform`` says.
        """
        return {
            "implementation_name": "cpython",
            "implementation_version": f"{self.python}.0",
            "os_name": "posix",
            "platform_machine": self.machine,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": platform.system() if self.name == HOST else "Linux",
            "platform_version": "",
            "python_full_version": f"{self.python}.0",
            "python_version": self.python,
            "sys_platform": sys.platform if self.name == HOST else "linux",
            "extra": "",
        }


def host_architecture() -> str:
    """Return this machine's architecture by Lambda's name for it, or by its own if Lambda has none."""
    machine = platform.machine()
    return {"aarch64": "arm64", "AMD64": "x86_64"}.get(machine, machine)


def get_target(name: str) -> Target:
    """Return the target called ``host``, or a name such as ``python3.13-arm64``."""
    if name == HOST:
        runtime = f"python{sys.version_info.major}.{sys.version_info.minor}"
        return Target(HOST, runtime, host_architecture())
    match = re.fullmatch(r"(python3\.(\d+))-(\w+)", name)
    if not match or match[3] not in MACHINES:
        raise TargetError(
            f"unknown target {name!r}; write host, or runtime-architecture like python3.13-arm64"
        )
    if int(match[2]) < _OLDEST_RUNTIME:
        raise TargetError(
            f"{match[1]} runs on Amazon Linux 2, whose glibc 2.26 is too old for today's wheels; "
            "use python3.12 or later"
        )
    return Target(name, match[1], match[3])
