"""Lambda's terms for a prediction: which of them this machine can hold, and the command that holds them.

Namespaces of Linux hold all of them. Where they are not allowed, as in most containers, or do not exist,
Python's own calls are refused; native code's are not.
"""

import functools
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from layer.builder.pack.interpreter import Interpreter

_RUNNER = Path(__file__).with_name("terms_runner.py")
TEMPORARY_MB = 512
"""What /tmp holds unless the function asks for more."""
MEMORY_MB = 10_240
"""The most that a function can have; a layer does not know how much its functions get."""
_UNREADABLE = {"arm64": ("/sys/devices/system/cpu/possible", "/sys/devices/system/cpu/present")}
"""Lambda does not show them, and cpuinfo, which onnxruntime and torch ask, reads them on arm64."""


@dataclass(frozen=True)
class Terms:
    """What holds a prediction to Lambda's terms: the command for namespaces, if any, and mounts or not."""

    namespaces: tuple[str, ...]
    mounts: bool

    def wrap(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        folder: Path,
        paths: Iterable[Path] = (),
        architecture: str = "",
    ) -> list[str]:
        """Return the command that runs another one in a folder, on these terms.

        Args:
            command: what to run.
            environment: all of its variables.
            folder: to run it in.
            paths: what it needs, of which /tmp shows nothing else.
            architecture: the target's, as Lambda writes it.

        """
        plan = {
            "mounts": self.mounts,
            "loopback": bool(self.namespaces),
            "temporary": TEMPORARY_MB * 2**20,
            "memory": MEMORY_MB * 2**20,
            "unreadable": _UNREADABLE.get(architecture, ()),
            "cwd": str(folder),
            "environment": dict(environment),
            "paths": [str(one) for path in (folder, *paths) for one in (path.absolute(), path.resolve())],
        }
        runner = [sys.executable, "-I", "-S", "-B", str(_RUNNER), json.dumps(plan)]
        return [*self.namespaces, *runner, *command]

    def describe(self, architecture: str) -> str:
        """Return which of Lambda's terms are held, and which are not."""
        limits = f", one core, {MEMORY_MB:,} MB of memory" if sys.platform == "linux" else ""
        processors = "the list of processors in /sys" if architecture in _UNREADABLE else ""
        if self.mounts:
            hidden = f", without {processors}" if processors else ""
            return (
                f"on Lambda's terms (read-only but for {TEMPORARY_MB} MB of /tmp, no /dev/shm, no network"
                f"{limits}{hidden})"
            )
        network = "no network" if self.namespaces else "none of Python's own network calls"
        native = "what native code writes and shares" + ("" if self.namespaces else ", and its network")
        left = ", ".join(filter(None, ("the size of /tmp", processors, native)))
        return (
            f"on some of Lambda's terms ({network}, none of Python's own writes outside of /tmp, none of its "
            f"semaphores and shared memory{limits}; not held for want of namespaces: {left})"
        )


NO_NAMESPACES = Terms((), mounts=False)


@functools.cache
def find_terms() -> Terms:
    """Return the most that this machine can hold, found by trying."""
    if sys.platform != "linux":
        return NO_NAMESPACES
    # Root needs no user namespace, in which it could not read others' private files.
    candidates = [["--mount"]] if os.geteuid() == 0 else []
    for options in (*candidates, ["--map-root-user", "--mount"], ["--map-root-user"]):
        terms = Terms(("unshare", *options, "--net", "--"), mounts="--mount" in options)
        command = terms.wrap(["true"], environment={}, folder=Path("/"), architecture="arm64")
        try:
            if subprocess.run(command, capture_output=True, check=False).returncode == 0:
                return terms
        except OSError:
            break  # there is no unshare
    return NO_NAMESPACES


def list_prefixes(interpreter: Interpreter) -> list[Path]:
    """Return the folders that an interpreter needs, also where it is a virtual environment."""
    program = Path(interpreter.command[0])
    return [program.parents[1], program.resolve().parents[1]]
