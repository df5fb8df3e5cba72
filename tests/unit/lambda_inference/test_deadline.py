"""How much of an invocation's time a prediction may take."""

import time

import pytest

from lambda_inference._deadline import Deadline
from lambda_inference._errors import OutOfTime


@pytest.fixture(autouse=True)
def _standing_clock(monkeypatch):
    monkeypatch.setattr(time, "monotonic", lambda: 0.0)


@pytest.mark.parametrize(
    ("seconds", "predict", "store"), [(2, 1, 1.5), (60, 54, 59), (100, 90, 99), (900, 890, 899)]
)
def test_some_time_is_kept_for_the_answer(seconds, predict, store):
    """A tenth, at least one second and at most ten; of it, up to a second is not for S3 either."""
    deadline = Deadline.after(seconds)
    assert deadline.remaining() == predict
    assert deadline.remaining_to_store() == store


def test_slices_come_while_there_is_time():
    """The error says how many items were done, and how much time there was."""
    assert list(Deadline.after(60).batches("abcde", 2)) == [(0, "ab"), (2, "cd"), (4, "e")]
    with pytest.raises(OutOfTime, match=r"0 of 5 items were done when the time ran out \(60 s were left"):
        next(Deadline(0, 60).batches("abcde", 2))
