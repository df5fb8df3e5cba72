"""The system that the campaign attacks, and what it remembers of its history."""

import itertools
import json
import re
import shutil
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from support.operators import Operator
from support.proxy import Gate, Proxy
from support.words import ENGINE, describe_word

from lambda_setup.deployment.local.s3 import S3Server
from lambda_setup.models import channels, moves
from lambda_setup.models.bucket import ModelBucket
from lambda_setup.models.describe import PublishedManifest
from lambda_setup.models.upload import upload
from soak.campaign.shout import Answer, Function, predict

MODELS, RESULTS = "models", "results"
CHANNELS = channels.CHANNELS
CANARY = "xylophonquarz"
"""Part of every text that a request holds: no log may have it."""
REFRESH = 60

_numbers = itertools.count(1)


@dataclass
class Command:
    """A command of an operator, from its first request to its end.

    Attributes:
        by: the identity that the channel's history has of it, different for each command.
        outcome: ``running``, ``done``, ``refused`` (it says that nothing was changed), or ``unknown``.
        begun: the number of the event with which it began.
        ended: that with which it ended.

    """

    kind: str
    channel: str
    by: str
    begun: int
    version: str = ""
    ended: int | None = None
    outcome: str = "running"
    error: BaseException | None = None
    result: Any = None
    uncertain: bool = False  # a request was done whose answer did not come, or it may have moved the channel


@dataclass
class Held:
    """An invocation that waits for S3."""

    gate: Gate
    context: Any
    thread: threading.Thread
    event: dict[str, Any]
    function: "Environment"
    answers: list[Answer]
    request_id: str


@dataclass
class Environment:
    """A function's environment, and what is known of it."""

    channel: str
    function: Function
    refresh: float


_clients: dict[str, tuple[Any, list[Operator]]] = {}


def _open_clients(s3: S3Server) -> tuple[Any, list[Operator]]:
    """Return clients that outlive a walk: to make one takes as long as many steps."""
    if s3.endpoint not in _clients:
        _clients[s3.endpoint] = s3.client(), [Operator(s3, name) for name in ("ada", "bob")]
    return _clients[s3.endpoint]


