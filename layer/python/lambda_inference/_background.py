"""Work in a thread, beside imports or with a limit on its time."""

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from lambda_inference._errors import Unavailable

T = TypeVar("T")


class BackgroundTask(Generic[T]):
    """A function that runs in a thread of its own, started at once.

    Lambda freezes the process between invocations, so whoever starts a task waits for it for as long as
    there is time, and stops it then.

    Args:
        function: takes an event that is set once the result is no longer wanted.

    Attributes:
        seconds: how long it took, once it has ended.

    """

    def __init__(self, function: Callable[[threading.Event], T]) -> None:
        self._function = function
        self._stop = threading.Event()
        self._results: list[T] = []
        self._error: BaseException | None = None
        self.seconds = 0.0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        start = time.perf_counter()
        try:
            self._results.append(self._function(self._stop))
        except BaseException as error:  # noqa: BLE001 - raised again by result()
            self._error = error
        self.seconds = time.perf_counter() - start

    def wait(self, seconds: float) -> bool:
        """Wait at most so many seconds and return whether the task has ended; if not, it goes on."""
        self._thread.join(max(seconds, 0))
        return not self._thread.is_alive()

    def result(self, seconds: float) -> T:
        """Wait at most so many seconds and return the result, which is handed out once.

        Raises:
            Unavailable: the task did not end in time, and is stopped. What the function raises is
                raised, too.

        """
        if not self.wait(seconds):
            self._stop.set()
            raise slow_storage()
        if self._error is not None:
            raise self._error
        return self._results.pop()


def slow_storage() -> Unavailable:
    """Return the fault of S3 that did not answer in time."""
    return Unavailable("S3 did not answer in the time there was; try again, or raise the timeout")
