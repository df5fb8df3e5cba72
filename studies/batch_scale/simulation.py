"""A run of the state machine, simulated event by event.

A run is ranges of lines, each a child of a Distributed Map with one task, the function. A child waits for
its place among ``concurrency``, for Step Functions to start it, and for Lambda to give it an environment,
which is new (a cold start) where none is idle. Where Lambda has none, the child is throttled, and retried as
the state machine's Retry says. The time of a range and its spread are measured; AWS's quotas are in
``Quotas``, each with its source in README.md.

The event loop is a heap and twelve lines. SimPy would replace those, but not the token buckets, the jitter
and the order of simultaneous events.
"""

import heapq
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

TRANSITIONS = 2
"""Of a child: its start, and its one task."""


@dataclass(frozen=True, kw_only=True)
class Retry:
    """Exponential backoff with full jitter: evenly from 0 to ``interval`` · ``rate``ⁿ s, ``most`` at most."""

    interval: float = 2
    rate: float = 2
    most: float = 60
    attempts: int = 30

    def wait(self, tried: int, random: Random) -> float:
        """Return the seconds before the next attempt, after so many retries."""
        return random.random() * min(self.most, self.interval * self.rate ** min(tried, 60))


@dataclass(frozen=True, kw_only=True)
class Quotas:
    """AWS's default quotas of an account in us-east-1."""

    children: int = 10_000  # that run at once in one Map Run
    starts: float = 100  # of STANDARD children in one Map Run, a second
    transitions: float = 5_000  # of states, a second, and as many at once
    environments: int = 1_000  # of Lambda, at once, in all functions together
    scaling: float = 100  # new environments of a function, a second; ten seconds' worth at once
    writes: float = 3_500  # PUTs to a prefix of S3, a second
    reads: float = 5_500  # GETs and HEADs, likewise

    @property
    def requests(self) -> float:
        """Invocations a second: ten for each environment."""
        return 10 * self.environments


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run to simulate."""

    ranges: int  # how many there are
    seconds: float  # that a range takes in a warm environment, on average
    spread: Sequence[float] = (1.0,)  # what single ranges took, as multiples of that average
    cold: float = 0.0  # seconds that the first range of an environment takes longer
    delay: float = 0.0  # seconds from a child's start to its call, and from the call's end to the child's
    concurrency: int  # the map's
    failures: float = 0.0  # share of the attempts that fail somewhere on their way
    model_reads: int = 0  # GETs of a cold start
    retry: Retry = field(default_factory=Retry)
    quotas: Quotas = field(default_factory=Quotas)
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The result of a run."""

    seconds: float  # from the map's start until its last child has ended
    billed: float  # seconds of the function, initialisation included
    cold: int  # environments that were started
    invocations: int  # that began
    throttled: int  # that Lambda did not take
    retries: int  # of the state machine
    lost: int  # ranges that failed at every try
    busy: float  # environments at work, on average over the whole run
    use: Mapping[str, float]  # of a long run's limits, the share that is used until the last child starts
    peaks: Mapping[str, float]  # of rates, the most of a second as a share of the quota
    curve: Sequence[tuple[float, int, int]]  # seconds, environments at work and ranges done, once a while

    @property
    def limit(self) -> str:
        """The name of the limit that is used most."""
        return max(self.use, key=lambda name: self.use[name])


class Bucket:
    """A token bucket whose callers queue for the next token."""

    def __init__(self, refill: float, size: float = 1) -> None:
        self._every = 1 / refill
        self._slack = (size - 1) / refill
        self._full = -math.inf
        self._taken = Counter[int]()

    def take(self, now: float, tokens: int = 1) -> float:
        """Take tokens, and return when the last of them is available."""
        self._full = max(now, self._full) + tokens * self._every
        when = max(now, self._full - self._every - self._slack)
        self._taken[int(when)] += tokens
        return when

    def has(self, now: float) -> bool:
        """Return whether a token is available."""
        return self._full <= now + self._slack + 1e-9

    @property
    def peak(self) -> float:
        """The most that was taken within a second, divided by the refill."""
        return max(self._taken.values(), default=0) * self._every


LEAVE, FINISH, ATTEMPT, START = range(4)
"""Events of a child; of simultaneous events, ends come first."""