class World:
    """One model in a real S3, two operators, three environments of its function."""

    def __init__(self, s3: S3Server, proxy: Proxy) -> None:
        self.s3, self.proxy = s3, proxy
        self.client, self.operators = _open_clients(s3)
        self.number = next(_numbers)
        self.name = f"m{self.number}"
        self.prefix = f"w{self.number}"  # of every id, so that results of other walks are not looked at
        self.folder = Path(tempfile.mkdtemp(prefix="campaign-"))
        self.now = 0  # the number of the event
        self.words: dict[str, str] = {}  # of versions
        self.pointers: dict[str, channels.Pointer | None] = dict.fromkeys(CHANNELS)
        self.changed = False  # operators have done something since the last check
        self.states: dict[str, list[tuple[int, str | None]]] = {channel: [(0, None)] for channel in CHANNELS}
        self.commands: list[Command] = []
        self.running: dict[str, Command] = {}
        self.skew = {operator.name: timedelta() for operator in self.operators}
        self.results: dict[str, dict[str, Any]] = {}  # by id: the event that made it, its answer, its bytes
        self.held: Held | None = None
        self.hangs = False  # S3 may still hang once
        self.sent: list[tuple[dict[str, Any], str]] = []  # events, and their request ids
        self.counts = {"walks": 1, "steps": 0, "checks": 0}
        self.injected: list[str] = []  # faults
        environments = [("dev", 0.0), ("prod", 0.0), ("dev", float(REFRESH))]
        self.environments = [
            Environment(channel, Function(self.settings(channel, refresh)), refresh)
            for channel, refresh in environments
        ]

    def settings(self, channel: str, refresh: float) -> dict[str, Any]:
        """Return a function's settings, as the template gives them."""
        return {
            "engine": ENGINE,
            "model_bucket": MODELS,
            "model_name": self.name,
            "model_channel": channel,
            "model_refresh_seconds": refresh,
            "result_bucket": RESULTS,
        }

    def close(self) -> None:
        """Remove what is on this machine, and end what operators do; the server goes with all else."""
        for operator in self.operators:
            while operator.waiting is not None:
                operator.step("killed before")
        shutil.rmtree(self.folder, ignore_errors=True)

    def count(self) -> dict[str, int]:
        """Return how much of everything happened."""
        return {
            **self.counts,
            "commands": len(self.commands),
            "invocations": sum(one.function.invocations for one in self.environments),
            "faults": len(self.injected),
            **Counter(f"fault: {name}" for name in self.injected),
        }

    # What operators do.

    def describe(self, word: str, operator: Operator) -> tuple[Path, PublishedManifest]:
        """Return a model's folder and its manifest, published on the operator's clock."""
        folder = self.folder / word
        smoke = ({"data": ["smoke"]}, [predict(0, "smoke", word, marks=False).record])
        created = datetime.now(UTC) + self.skew[operator.name]
        manifest = describe_word(folder, self.name, word, created=created, smoke=smoke)
        self.words[manifest.version] = word
        return folder, manifest

    def bucket(self, operator: Operator, by: str) -> ModelBucket:
        """Return the model bucket as an operator sees it."""
        return ModelBucket(operator.client, MODELS, identify=lambda: by)

    def begin(
        self, operator: Operator, kind: str, channel: str, act: Callable[[str], Any], version: str = ""
    ) -> None:
        """Begin a command up to its first request; ``act`` gets its identity."""
        by = f"{operator.name}-{self.now}"
        command = Command(kind, channel, by, self.now, version)
        self.commands.append(command)
        self.running[operator.name] = command
        operator.begin(lambda: act(by))
        self._note(operator)

    def publish(self, operator: Operator, word: str, channel: str) -> None:
        """Begin to publish the model that says a word."""
        folder, manifest = self.describe(word, operator)

        def act(by: str) -> Any:
            return upload(folder, manifest, operator.client, MODELS, channel, by=by)

        self.begin(operator, "publish", channel, act, manifest.version)

    def promote(self, operator: Operator) -> None:
        """Begin to promote dev's version."""

        def invoke(_: PublishedManifest, event: Any) -> Any:
            answer = Function(self.settings("dev", 0.0)).invoke(event, "promotion")
            return answer.response if answer.raised is None else json.loads(str(answer.raised))

        def act(by: str) -> Any:
            return moves.promote(self.bucket(operator, by), self.name, invoke)

        self.begin(operator, "promote", "prod", act)

    def rollback(self, operator: Operator, channel: str) -> None:
        """Begin to roll a channel back."""
        self.begin(
            operator,
            "rollback",
            channel,
            lambda by: moves.rollback(self.bucket(operator, by), self.name, channel),
        )

    def prune(self, operator: Operator, keep: int) -> None:
        """Begin to remove old versions."""

        def act(by: str) -> Any:
            bucket = self.bucket(operator, by)
            for version in bucket.unused_versions(self.name, keep):
                bucket.delete_unused(self.name, version)

        self.begin(operator, "prune", "", act)

    def step(self, operator: Operator, fault: str) -> None:
        """Let an operator's request pass, or fail."""
        command = self.running[operator.name]
        moves = "/channels/" in str(operator.waiting) and str(operator.waiting).startswith("PUT")
        command.uncertain |= fault in {"lost", "reset", "overdue", "killed after"} or (
            fault == "none" and moves
        )
        if fault != "none":
            self.injected.append(f"operator's {fault}")
        operator.step(fault)
        self.changed = True
        self.look()
        self._note(operator)

    def _note(self, operator: Operator) -> None:
        """Take note of the end of a command."""
        if operator.waiting is not None:
            return
        command = self.running.pop(operator.name)
        command.ended, command.error, command.result = self.now, operator.error, operator.result
        command.outcome = _classify(command)

    # What is there.

    def look(self) -> dict[str, channels.Pointer | None]:
        """Take note of the channels' pointers, which operators alone move, and return them."""
        self.pointers = {
            channel: channels.read(self.client, MODELS, self.name, channel) for channel in CHANNELS
        }
        for channel, pointer in self.pointers.items():
            version = pointer.version if pointer else None
            if self.states[channel][-1][1] != version:
                self.states[channel].append((self.now, version))
        return self.pointers

    def had(self, channel: str, version: str, since: int) -> bool:
        """Return whether a channel pointed to a version at some moment from an event on."""
        states = self.states[channel]
        follows = [*(number for number, _ in states[1:]), self.now + 1]
        return any(state == version and end >= since for (_, state), end in zip(states, follows, strict=True))

    def objects(self, version: str) -> set[str]:
        """Return the names of a version's objects."""
        prefix = f"models/{self.name}/versions/{version}/"
        found = self.client.list_objects_v2(Bucket=MODELS, Prefix=prefix)
        return {entry["Key"].removeprefix(prefix) for entry in found.get("Contents", [])}


def _classify(command: Command) -> str:
    from botocore.exceptions import ClientError

    from lambda_setup.errors import CommandError

    error = command.error
    if error is None:
        return "done"
    if isinstance(error, CommandError):
        # It says so if the channel has moved, or may have.
        return (
            "unknown" if re.search("has moved to|may have moved|again and again", str(error)) else "refused"
        )
    if isinstance(error, ClientError):
        code = error.response["Error"]["Code"]
        if code == "PreconditionFailed":
            return "refused"
        if code == "AccessDenied" and not command.uncertain:
            return "refused"
    return "unknown"
