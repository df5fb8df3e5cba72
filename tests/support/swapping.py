"""A function whose channel moves all the time, and which is frozen and thawed all the time."""

import contextlib
import itertools
import random
import re
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from lambda_setup.deployment.local import Emulator
from support.second_model import EVENT, Versions, metrics

SEED = 20261121
SLACK = 50
"""Megabytes by which a process goes up and down between swaps; a model in memory is 53."""
MANY = EVENT | {"data": EVENT["data"] * 4}


def assert_right(versions: Versions, swap: str, swaps: int) -> None:
    """See a function through so many swaps: every answer is right, and no memory is lost."""
    moves = [(0.3, partial(versions.point, version)) for version in (versions.second, versions.first)]
    with versions.function(MODEL_SWAP=swap) as function, versions.logged() as lines:
        served = [versions.served(function.invoke(MANY))]
        settled = 0.0
        with _meanwhile(*moves), _meanwhile((0.3, function.freeze), (0.1, function.thaw)):
            for _ in range(20 * swaps):
                version = versions.served(function.invoke(MANY))
                if version != served[-1]:
                    served.append(version)
                if len(served) > min(20, swaps // 2):
                    settled = settled or memory(function, "VmRSS")
                if len(served) > swaps:
                    break
        function.thaw()
        at_last = memory(function, "VmRSS")
    assert len(served) > swaps
    assert not metrics(lines) & {"ModelRefused", "Failed"}
    assert at_last < settled + SLACK


def memory(function: Emulator, what: str) -> float:
    """Return the megabytes that a function's process holds (VmRSS), or has held at most (VmHWM)."""
    [process] = function._runtime()
    status = Path(f"/proc/{process}/status").read_text()
    return int(re.search(rf"{what}:\s+(\d+) kB", status)[1]) / 1024


@contextlib.contextmanager
def _meanwhile(*acts: tuple[float, Callable[[], None]]) -> Iterator[None]:
    """Do things over and over beside the block, each after a random pause of at most so many seconds."""
    source, ended = random.Random(SEED), threading.Event()  # noqa: S311 - nothing secret

    def run() -> None:
        for pause, act in itertools.cycle(acts):
            if ended.wait(source.uniform(0, pause)):
                return
            act()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
