"""OpenNMT-py's beam search from what CTranslate2's finds: where it stops, and how it bans tokens.

OpenNMT-py 3.5.1 stops at the first step at which the best of all beams ends, once ``n_best`` have ended.
CTranslate2 searches on, so it finds what OpenNMT-py finds and more: whatever ended after that step has to go.
docs/decisions/008-ctranslate2-answers.md has the reasons and the counts.

Take ``n_best`` 1, and three hypotheses with the log-probability of all their tokens:

======= ====== ======== ==================================
name    tokens total    score: total / (steps + 1)
======= ====== ======== ==================================
short   2      -1.2     -1.2 / 4 = -0.30
middle  4      -1.0     -1.0 / 6 = -0.17
long    7      -0.9     -0.9 / 9 = -0.10
======= ====== ======== ==================================

*short* ends first. Did it stop the search, or was another beam the best at that step? The others' totals at
their ends, -1.0 and -0.9, are above -1.2, and a total only falls with every token: they were above it at that
step, too, so the search went on. Next ends *middle*, at -1.0. *long* has -0.9 at its end: again the search
went on, and *long* is the answer.

With -1.1 for *long* the second step is open: its first five tokens may have had -0.95 or -1.05. Only
``score_batch`` tells. So ``stop_searches`` asks for the log-probability of those five tokens: for one
hypothesis of each sentence at a time, the likeliest first, all sentences in one call.

Where a search bans tokens, before a shortest length or where they would repeat, OpenNMT-py leaves the
others their probabilities. CTranslate2 gives them that of the banned ones, which leads elsewhere. If no
hypothesis of a search without bans breaks a rule, the rules change nothing. Else ``search_by_steps`` goes
OpenNMT-py's way: it asks for the likeliest tokens at each step.
"""

import heapq
from collections.abc import Callable, Generator, Sequence

from msgspec import Struct

from decoding import DEFAULT, Decoding

Prefixes = Sequence[tuple[int, list[str]]]
"""For some sentences, by their position, the first tokens of a hypothesis."""


class EndedHypothesis(Struct, frozen=True):
    """A hypothesis as a search found it.

    Attributes:
        tokens: without the end of the sentence.
        total: log-probability of all tokens, the end included.
        limit: length cap of the sentence.
        attention: see ``translator.Hypothesis``.
        normalise: returns the score of a log-probability that took so many steps.

    """

    tokens: list[str]
    total: float
    limit: int
    attention: bytes | None
    normalise: Callable[[float, int], float] = DEFAULT.normalise

    @property
    def score(self) -> float:
        """The log-probability, normalised as OpenNMT-py does."""
        return self.normalise(self.total, count_steps(self.tokens, self.limit))

    @property
    def truncated(self) -> bool:
        """Whether the cap ended it."""
        return len(self.tokens) >= self.limit


def count_steps(tokens: list[str], limit: int) -> int:
    """Return how many steps a hypothesis took: one more than its tokens, unless the cap ended it."""
    return min(len(tokens) + 1, limit)


def rank(hypotheses: Sequence[EndedHypothesis]) -> list[EndedHypothesis]:
    """Return hypotheses by their scores, the best first."""
    return sorted(hypotheses, key=lambda hypothesis: -hypothesis.score)


def stop_searches(
    found: Sequence[list[EndedHypothesis]], n_best: int, score: Callable[[Prefixes], Sequence[float]]
) -> list[list[EndedHypothesis]]:
    """Return, for each sentence, the hypotheses that OpenNMT-py would have found.

    Args:
        found: hypotheses of a longer search, for each sentence.
        n_best: how many OpenNMT-py waits for.
        score: returns the log-probabilities of prefixes.

    """
    kept: list[list[EndedHypothesis]] = list(found)
    searches = {row: _replay(hypotheses, n_best) for row, hypotheses in enumerate(found)}
    questions: dict[int, list[str]] = {}

    def resume(row: int, total: float | None) -> None:
        try:
            questions[row] = searches[row].send(total)
        except StopIteration as end:
            kept[row] = end.value

    for row in searches:
        resume(row, None)
    while questions:
        prefixes = list(questions.items())
        questions.clear()
        for (row, _), total in zip(prefixes, score(prefixes), strict=True):
            resume(row, total)
    return kept


