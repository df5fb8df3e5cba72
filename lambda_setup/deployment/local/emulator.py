"""The function under AWS's Runtime Interface Emulator and runtime client, without a container.

It imports from its layers, and from Lambda's Python runtime: the runtime client and boto3. It cannot import
any other package of this machine.

The emulator enforces the timeout and the response limit as Lambda does. It limits neither memory
nor /tmp, and never freezes the process between invocations; ``freeze`` and ``thaw`` do that.
"""

import contextlib
import http.client
import importlib.metadata
import importlib.util
import json
import os
import re
import signal
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import IO, Any, Self

from lambda_setup.deployment.local.process import Program, free_ports, listens
from lambda_setup.deployment.responses import parse_response
from lambda_setup.errors import CommandError
from layer.builder.target import host_architecture

_REQUIRED = re.compile(r"[A-Za-z0-9._-]+(?!.*;.*extra)")


@dataclass(eq=False, repr=False)
class Emulator:
    """A function in its own process, as Lambda would run it; settings are those that the template gives."""

    task_root: Path  # folder of the function's code
    _: KW_ONLY
    layers: list[Path]  # their ``python`` folders
    handler: str = "app.lambda_handler"
    memory: int = 1769  # megabytes, in the function's environment; nothing limits it
    timeout: int = 120  # seconds
    temporary: Path | None = None  # stands for /tmp; by default one that is deleted with the function
    env: Mapping[str, str] | None = None
    log: IO[bytes] | int = 2  # for everything that the function prints

    def __enter__(self) -> Self:
        self._port, runtime_port = free_ports(2)
        self._folder = tempfile.TemporaryDirectory(prefix="lambda-")
        temporary, runtime = Path(self._folder.name) / "tmp", Path(self._folder.name) / "runtime"
        for path in (temporary, runtime):
            path.mkdir()
        link_runtime(runtime)
        self._program = Program(
            [_find_emulator(), "--log-level", "error",
             "--runtime-interface-emulator-address", f"127.0.0.1:{self._port}",
             "--runtime-api-address", f"127.0.0.1:{runtime_port}",
             sys.executable, "-s", "-S", "-P", "-m", "awslambdaric", self.handler],
            env={
                "PATH": os.environ.get("PATH", ""),
                "LANG": "C.UTF-8",
                "TZ": ":UTC",
                "LAMBDA_TASK_ROOT": str(self.task_root),
                "_HANDLER": self.handler,
                "AWS_EXECUTION_ENV": "AWS_Lambda_python3.13",  # the template's runtime
                "AWS_LAMBDA_FUNCTION_HANDLER": self.handler,
                "AWS_LAMBDA_LOG_FORMAT": "JSON",
                "AWS_LAMBDA_FUNCTION_NAME": "function",
                "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
                "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(self.memory),
                "AWS_LAMBDA_FUNCTION_TIMEOUT": str(self.timeout),
                **(self.env or {}),
                "PYTHONPATH": os.pathsep.join(map(str, [self.task_root, *self.layers, runtime])),
                "LD_LIBRARY_PATH": os.pathsep.join(str(layer.parent / "lib") for layer in self.layers),
                "TMPDIR": str(self.temporary or temporary),
            },
            cwd=self.task_root,
            log=self.log,
        )  # fmt: skip
        try:
            self._program.wait_until(lambda: listens(self._port), seconds=20)
        except BaseException:
            self._program.stop()
            self._folder.cleanup()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        runtime = self._runtime()
        self._program.stop()
        for pid in runtime:  # the emulator gives the runtime a process group of its own
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(OSError):  # the killed process may still be writing
            self._folder.cleanup()

    def invoke(self, event: Any) -> Any:
        """Send an event and return the response, a raised error in the form of a returned one."""
        # Escapes only, as boto3's callers send them: a lone surrogate is not UTF-8.
        return parse_response(self.send(json.dumps(event).encode("ascii")).decode())

    def send(self, body: bytes) -> bytes:
        """Send an event as it is, and return the answer as it is."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=self.timeout + 60)
        try:
            connection.request("POST", "/2015-03-31/functions/function/invocations", body=body)
            return connection.getresponse().read()
        finally:
            connection.close()

    def freeze(self) -> None:
        """Stop the function's process, as Lambda does after an answer."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let the function's process go on, as Lambda does for the next event."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """Kill the function's process, whatever it is doing; the next event starts another."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        for pid in self._runtime():
            os.kill(pid, number)

    def _runtime(self) -> list[int]:
        """Return the process ids of the emulator's children: the runtime, once it has started."""
        with contextlib.suppress(OSError):
            tasks = Path(f"/proc/{self._program.pid}/task").iterdir()
            return [int(pid) for task in tasks for pid in (task / "children").read_text().split()]
        return []


def link_runtime(folder: Path) -> None:
    """Link the packages of Lambda's Python runtime into a folder: client, boto3 and their dependencies."""
    waiting, seen = ["awslambdaric", "boto3"], set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        distribution = importlib.metadata.distribution(name)
        waiting += [match[0] for one in distribution.requires or [] if (match := _REQUIRED.match(one))]
        for top in {Path(file.parts[0]) for file in distribution.files or [] if file.parts[0] != ".."}:
            if not (folder / top).exists() and top.name != "__pycache__":
                (folder / top).symlink_to(str(distribution.locate_file(top)))


def _find_emulator() -> Path:
    """Return the path of the Runtime Interface Emulator for this machine."""
    package = importlib.util.find_spec("samcli")
    if package is None or package.origin is None:
        raise CommandError("the emulator comes with the SAM CLI; run: pip install aws-sam-cli")
    return Path(package.origin).parent / "local" / "rapid" / f"aws-lambda-rie-{host_architecture()}"
