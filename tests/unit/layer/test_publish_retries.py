"""A version that was just published is not there at once: what is asked again, and for how long."""

from types import SimpleNamespace

import pytest
from botocore.exceptions import ClientError

from layer.builder.publish import execute


@pytest.fixture
def send(monkeypatch):
    """Return a function that makes a call whose answers are these, and the seconds that it waited."""
    clock = SimpleNamespace(now=0.0)

    def sleep(seconds):
        clock.now += seconds

    monkeypatch.setattr(execute, "time", SimpleNamespace(monotonic=lambda: clock.now, sleep=sleep))

    def send(answers, patience=0, accepted=()):
        statuses = iter(answers)

        def method(**arguments):
            assert arguments == {"Name": "mine"}
            if (status := next(statuses)) == 200:
                return "the answer"
            raise ClientError({"Error": {}, "ResponseMetadata": {"HTTPStatusCode": status}}, "GetLayer")

        call = SimpleNamespace(patience=patience, accepted=accepted)
        return execute._send(call, method, {"Name": "mine"}), clock.now

    return send


def test_what_is_not_there_yet(send):
    """It is asked for again, once a second."""
    assert send([404, 404, 200], patience=2) == ("the answer", 2)


def test_what_is_never_there(send):
    """The error is raised when the time is over; without any, at once."""
    for answers, patience in ([404, 404, 404], 2), ([404], 0):
        with pytest.raises(ClientError):
            send(answers, patience)


def test_other_errors(send):
    """They are raised at once, or are an answer where the call takes them as one."""
    with pytest.raises(ClientError):
        send([403], patience=9)
    answer, waited = send([404], patience=9, accepted={404})
    assert (answer["ResponseMetadata"]["HTTPStatusCode"], waited) == (404, 0)
