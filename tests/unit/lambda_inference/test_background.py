"""Work in a thread: its result, its fault, and its end."""

import pytest

from lambda_inference._background import BackgroundTask
from lambda_inference._errors import Unavailable


def test_a_result_is_the_functions():
    """So is what it raises."""
    assert BackgroundTask(lambda _: 5).result(60) == 5
    with pytest.raises(ZeroDivisionError):
        BackgroundTask(lambda _: 1 // 0).result(60)


def test_what_nobody_waits_for_is_stopped():
    """A task that was not done in time is told so, and ends."""
    task = BackgroundTask(lambda stop: stop.wait())
    with pytest.raises(Unavailable, match="in the time there was"):
        task.result(0)
    assert task.wait(5)
