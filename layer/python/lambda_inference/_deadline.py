"""The time that is left of an invocation, and that an initialisation has taken."""

import os
import time
from collections.abc import Iterator, Sequence
from typing import TypeVar

from msgspec import Struct

from lambda_inference._errors import OutOfTime

T = TypeVar("T")


class Deadline(Struct, frozen=True):
    """The moment at which a prediction has to end.

    It is earlier than the function's timeout by ``RESERVE`` of the invocation's time, at least one second
    and at most ten, so that results can still be stored, or an error returned.

    Attributes:
        at: seconds on the monotonic clock.
        seconds: the time that the whole invocation had at its start.

    """

    at: float
    seconds: float

    RESERVE = 0.1

    @classmethod
    def after(cls, seconds: float) -> "Deadline":
        """Return the deadline of an invocation with so many seconds left."""
        return cls(time.monotonic() + seconds - _reserve(seconds), seconds)

    def remaining(self) -> float:
        """Return the seconds that are left; below zero after the deadline."""
        return self.at - time.monotonic()

    def remaining_to_store(self) -> float:
        """Return the seconds that are left for S3: until shortly before the function's timeout.

        An answer, or the fault that S3 was too slow, then takes what is left.
        """
        reserve = _reserve(self.seconds)
        return self.at + reserve - min(reserve / 2, 1.0) - time.monotonic()

    def batches(self, items: Sequence[T], size: int) -> Iterator[tuple[int, Sequence[T]]]:
        """Yield slices of at most ``size`` items with the position of their first one, while there is time.

        ::

            for start, batch in deadline.batches(request.data, 32):
                for index, label in enumerate(self.model.classify(batch), start):
                    yield Prediction({"index": index, "label": label})

        Raises:
            OutOfTime: before a slice that there is no time left for.

        """
        for start in range(0, len(items), size):
            self.check(start, len(items))
            yield start, items[start : start + size]

    def check(self, done: int, total: int) -> None:
        """Raise OutOfTime when no time is left; its message says how many of the items were done."""
        if self.remaining() <= 0:
            raise OutOfTime(
                f"{done} of {total} items were done when the time ran out ({self.seconds:.0f} s were left at "
                "the start); send fewer items in one request, or raise the function's timeout or memory"
            )


def _reserve(seconds: float) -> float:
    """Return what is left of an invocation's time for storing or answering."""
    return min(max(seconds * Deadline.RESERVE, 1.0), 10.0)


def process_age() -> float:
    """Return the seconds since this process was started; 0 where the system does not tell."""
    try:
        with open("/proc/self/stat", encoding="ascii", errors="replace") as file:  # noqa: PTH123 - fewer imports
            ticks = int(file.read().rpartition(")")[2].split()[19])  # since the machine was booted
        return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (AttributeError, IndexError, OSError, ValueError):
        return 0.0
