"""What functions are asked, and what S3 and the end of a process make of it."""

import re
import threading
from typing import Any

from hypothesis import strategies as st
from support import proxy as faults
from support.proxy import Gate

from soak.campaign.world import CANARY

S3_FAULTS = {
    "503": faults.refused(503, "SlowDown"),
    "500": faults.refused(500, "InternalError"),
    "403": faults.refused(403, "AccessDenied"),
    "404": faults.refused(404, "NoSuchKey"),
    "409": faults.refused(409, "ConditionalRequestConflict"),
    "expired": faults.refused(400, "ExpiredToken"),
    "skewed": faults.refused(403, "RequestTimeTooSkewed"),
    "lost": faults.lost,
    "reset": faults.reset,
    "truncated": faults.truncated,
    "shortened": faults.shortened,
    "flipped": faults.flipped,
}
PLACES = {
    "anywhere": "",
    "channel": "/channels/",
    "manifest": "/manifest.json",
    "file": "/word.txt",
    "look-up": "HEAD /results/",
    "arrays": re.compile(r"PUT .*\.npz"),
    "commit": re.compile(r"PUT .*predictions\.jsonl"),
    "corpus": "/results/inputs/",
}
TEXTS = [f"{CANARY} {number}" for number in range(4)] + [f"{CANARY}?", f"{CANARY}!", ""]
FAULT = st.none() | st.tuples(
    st.sampled_from(sorted(S3_FAULTS)),
    st.sampled_from(sorted(PLACES)),
    st.sampled_from([1, 2, 1000]),
)
EVENT = st.fixed_dictionaries(
    {"data": st.lists(st.sampled_from(TEXTS), min_size=1, max_size=3)},
    optional={
        "marks": st.sampled_from([True, True, False]),
        "result": st.sampled_from(["s3", "s3", "inline", "auto"]),
        "id": st.sampled_from(["one", "two", "three"]),
        "errors": st.just("raise"),
        "warmup": st.just(True),
    },
)
BAD = st.fixed_dictionaries(
    {},
    optional={
        "data": st.sampled_from([CANARY, [CANARY, 5], [], None, {"x": CANARY}, [[CANARY]]]),
        "result": st.sampled_from([CANARY, None, 5]),
        "id": st.sampled_from([f"{CANARY} !", "", 5]),
        "errors": st.sampled_from(["raise", CANARY]),
        "model_version": st.sampled_from([CANARY, "0" * 64]),
        "source": st.sampled_from([CANARY, {"key": CANARY, "start": 0, "end": 1}, {"key": "inputs/x"}]),
        "warmup": st.sampled_from([CANARY, 1]),
    },
)


class FirstGate(Gate):
    """A gate that holds the first request back, and no other one.

    Attributes:
        fault: what becomes of that request once the gate is opened, if anything.

    """

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self.fault: faults.Fault | None = None

    def __call__(self, ask: Any) -> Any:
        """Hold a request back, if it is the first."""
        with self._lock:
            first = not self.reached.is_set()
            self.reached.set()
        if first:
            self.opened.wait()
            if self.fault is not None:
                return self.fault(ask)
        return ask()


class Death:
    """The end of a process at one of its requests: whatever it asks afterwards does not reach S3."""

    def __init__(self, number: int, *, done: bool) -> None:
        self._lock = threading.Lock()
        self._left = number
        self._done = done

    def __call__(self, ask: Any) -> Any:
        """Answer what comes before; of the last request, perhaps do what it asks."""
        with self._lock:
            self._left -= 1
            left = self._left
        if left > 0 or (left == 0 and self._done):
            answer = ask()
        return answer if left > 0 else S3_FAULTS["503"](ask)