def _replay(
    hypotheses: list[EndedHypothesis], n_best: int
) -> Generator[list[str], float | None, list[EndedHypothesis]]:
    """Return the hypotheses that OpenNMT-py has when it stops.

    Yields:
        the first tokens of a hypothesis whose log-probability decides; the caller sends it.

    """
    for length in sorted({len(hypothesis.tokens) for hypothesis in hypotheses}):
        ended = [hypothesis for hypothesis in hypotheses if len(hypothesis.tokens) <= length]
        longer = [hypothesis for hypothesis in hypotheses if len(hypothesis.tokens) > length]
        if not longer or len(ended) < n_best:
            continue
        if rank(ended)[n_best - 1].score >= max(hypothesis.score for hypothesis in longer):
            return ended  # none of the longer ones would be among the best
        best = max(hypothesis.total for hypothesis in ended if len(hypothesis.tokens) == length)
        if best < max(hypothesis.total for hypothesis in longer):
            continue
        for hypothesis in sorted(longer, key=lambda hypothesis: -hypothesis.total):
            total = yield hypothesis.tokens[: length + 1]
            assert total is not None  # noqa: S101 - only the first send is None, and it precedes this
            if total > best:
                break
        else:
            return ended
    return hypotheses


class Beams(Struct):
    """A sentence's search by steps.

    Attributes:
        alive: tokens and log-probability of each hypothesis that goes on.
        limit: length cap.
        shortest: fewest tokens, the forced beginning included.
        ended: hypotheses that do not.

    """

    alive: list[tuple[list[str], float]]
    limit: int
    shortest: int
    ended: list[EndedHypothesis] = []


def find_banned(tokens: list[str], decoding: Decoding) -> set[str]:
    """Return the tokens that would repeat an n-gram after these."""
    size = decoding.block_ngram_repeat
    if not size or len(tokens) < size:
        return set()
    last = tokens[len(tokens) - size + 1 :]
    return {tokens[end] for end in range(size - 1, len(tokens)) if tokens[end - size + 1 : end] == last}


def breaks_rules(tokens: list[str], shortest: int, decoding: Decoding) -> bool:
    """Return whether a search with bans would not have found a hypothesis."""
    return len(tokens) < shortest or any(
        token in find_banned(tokens[:place], decoding) for place, token in enumerate(tokens)
    )


def search_by_steps(
    searches: Sequence[Beams],
    beam: int,
    n_best: int,
    decoding: Decoding,
    likeliest: Callable[[Prefixes, int], Sequence[Sequence[tuple[str, float]]]],
    special: tuple[str, str],
) -> None:
    """Go on with searches until each has ended as OpenNMT-py's does.

    Args:
        searches: whose hypotheses all have as many tokens.
        beam: how many hypotheses a step keeps.
        n_best: how many have to end.
        decoding: which tokens are banned, and how scores are normalised.
        likeliest: returns so many of the likeliest tokens after each prefix, with their log-probabilities.
        special: the tokens for the end of a sentence, and for what the vocabulary lacks.

    """
    end, unknown = special
    always = {unknown} if decoding.ban_unk else set()
    while asked := [(row, *one) for row, search in enumerate(searches) for one in search.alive]:
        banned = [always | find_banned(tokens, decoding) for _, tokens, _ in asked]
        for (row, tokens, _), names in zip(asked, banned, strict=True):
            if len(tokens) < searches[row].shortest:
                names.add(end)
        found = likeliest([(row, tokens) for row, tokens, _ in asked], beam + max(map(len, banned)))
        candidates: list[list[tuple[float, list[str], str]]] = [[] for _ in searches]
        for (row, tokens, total), names, following in zip(asked, banned, found, strict=True):
            candidates[row] += [
                (total + one, tokens, token) for token, one in following if token not in names
            ]
        for search, choices in zip(searches, candidates, strict=True):
            best = heapq.nlargest(beam, choices, key=lambda choice: choice[0])
            search.alive = []
            stops = False
            for place, (total, before, token) in enumerate(best):
                tokens = before if token == end else [*before, token]
                if token == end or len(tokens) >= search.limit:
                    search.ended.append(
                        EndedHypothesis(tokens, total, search.limit, None, decoding.normalise)
                    )
                    stops = stops or not place
                else:
                    search.alive.append((tokens, total))
            if stops and len(search.ended) >= n_best:
                search.alive = []
