"""The random walk: what may happen next, and what has to hold afterwards."""

import contextlib
import json
import re
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from support.operators import FAULTS, Operator
from support.proxy import Gate

from soak.campaign import promises
from soak.campaign.corpora import run_batch
from soak.campaign.events import BAD, EVENT, FAULT, PLACES, S3_FAULTS, TEXTS, Death, FirstGate
from soak.campaign.shout import Answer
from soak.campaign.world import CANARY, CHANNELS, REFRESH, Environment, Held, World

SECONDS = 20.0
HANG_SECONDS = 3.0
WORDS = ("amber", "beryl", "coral", "doryx")
MOVE = st.sampled_from(["publish", "publish", "promote", "roll back"])
MOVES = re.compile("PUT .*/channels/")
JUMPS = [-86_400 * 400, -700, -61, 61, 700, 86_400 * 400]
"""Seconds."""


class Walk(RuleBasedStateMachine):
    """Operators, functions and S3, in any order."""

    s3: Any = None
    proxy: Any = None
    totals: Any = None

    def __init__(self) -> None:
        super().__init__()
        self.world = World(self.s3, self.proxy)

    def teardown(self) -> None:
        """Let everything end, look once more, and see the system recover."""
        world = self.world
        try:
            if world.held:
                self._release()
            for operator in world.operators:
                while operator.waiting is not None:
                    world.step(operator, "none")
            world.now += 1
            promises.check_channels(world)
            promises.check_commands(world)
            self._recover()
            promises.check_commits(world)
            promises.check_results(world)
        finally:
            self.totals.update(world.count())
            world.close()

    def _recover(self) -> None:
        """Publish once more, and see every environment follow."""
        world, [operator, _] = self.world, self.world.operators
        world.publish(operator, "end", "dev")
        while operator.waiting is not None:
            world.step(operator, "none")
        assert operator.error is None, f"[available] nothing can be published: {operator.error!r}"
        for environment in world.environments:
            if environment.channel == "dev":
                self._see_it_follow(environment, 21 * REFRESH + 1)

    def _see_it_follow(self, environment: Environment, seconds: int) -> None:
        """See a function look at its channel after a while.

        Where its clock was set back by about as long, it looks a while later; and where it has refused the
        version, too.
        """
        pointer = self.world.pointers[environment.channel]
        for _ in range(3):
            environment.function.offset += seconds
            answer = self._invoke(environment, {"data": ["now"], "result": "inline"})
            if pointer and answer.body["model"]["version"] == pointer.version:
                break
        promises.check_fresh(self.world, environment, answer.body)

    @initialize(
        channels=st.sampled_from([CHANNELS, CHANNELS, CHANNELS, ("dev",), ()]),
        word=st.sampled_from(WORDS),
        hangs=st.sampled_from([False, False, False, True]),
    )
    def begin(self, channels: tuple[str, ...], word: str, *, hangs: bool) -> None:
        """Begin with a published model, mostly; and in one walk of four, S3 may hang."""
        world, [operator, _] = self.world, self.world.operators
        world.hangs = hangs
        for channel in channels:
            world.now += 1
            world.publish(operator, word, channel)
            while operator.waiting is not None:
                world.step(operator, "none")

    # Operators.

    def _free(self) -> list[Operator]:
        return [one for one in self.world.operators if one.waiting is None]

    def _busy(self) -> list[Operator]:
        return [one for one in self.world.operators if one.waiting is not None]

    def _begin(self, data: st.DataObject) -> Operator:
        self.world.now += 1
        return data.draw(st.sampled_from(self._free()), label="operator")

    @precondition(lambda self: self._free())
    @rule(data=st.data(), word=st.sampled_from(WORDS), channel=st.sampled_from(["dev", "dev", "prod"]))
    def publish(self, data: st.DataObject, word: str, channel: str) -> None:
        """Begin to publish."""
        self.world.publish(self._begin(data), word, channel)

    @precondition(lambda self: self._free())
    @rule(data=st.data())
    def promote(self, data: st.DataObject) -> None:
        """Begin to promote."""
        self.world.promote(self._begin(data))

    @precondition(lambda self: self._free())
    @rule(data=st.data(), channel=st.sampled_from(CHANNELS))
    def roll_back(self, data: st.DataObject, channel: str) -> None:
        """Begin to roll back."""
        self.world.rollback(self._begin(data), channel)

    @precondition(lambda self: self._free())
    @rule(data=st.data(), keep=st.integers(1, 2))
    def prune(self, data: st.DataObject, keep: int) -> None:
        """Begin to prune."""
        self.world.prune(self._begin(data), keep)

    @precondition(lambda self: self._busy())
    @rule(data=st.data(), fault=st.just("none") | st.sampled_from(sorted(FAULTS)), times=st.integers(1, 3))
    def let_pass(self, data: st.DataObject, fault: str, times: int) -> None:
        """Let a command's request pass, or fail, and perhaps the next ones, too."""
        operator = data.draw(st.sampled_from(self._busy()), label="operator")
        for _ in range(times):
            if operator.waiting is not None:
                self.world.now += 1
                self.world.step(operator, fault)

    @precondition(lambda self: self._busy())
    @rule(data=st.data())
    def let_end(self, data: st.DataObject) -> None:
        """Let a command run to its end."""
        operator = data.draw(st.sampled_from(self._busy()), label="operator")
        while operator.waiting is not None:
            self.world.now += 1
            self.world.step(operator, "none")

    @precondition(lambda self: self._free() == self.world.operators)
    @rule(
        kinds=st.tuples(MOVE, MOVE),
        words=st.permutations(WORDS),
        channel=st.sampled_from(CHANNELS),
        fault=st.just("none") | st.sampled_from(sorted(FAULTS)),
    )
    def overtake(self, kinds: tuple[str, str], words: list[str], channel: str, fault: str) -> None:
        """Let a command begin and end while another one, which has read the channel, is about to move it."""
        slow, fast = self.world.operators
        self._move(slow, kinds[0], words[0], channel)
        while slow.waiting is not None and not MOVES.search(slow.waiting):
            self._step(slow, "none")
        self._move(fast, kinds[1], words[1], channel)
        while fast.waiting is not None:
            self._step(fast, "none")
        if slow.waiting is not None:
            self._step(slow, fault)

    def _move(self, operator: Operator, kind: str, word: str, channel: str) -> None:
        self.world.now += 1
        if kind == "publish":
            self.world.publish(operator, word, channel)
        elif kind == "promote":
            self.world.promote(operator)
        else:
            self.world.rollback(operator, channel)

    def _step(self, operator: Operator, fault: str) -> None:
        self.world.now += 1
        self.world.step(operator, fault)

    @rule(data=st.data(), days=st.sampled_from([-400, -1, 0, 1, 400]))
    def set_operators_clock(self, data: st.DataObject, days: int) -> None:
        """Let an operator's clock jump."""
        operator = data.draw(st.sampled_from(self.world.operators), label="operator")
        self.world.injected.append("clock")
        self.world.skew[operator.name] = timedelta(days=days)

    # Functions.

    def _free_environment(self, number: int) -> Environment:
        """Return an environment that answers nothing now: Lambda gives each one event at a time."""
        environments, held = self.world.environments, self.world.held
        busy = held is not None and held.function is environments[number]
        return environments[(number + busy) % len(environments)]

    def _invoke(
        self,
        environment: Environment,
        event: dict[str, Any],
        fault: Any = None,
        *,
        starved: str = "",
        slow: bool = False,
        seconds: float = SECONDS,
        first_id: str = "",
    ) -> Answer:
        """Ask a function directly; ``first_id`` is the request id of the same event, sent before."""
        world = self.world
        world.now += 1
        request_id = first_id or f"{world.prefix}-r{world.now}"
        world.sent.append((event, request_id))
        environment.function.starved = starved
        with self._failing(fault):
            answer = environment.function.invoke(self._name_in_world(event), request_id, seconds)
        environment.function.starved = ""
        if starved == "predict" and answer.status == 500:
            promises.check_secrecy(world, answer)
        else:
            self._check(environment, event, answer, faulty=bool(fault or starved or slow), seconds=seconds)
            pointer = world.pointers[environment.channel]
            follows = pointer and environment.refresh == 0
            may_be_older = fault or starved or slow or first_id or "id" in event or event.get("warmup")
            if answer.status == 200 and follows and not may_be_older:
                promises.check_fresh(world, environment, answer.body)
        return answer

    @contextlib.contextmanager
    def _failing(self, fault: Any) -> Iterator[None]:
        if fault is None:
            yield
            return
        name, place, times = fault

        def fail(ask: Any) -> Any:
            self.world.injected.append(name)
            return S3_FAULTS[name](ask)

        with self.world.proxy.failing(fail, on=PLACES[place], first=times):
            yield

    def _name_in_world(self, event: dict[str, Any]) -> dict[str, Any]:
        """Return an event whose id is of this world."""
        if isinstance(event.get("id"), str) and event["id"].isalpha():
            return event | {"id": f"{self.world.prefix}-{event['id']}"}
        return event

    def _check(
        self,
        environment: Environment,
        event: dict[str, Any],
        answer: Answer,
        *,
        faulty: bool,
        seconds: float = SECONDS,
    ) -> None:
        promises.check_answer(
            self.world, environment, self._name_in_world(event), answer, seconds, faulty=faulty
        )

    @rule(number=st.integers(0, 2), event=EVENT, fault=FAULT, again=st.booleans())
    def invoke(self, number: int, event: dict[str, Any], fault: Any, *, again: bool) -> None:
        """Ask a function directly, and perhaps once more, as Lambda does."""
        environment = self._free_environment(number)
        self._invoke(environment, event, fault)
        if again:
            self._invoke(environment, event, first_id=self.world.sent[-1][1])

    @precondition(lambda self: self.world.sent)
    @rule(data=st.data(), number=st.integers(0, 2), fault=FAULT)
    def repeat(self, data: st.DataObject, number: int, fault: Any) -> None:
        """Send an earlier event once more, to any function, also while the first one still writes."""
        event, first_id = data.draw(st.sampled_from(self.world.sent), label="sent")
        self._invoke(self._free_environment(number), event, fault, first_id=first_id)

    @rule(number=st.integers(0, 2), event=EVENT, place=st.sampled_from(["load", "predict"]))
    def invoke_without_memory(self, number: int, event: dict[str, Any], place: str) -> None:
        """Ask a function whose memory is at its limit."""
        self.world.injected.append(f"no memory to {place}")
        self._invoke(self._free_environment(number), event, starved=place)

    @precondition(lambda self: self.world.hangs)
    @rule(number=st.integers(0, 2), event=EVENT, place=st.sampled_from(sorted(PLACES)))
    def invoke_while_s3_hangs(self, number: int, event: dict[str, Any], place: str) -> None:
        """Ask a function while S3 takes requests and never answers; once in a walk, for it takes seconds."""
        world, gate = self.world, Gate()
        world.hangs = False
        world.injected.append("hanging")
        with world.proxy.failing(gate, on=PLACES[place]):
            self._invoke(self._free_environment(number), event, slow=True, seconds=HANG_SECONDS)
        gate.opened.set()

    @rule(number=st.integers(0, 2), event=EVENT, fault=FAULT)
    def invoke_over_http(self, number: int, event: dict[str, Any], fault: Any) -> None:
        """Ask a function over HTTP."""
        body = json.dumps(self._name_in_world(event))
        world, environment = self.world, self._free_environment(number)
        world.now += 1
        http = {"requestContext": {"http": {"method": "POST"}}, "body": body, "isBase64Encoded": False}
        with self._failing(fault):
            answer = environment.function.invoke(http, f"{world.prefix}-r{world.now}", SECONDS)
        assert answer.raised is None, "[named-faults] over HTTP every fault is an answer"
        promises.check_answer(world, environment, http, answer, SECONDS, faulty=fault is not None)

    @rule(number=st.integers(0, 2), event=BAD | EVENT.map(lambda one: one | {CANARY: 1}))
    def invoke_badly(self, number: int, event: dict[str, Any]) -> None:
        """Ask a function what it cannot answer."""
        world, environment = self.world, self._free_environment(number)
        world.now += 1
        answer = environment.function.invoke(event, f"{world.prefix}-r{world.now}", SECONDS)
        promises.check_secrecy(world, Answer(answer.response, None, answer.seconds, answer.lines))
        said = json.dumps(answer.body).lower()
        assert answer.status in {200, 400, 503}, f"[named-faults] {answer}"
        assert CANARY not in said or "a field of a request" in said, f"[silent-logs] {said}"

    @rule(
        number=st.integers(0, 2),
        messages=st.lists(EVENT, min_size=1, max_size=3),
        again=st.booleans(),
        fault=FAULT,
    )
    def deliver(self, number: int, messages: list[dict[str, Any]], again: bool, fault: Any) -> None:
        """Let a queue deliver messages, and once more those that came back; or all."""
        world, environment = self.world, self._free_environment(number)
        world.now += 1
        names = {f"{world.prefix}-q{world.now}-{place}": one for place, one in enumerate(messages)}
        for name, one in names.items():
            one.pop("id", None)
            one["result"] = "s3"
            names[name] = one
        left = dict(names)
        for attempt in range(3):
            event = {
                "Records": [
                    {"eventSource": "aws:sqs", "messageId": name, "body": json.dumps(one)}
                    for name, one in left.items()
                ]
            }
            with self._failing(fault if attempt == 0 else None):
                answer = environment.function.invoke(event, f"{world.prefix}-r{world.now}-{attempt}", SECONDS)
            promises.check_secrecy(world, answer)
            assert answer.raised is None
            assert answer.response is not None
            failed = {one["itemIdentifier"] for one in answer.response["batchItemFailures"]}
            assert failed <= left.keys(), "[no-lost-item] a message that nobody sent has failed"
            promises.check_messages(world, {name: one for name, one in left.items() if name not in failed})
            if attempt and world.pointers[environment.channel]:
                valid = {name for name, one in left.items() if not set("?!") & set("".join(one["data"]))}
                assert not failed & valid, f"[no-lost-item] {answer.lines}"
            left = left if again else {name: left[name] for name in failed}
            if not left:
                break

    @precondition(lambda self: self.world.held is None)
    @rule(
        number=st.integers(0, 2),
        event=EVENT,
        place=st.sampled_from(sorted(PLACES)),
    )
    def hold(self, number: int, event: dict[str, Any], place: str) -> None:
        """Let an invocation wait for S3."""
        world, environment, gate, answers = self.world, self.world.environments[number], FirstGate(), []
        world.now += 1
        request_id = f"{world.prefix}-r{world.now}"
        world.sent.append((event, request_id))
        world.injected.append("frozen")
        context = world.proxy.failing(gate, on=PLACES[place])
        context.__enter__()
        own = self._name_in_world(event)

        def run() -> None:
            answers.append(environment.function.invoke(own, request_id, SECONDS))
            gate.reached.set()

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        assert gate.reached.wait(60)
        world.held = Held(gate, context, thread, event, environment, answers, request_id)
        if answers:
            self._release()

    def _let_go(self) -> Held:
        """Open the gate, and return the invocation that waited, which has ended."""
        world, held = self.world, self.world.held
        assert held is not None
        world.held = None
        held.gate.opened.set()
        held.thread.join(60)
        held.context.__exit__(None, None, None)
        assert held.answers, "[deadline] the invocation did not end"
        return held

    def _release(self) -> None:
        held = self._let_go()
        self._check(held.function, held.event, held.answers[0], faulty=True)

    @precondition(lambda self: self.world.held is not None)
    @rule()
    def release(self) -> None:
        """Let the invocation that waits go on."""
        self.world.now += 1
        self._release()

    @precondition(lambda self: self.world.held is not None)
    @rule(done=st.booleans())
    def kill(self, *, done: bool) -> None:
        """End the process of the invocation that waits, before or after S3 does what it was asked.

        Lambda sends its event to another one.
        """
        world, held = self.world, self.world.held
        assert held is not None
        world.now += 1
        world.injected.append("killed")
        held.gate.fault = S3_FAULTS["lost" if done else "503"]
        with world.proxy.failing(S3_FAULTS["503"]):  # a dead process asks nothing more
            self._let_go()
        promises.check_secrecy(world, held.answers[0])
        held.function.function.restart()
        self._invoke(held.function, held.event, first_id=held.request_id)

    @rule(number=st.integers(0, 2), event=EVENT, request=st.integers(1, 6), done=st.booleans())
    def kill_at_a_request(self, number: int, event: dict[str, Any], request: int, *, done: bool) -> None:
        """End an invocation's process at any of its requests, look, and send its event to another one."""
        world, environment = self.world, self._free_environment(number)
        world.now += 1
        world.injected.append("killed")
        first_id = f"{world.prefix}-r{world.now}"
        with world.proxy.failing(Death(request, done=done)):
            answer = environment.function.invoke(self._name_in_world(event), first_id, SECONDS)
        promises.check_secrecy(world, answer)
        promises.check_commits(world)
        environment.function.restart()
        self._invoke(environment, event, first_id=first_id)

    @rule(
        number=st.integers(0, 2),
        lines=st.lists(st.sampled_from(TEXTS), min_size=1, max_size=6),
        most=st.integers(1, 4),
        fault=FAULT,
    )
    def run_a_batch(self, number: int, lines: list[str], most: int, fault: Any) -> None:
        """Answer a corpus in shards, as the state machine does."""
        world, environment = self.world, self._free_environment(number)
        if world.pointers[environment.channel] is None:
            return
        world.now += 1
        errors = {"Unavailable", "Refused"} if fault else set()
        if fault and fault[0] in {"403", "404", "shortened", "flipped"}:
            errors.add("BadRequest")  # the pinned version or the corpus is missing or damaged, if S3 says so
        run_batch(world, environment, lines, most, lambda: self._failing(fault), frozenset(errors))

    @precondition(lambda self: self.world.held is None)
    @rule(number=st.integers(0, 2))
    def restart(self, number: int) -> None:
        """End a function's process; Lambda starts another."""
        environment = self.world.environments[number]
        environment.function.restart()

    @rule(
        number=st.integers(0, 2),
        damage=st.sampled_from(["flipped", "flipped", "shortened", "truncated"]),
        place=st.sampled_from(["channel", "manifest", "file", "file"]),
        times=st.sampled_from([1, 1000]),
    )
    def start_on_damaged_bytes(self, number: int, damage: str, place: str, times: int) -> None:
        """Start a process that reads a model whose bytes are damaged on their way, once or always."""
        environment = self._free_environment(number)
        environment.function.restart()
        event = {"data": TEXTS[:2], "result": "inline"}
        self._invoke(environment, event, (damage, place, times))

    @rule(number=st.integers(0, 2), seconds=st.sampled_from(JUMPS))
    def set_functions_clock(self, number: int, seconds: int) -> None:
        """Let a function's clock jump, as if it had been frozen for as long."""
        self.world.injected.append("clock")
        self.world.environments[number].function.offset += seconds

    @precondition(lambda self: self.world.held is None)
    @rule()
    def follow(self) -> None:
        """See the function that looks once a minute look a minute later, whichever way its clock jumped."""
        world, environment = self.world, self.world.environments[2]
        pointer = world.pointers[environment.channel]
        if pointer and pointer.version not in environment.function.refused:
            self._see_it_follow(environment, 2 * REFRESH + 1)

    @invariant()
    def channels_are_whole(self) -> None:
        """After every step."""
        self.world.counts["steps"] += 1
        promises.check_commits(self.world)
        if self.world.changed:
            self.world.changed = False
            promises.check_channels(self.world)
            promises.check_commands(self.world)