class Simulation:
    """A run, event by event."""

    def __init__(self, run: Run) -> None:
        quotas = run.quotas
        self._run = run
        self._random = Random(run.seed)  # noqa: S311 - chance, not secrets
        self._places = min(run.concurrency, quotas.children)
        self._starts = Bucket(quotas.starts)
        self._transitions = Bucket(quotas.transitions, quotas.transitions)
        self._scaling = Bucket(quotas.scaling, 10 * quotas.scaling)
        self._requests = Bucket(quotas.requests, quotas.requests)
        self._models, self._corpus, self._commits = (Bucket(quotas.reads, quotas.reads) for _ in range(3))
        self._writes = Bucket(quotas.writes, quotas.writes)
        self._events: list[tuple[float, int, int, bool]] = []
        self._left = iter(range(run.ranges))
        self._tried = Counter[int]()
        self._now = self._busy = self._held = self._billed = 0.0
        self._running = self._active = self._idle = self._cold = 0
        self._invocations = self._throttled = self._lost = self._done_ranges = 0
        self._until_last_start = (0.0, 0.0, 0.0)
        self._curve = [(0.0, 0, 0)]
        self._step = run.ranges * run.seconds / min(self._places, quotas.environments) / 300

    def run(self) -> Outcome:
        """Run all events and return the result."""
        actions = (self._leave, self._finish, self._attempt, self._start)
        for _ in range(min(self._places, self._run.ranges)):
            self._admit()
        while self._events:
            when, action, child, good = heapq.heappop(self._events)
            self._busy += (when - self._now) * self._active
            self._held += (when - self._now) * self._running
            self._now = when
            actions[action](child, good)
            if when >= self._curve[-1][0] + self._step:
                self._curve.append((when, self._active, self._done_ranges))
        return Outcome(
            seconds=self._now,
            billed=self._billed,
            cold=self._cold,
            invocations=self._invocations,
            throttled=self._throttled,
            retries=self._tried.total(),
            lost=self._lost,
            busy=self._busy / self._now,
            use=self._use(),
            peaks={
                name: getattr(self, f"_{name}").peak
                for name in ("transitions", "scaling", "requests", "models", "corpus", "commits", "writes")
            },
            curve=[*self._curve, (self._now, 0, self._done_ranges)],
        )

    def _use(self) -> dict[str, float]:
        seconds, busy, held = self._until_last_start
        if not seconds:
            return {"concurrency": self._run.ranges / self._places}
        environments = self._run.quotas.environments
        place = (
            {"environments": busy / seconds / environments}
            if environments <= self._places
            else {"concurrency": held / seconds / self._places}
        )
        return place | {"starts": (self._run.ranges - 1) / seconds / self._run.quotas.starts}

    def _put(self, when: float, action: int, child: int, *, good: bool = True) -> None:
        heapq.heappush(self._events, (when, action, child, good))

    def _admit(self) -> None:
        child = next(self._left, None)
        if child is not None:
            self._put(self._starts.take(self._now), START, child)

    def _start(self, child: int, _: bool) -> None:
        self._running += 1
        self._until_last_start = (self._now, self._busy, self._held)
        self._put(self._transitions.take(self._now, TRANSITIONS) + self._run.delay, ATTEMPT, child)

    def _attempt(self, child: int, _: bool) -> None:
        run, now = self._run, self._now
        takes = self._active < run.quotas.environments and self._requests.has(now)
        if not takes or not (self._idle or self._scaling.has(now)):
            self._throttled += 1
            self._retry(child)
            return
        self._requests.take(now)
        begin, seconds = self._corpus.take(now), run.seconds * self._random.choice(run.spread)
        if self._idle:
            self._idle -= 1
        else:
            self._scaling.take(now)
            self._cold += 1
            seconds += run.cold
            begin = max(begin, self._models.take(now, run.model_reads)) if run.model_reads else begin
        good = self._random.random() >= run.failures
        end = begin + seconds * (1 if good else self._random.random())
        self._invocations += 1
        self._active += 1
        self._billed += end - now
        self._put(end, FINISH, child, good=good)

    def _finish(self, child: int, good: bool) -> None:
        self._active -= 1
        self._idle += 1
        if not good:
            self._retry(child)
            return
        self._commits.take(self._now)
        self._writes.take(self._now)
        self._done_ranges += 1
        self._put(self._now + self._run.delay, LEAVE, child)

    def _retry(self, child: int) -> None:
        tried = self._tried[child]
        if tried >= self._run.retry.attempts:
            self._lost += 1
            self._put(self._now + self._run.delay, LEAVE, child)
            return
        self._tried[child] += 1
        wait = self._run.retry.wait(tried, self._random)
        self._put(self._transitions.take(self._now) + wait, ATTEMPT, child)

    def _leave(self, _child: int, _: bool) -> None:
        self._running -= 1
        self._admit()


def simulate(run: Run) -> Outcome:
    """Simulate a run; equal runs have equal results."""
    return Simulation(run).run()
