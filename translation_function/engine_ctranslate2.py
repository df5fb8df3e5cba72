"""CTranslate2's beam search, over a converted model that is only in memory.

Two things are mended here: attention maps in batches, and where a search ends. The second is a difference
between two good rules, but the same checkpoint is to give the same answer, whichever engine runs it:
docs/decisions/008-ctranslate2-answers.md has both.
"""

import os
from array import array
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import ctranslate2

from lambda_inference import BackgroundTask, Model
from translator import Hypothesis, cap

POSITIONS = 5000
"""The longest sentence in tokens: for so many OpenNMT-py's models have encodings, and converted ones too."""
LOOK_SECONDS = 0.1
"""How long a search runs before the time is looked at again; it cannot be interrupted, only left."""
SHORT = 1024
"""Source tokens times beams up to which a search is over before it would be worth a look."""


def load(model: Model, threads: int) -> "CTranslate2":
    """Return the engine with the model's files loaded."""
    return CTranslate2(model, threads)


class CTranslate2:
    """A converted OpenNMT-py model whose answers are the same at any batch size.

    In float32 they are those of OpenNMT-py. With int8 no two numbers are equal anyway: there CTranslate2's
    own search, which takes less time, is taken as it is.
    """

    positions = POSITIONS

    def __init__(self, model: Model, threads: int) -> None:
        if _has_avx512():
            os.environ.setdefault("CT2_FORCE_CPU_ISA", "AVX512")
        self.precision = model.manifest.precision
        # Half precision is how weights are stored; processors compute in single.
        computes = "float32" if self.precision == "float16" else self.precision
        self._exact = computes == "float32"
        self._translator = ctranslate2.Translator(
            model.manifest.name,
            device="cpu",
            compute_type=computes,
            inter_threads=1,
            intra_threads=threads,
            # It takes nothing but bytes, which these views are of: nothing is copied on the way.
            files={name: view.obj for name, view in model.files.items() if not name.endswith(".model")},
        )

    def translate(
        self, batch: Sequence[list[str]], beam: int, n_best: int, attention: bool, check: Callable[[], None]
    ) -> list[list[Hypothesis]]:
        """Return the n best hypotheses of each tokenised sentence."""
        caps = [cap(len(tokens)) for tokens in batch]
        found = self._search(batch, max(caps), beam, n_best, attention, check)
        for row, limit in enumerate(caps):
            # Whatever reached its own cap, and went on because of a neighbour, is searched alone.
            if limit < max(caps) and any(len(one.tokens) >= limit for one in found[row]):
                (found[row],) = self._search([batch[row]], limit, beam, n_best, attention, check)
        if self._exact and n_best < beam:
            found = self._until_reference_stops(batch, found, n_best, check)
        return [
            [Hypothesis(one.tokens, one.score, one.attention) for one in _ranked(hypotheses)[:n_best]]
            for hypotheses in found
        ]

    def _search(
        self,
        batch: Sequence[list[str]],
        limit: int,
        beam: int,
        n_best: int,
        attention: bool,
        check: Callable[[], None],
    ) -> "list[list[_Found]]":
        """Return what a search finds for each sentence, in no order."""
        penalty = 0.3 if self._exact else 1.0
        results = self._run(
            check,
            self._translator.translate_batch,
            batch,
            beam_size=beam,
            num_hypotheses=beam if self._exact else n_best,
            # Goes on for longer than OpenNMT-py, and keeps short hypotheses too: what OpenNMT-py finds is
            # among what is found. Both were chosen by counting answers that differ.
            patience=1.6 if self._exact and beam > 1 else 1.0,
            length_penalty=penalty,
            max_decoding_length=limit,
            min_decoding_length=0,
            max_input_length=0,
            return_scores=True,
            return_attention=attention,
        )
        rows: Sequence[list[float]] | None = None
        if attention and beam > 1 and len(batch) > 1:
            rows = self._first_rows(batch, check)
        return [
            [
                _Found(tokens, score * _length(tokens, limit) ** penalty, limit, maps)
                for tokens, score, maps in zip(
                    result.hypotheses,
                    result.scores,
                    _maps(result, None if rows is None else rows[number]),
                    strict=True,
                )
            ]
            for number, result in enumerate(results)
        ]

    def _first_rows(self, batch: Sequence[list[str]], check: Callable[[], None]) -> list[list[float]]:
        """Return the attention of each sentence's first step, which beam search confuses in a batch.

        It is the same for all hypotheses: nothing of them is there yet.
        """
        results = self._run(
            check,
            self._translator.translate_batch,
            batch,
            beam_size=1,
            max_decoding_length=1,
            min_decoding_length=1,
            max_input_length=0,
            return_attention=True,
        )
        return [result.attention[0][0] for result in results]

    def _until_reference_stops(
        self,
        batch: Sequence[list[str]],
        found: "list[list[_Found]]",
        n_best: int,
        check: Callable[[], None],
    ) -> "list[list[_Found]]":
        """Leave out what OpenNMT-py would not have waited for."""
        kept = list(found)
        searches = {row: _reference(hypotheses, n_best) for row, hypotheses in enumerate(found)}
        answers: dict[int, float | None] = dict.fromkeys(searches)
        while answers:
            asked: dict[int, list[str]] = {}
            for row, answer in answers.items():
                try:
                    asked[row] = searches[row].send(answer)  # type: ignore[arg-type] # the first is None
                except StopIteration as ended:
                    kept[row] = ended.value
            answers = {}
            if asked:
                results = self._run(
                    check,
                    self._translator.score_batch,
                    [batch[row] for row in asked],
                    list(asked.values()),
                    max_input_length=0,
                )
                answers = {
                    row: sum(result.log_probs[: len(tokens)])
                    for (row, tokens), result in zip(asked.items(), results, strict=True)
                }
        return kept

    def _run(self, check: Callable[[], None], search: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Return a search's result; when the time runs out it is left alone, and the next one waits."""
        check()
        if sum(map(len, args[0])) * options.get("beam_size", 1) <= SHORT:
            return search(*args, **options)
        running = BackgroundTask(lambda _: search(*args, **options))
        while not running.wait(LOOK_SECONDS):
            check()
        return running.result(0)


@dataclass(frozen=True)
class _Found:
    """A hypothesis with the log-probability of all its tokens, its end included."""

    tokens: list[str]
    total: float
    limit: int
    attention: bytes | None

    @property
    def score(self) -> float:
        """The log-probability, normalised as OpenNMT-py does: by the steps taken, and one."""
        return self.total / (_length(self.tokens, self.limit) + 1)


def _length(tokens: list[str], limit: int) -> int:
    """Return how many steps a hypothesis took: one more than it has tokens, unless the cap ended it."""
    return min(len(tokens) + 1, limit)


def _ranked(hypotheses: list[_Found]) -> list[_Found]:
    return sorted(hypotheses, key=lambda one: -one.score)


def _reference(hypotheses: list[_Found], n_best: int) -> Generator[list[str], float, list[_Found]]:
    """Return the hypotheses that OpenNMT-py has found when it stops, asking for scores on the way.

    OpenNMT-py 3.5.1 stops at the first step at which the best beam of all ends, once n_best have ended.
    Whether it was the best then is told by the log-probabilities that the longer ones had at that step: they
    are not below what they have at their ends, and are asked for only where that does not tell.

    Yields:
        the first tokens of a hypothesis, and takes their log-probability.

    """
    for length in sorted({len(one.tokens) for one in hypotheses}):
        ended = [one for one in hypotheses if len(one.tokens) <= length]
        longer = [one for one in hypotheses if len(one.tokens) > length]
        if not longer or len(ended) < n_best:
            continue
        if _ranked(ended)[n_best - 1].score >= max(one.score for one in longer):
            return ended  # none of the longer ones would be among the best
        best = max(one.total for one in ended if len(one.tokens) == length)
        if best < max(one.total for one in longer):
            continue
        for one in sorted(longer, key=lambda one: -one.total):
            if (yield one.tokens[: length + 1]) > best:
                break
        else:
            return ended
    return hypotheses


def _has_avx512() -> bool:
    """Return whether the processor has what CTranslate2 means by AVX-512, and by itself leaves unused."""
    cpu = Path("/proc/cpuinfo")
    if os.uname().machine != "x86_64" or not cpu.exists():
        return False
    flags = cpu.read_text().partition("\nflags")[2].partition("\n")[0].split()
    return {"avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"} <= set(flags)


def _maps(result: Any, first: list[float] | None) -> list[bytes | None]:
    """Return each hypothesis' attention as bytes, with the first row in place of what is there."""
    if not result.attention:
        return [None] * len(result.hypotheses)
    return [
        array(
            "f",
            chain.from_iterable(
                [first or rows[0], *rows[1 : len(tokens)]] if tokens else (),
            ),
        ).tobytes()
        for tokens, rows in zip(result.hypotheses, result.attention, strict=True)
    ]
