"""Child processes that end when this one does."""

import contextlib
import ctypes
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import IO

from lambda_setup.errors import CommandError

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


class Program:
    """A program in its own process group, ended by ``stop`` or, on Linux, by the death of this process."""

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        env: Mapping[str, str],
        cwd: Path,
        log: IO[bytes] | int,
        grace: float = 10,
    ) -> None:
        """Start a program; ``stop`` sends SIGTERM and, after ``grace`` seconds, SIGKILL."""
        self._grace = grace
        self.name = Path(command[0]).name
        self._process = subprocess.Popen(
            command,
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=self._die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509
        )
        self.pid = self._process.pid

    def _die_with_parent(self) -> None:
        number = signal.SIGTERM if self._grace else signal.SIGKILL
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)

    def wait_until(self, ready: Callable[[], bool], seconds: float) -> None:
        """Wait until the program is ready; CommandError if it ends before, or is not in time."""
        end = time.monotonic() + seconds
        while not ready():
            if self._process.poll() is not None:
                raise CommandError(f"{self.name} ended with {self._process.returncode} before it was ready")
            if time.monotonic() > end:
                raise CommandError(f"{self.name} was not ready after {seconds:.0f} seconds")
            time.sleep(0.05)

    def stop(self) -> None:
        """End the program and everything that it started; idempotent."""
        signals = [signal.SIGTERM, signal.SIGKILL] if self._grace else [signal.SIGKILL]
        for signal_number in signals:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal_number)
            # A stopped process receives SIGTERM only once it continues.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGCONT)
            try:
                self._process.wait(self._grace if signal_number == signal.SIGTERM else None)
            except subprocess.TimeoutExpired:
                continue
            break


def free_ports(count: int) -> list[int]:
    """Return ports of the loopback interface that are free at the moment.

    They lie below the range of ephemeral ports, which outgoing connections use.
    """
    ports: list[int] = []
    candidates = iter(random.sample(range(20_000, 32_000), 4_000))
    while len(ports) < count:
        with contextlib.suppress(OSError), socket.socket() as probe:
            port = next(candidates)
            probe.bind(("127.0.0.1", port))
            ports.append(port)
    return ports


def listens(port: int) -> bool:
    """Return whether something on the loopback interface answers at a port."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@contextlib.contextmanager
def unwind_on_termination() -> Iterator[None]:
    """Let SIGTERM unwind the stack as Ctrl-C does, so that child processes are ended."""

    def leave(number: int, _: FrameType | None) -> None:
        sys.exit(128 + number)

    previous = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
