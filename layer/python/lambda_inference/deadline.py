"""How much of an invocation's time is left."""

import time
from dataclasses import dataclass

from lambda_inference.errors import OutOfTime


@dataclass(frozen=True)
class Deadline:
    """The moment after which a prediction must not go on.

    It lies before the function's own timeout by ``RESERVE`` of the time there was, between
    one second and ten, so that results can still be stored or an error be answered.

    Attributes:
        at: seconds on the monotonic clock.
        seconds: what the whole invocation was granted.

    """

    at: float
    seconds: float

    RESERVE = 0.1

    @classmethod
    def after(cls, seconds: float) -> "Deadline":
        """Return the deadline of an invocation that Lambda ends in so many seconds."""
        reserve = min(max(seconds * cls.RESERVE, 1.0), 10.0)
        return cls(time.monotonic() + seconds - reserve, seconds)

    def remaining(self) -> float:
        """Return the seconds that are left, below zero when there are none."""
        return self.at - time.monotonic()

    def check(self, done: int, total: int) -> None:
        """Raise OutOfTime, saying how far it came, when no time is left."""
        if self.remaining() <= 0:
            raise OutOfTime(
                f"{done} of {total} items were done when the time ran out ({self.seconds:.0f} s were left at "
                "the start); send fewer items in one request, or raise the function's timeout or memory"
            )
