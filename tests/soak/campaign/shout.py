"""A function that answers at once, in this process: its model is a word, which its answers repeat."""

import contextlib
import json
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from types import SimpleNamespace
from typing import Annotated, Any
from unittest import mock

from msgspec import Meta, structs
from support.words import FILE

from lambda_inference import (
    Array,
    BadRequest,
    BaseRequest,
    Deadline,
    Fault,
    Model,
    Prediction,
    _serving,
    _storage,
    _telemetry,
)
from lambda_inference._background import BackgroundTask
from lambda_inference._handler import Service
from lambda_inference._settings import Settings


class Request(BaseRequest):
    """A request to shout."""

    data: Annotated[list[str], Meta(min_length=1, max_length=5, description="1 to 5 strings")]
    marks: Annotated[bool, Meta(description="true or false")] = False


class Shout:
    """The predictor; a text that holds ``?`` is refused, and one that holds ``!`` is a bug."""

    Request = Request

    def load(self, model: Model) -> None:
        """Take the word."""
        _starve("load")
        self.word = bytes(model.files[FILE]).decode()

    def predict(self, request: Request, deadline: Deadline) -> Iterator[Prediction]:
        """Say each text with the word."""
        _starve("predict")
        for index, text in enumerate(request.data):
            deadline.check(index, len(request.data))
            if "?" in text:
                raise BadRequest(f"data[{index}] takes no question", field=f"data[{index}]")
            if "!" in text:
                raise KeyError(text)
            yield predict(index, text, self.word, marks=request.marks)


def predict(index: int, text: str, word: str, *, marks: bool) -> Prediction:
    """Return the only right answer."""
    arrays = {"marks": [Array(struct.pack("<2f", index, len(text)), "f", (2,))]} if marks else {}
    return Prediction({"index": index, "text": f"{text.upper()} {word}"}, arrays)


_own = threading.local()
"""What an invocation's threads see as its environment, its clock and its log: several wait at once."""


def _starve(place: str) -> None:
    if getattr(_own, "starved", "") == place:
        raise MemoryError


class _Clock:
    """What stands in the place of the module ``time``."""

    perf_counter = staticmethod(time.perf_counter)

    @staticmethod
    def time() -> float:
        return time.time() + getattr(_own, "offset", 0.0)


_read = Settings.read
_begin = BackgroundTask.__init__


def _begin_in_invocation(self: BackgroundTask[Any], function: Callable[[threading.Event], Any]) -> None:
    own = dict(vars(_own))

    def run(stop: threading.Event) -> Any:
        vars(_own).update(own)
        return function(stop)

    _begin(self, run)


def _read_settings() -> Settings:
    environment = getattr(_own, "environment", {})
    return structs.replace(_read(), **environment)


def _write_line(line: dict[str, Any]) -> None:
    getattr(_own, "lines", []).append(json.dumps(line, default=str))


@dataclass
class Answer:
    """An invocation's end.

    Attributes:
        response: what came back, None if a fault was raised.
        raised: the fault, whose message Lambda's runtime logs.
        seconds: how long it took.
        lines: what the function logged.

    """

    response: dict[str, Any] | None
    raised: Fault | None
    seconds: float
    lines: list[str] = field(default_factory=list)

    @property
    def status(self) -> int:
        """The status that its caller sees."""
        if self.raised is not None:
            return int(json.loads(str(self.raised))["statusCode"])
        assert self.response is not None
        return int(self.response.get("statusCode", 200))

    @property
    def body(self) -> dict[str, Any]:
        """The body, decoded."""
        response = json.loads(str(self.raised)) if self.raised is not None else self.response
        body = response["body"]
        return json.loads(body) if isinstance(body, str) else body


class Function:
    """One environment of a function: a process that Lambda starts, freezes and ends.

    Attributes:
        settings: fields of its Settings.
        offset: seconds by which its wall clock is wrong.
        starved: ``load`` or ``predict``, where its memory is at its limit.
        invocations: how many events it was sent.
        refused: the versions that this process could not load.

    """

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings
        self.offset = 0.0
        self.starved = ""
        self.invocations = 0
        self.restart()

    def restart(self) -> None:
        """End the process and start another."""
        self.refused: set[str] = set()
        self._service = Service(Shout)

    def invoke(self, event: Any, request_id: str, seconds: float = 20.0) -> Answer:
        """Send an event."""
        self.invocations += 1
        lines: list[str] = []
        context = SimpleNamespace(
            get_remaining_time_in_millis=lambda: int(seconds * 1000), aws_request_id=request_id
        )
        before = dict(vars(_own))
        vars(_own).update(environment=self.settings, offset=self.offset, starved=self.starved, lines=lines)
        start, response, raised = time.monotonic(), None, None
        try:
            response = self._service.handle(json.loads(json.dumps(event)), context)
        except Fault as fault:
            raised = fault
        finally:
            taken = time.monotonic() - start
            vars(_own).clear()
            vars(_own).update(before)
        self.refused |= {one["refused"] for one in map(json.loads, lines) if "refused" in one}
        if response is not None:
            response = json.loads(json.dumps(response))
        return Answer(response, raised, taken, lines)


@contextlib.contextmanager
def install_s3(environment: dict[str, str]) -> Iterator[None]:
    """Let functions of this process find an S3, and each its own settings, clock and log."""
    backoff = {"init_backoff": timedelta(milliseconds=1), "max_backoff": timedelta(milliseconds=4), "base": 2}
    with (
        mock.patch.object(_storage, "_RETRIES", {**_storage._RETRIES, "backoff": backoff}),
        mock.patch.object(_storage, "_CONFLICT_PAUSES", (0, 0, 0)),
        mock.patch.object(Settings, "read", _read_settings),
        mock.patch.object(BackgroundTask, "__init__", _begin_in_invocation),
        mock.patch.object(_serving, "time", _Clock),
        mock.patch.object(_telemetry, "_write", _write_line),
        mock.patch.dict("os.environ", environment),
    ):
        yield
