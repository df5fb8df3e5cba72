"""CTranslate2's beam search, over a converted model that is only in memory.

It differs from plain CTranslate2 in the attention maps of batches, which are fixed here, and in the end of a
search, so that a checkpoint gives the same answers in both engines
(docs/decisions/008-ctranslate2-answers.md).
"""

import os
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import ctranslate2

from decoding import DEFAULT, Decoding
from formats import ct2
from lambda_inference import BackgroundTask, BadRequest, Model
from search_equivalence import EndedHypothesis, Prefixes, count_steps, rank, stop_searches
from translator import Hypothesis

CHECK_SECONDS = 0.1
"""Interval of deadline checks during a search, which cannot be interrupted, only abandoned."""
SCORED = 2048
"""Tokens of a call that only scores, which holds a probability for each token of the vocabulary at each."""
SHORT = 1024
"""Source tokens times beams of searches that end before a check would be worth a thread."""


def load(model: Model, threads: int) -> "CTranslate2":
    """Return the engine with the model's files loaded."""
    return CTranslate2(model, threads)


class CTranslate2:
    """A converted OpenNMT-py model whose answers are the same at any batch size.

    In float32 they are OpenNMT-py's. With int8 no two numbers are equal anyway, so that CTranslate2's own
    search, which is faster, is used unchanged.
    """

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
            # CTranslate2 only accepts bytes; `view.obj` is that object, so nothing is copied.
            files={name: view.obj for name, view in model.files.items() if ct2.is_own(name)},
        )
        self._vocabularies = {name: view for name, view in model.files.items() if ct2.VOCABULARY in name}
        self.positions, self._tokens, self.unknown = ct2.read_facts(model.files)

    @property
    def vocabularies(self) -> tuple[list[str], list[str]]:
        """The tokens of the source and the target, special ones included."""
        return ct2.read_vocabularies(self._vocabularies)

    def translate(
        self,
        batch: Sequence[list[str]],
        beam: int,
        n_best: int,
        attention: bool,
        check: Callable[[], None],
        decoding: Decoding = DEFAULT,
        prefixes: Sequence[list[str]] = (),
    ) -> list[list[Hypothesis]]:
        """Return the n best hypotheses of each tokenised sentence."""
        search = _Search(beam, n_best, attention, check, decoding)
        # Scoring takes one position more than searching.
        caps = decoding.caps(batch, prefixes, self.positions - 1)
        rows = [
            _Row(tokens, limit, prefix)
            for tokens, limit, prefix in zip(batch, caps, prefixes or [[]] * len(batch), strict=True)
        ]
        found: dict[int, list[EndedHypothesis]] = {}
        for group in _group(rows, decoding):
            limit = max(rows[number].limit for number in group)
            found |= zip(group, self._search([rows[number] for number in group], limit, search), strict=True)
            for number in group:
                # A sentence that reached its own cap, but was searched to a neighbour's, is searched alone.
                cap = rows[number].limit
                if cap < limit and any(len(hypothesis.tokens) >= cap for hypothesis in found[number]):
                    [found[number]] = self._search([rows[number]], cap, search)
        ended = [found[number] for number in range(len(rows))]
        if decoding.samples or decoding.bans or any(prefixes):
            ended = self._score(rows, ended, search)
        if self._exact and n_best < beam and not decoding.samples:
            ended = stop_searches(ended, n_best, lambda asked: self._score_prefixes(batch, asked, check))
        return [
            [
                Hypothesis(best.tokens, best.score, best.attention, best.truncated)
                for best in rank(one)[:n_best]
            ]
            for one in ended
        ]

    def _search(self, rows: Sequence["_Row"], limit: int, search: "_Search") -> list[list[EndedHypothesis]]:
        """Return the hypotheses that a search finds for each sentence, in no order."""
        decoding, batch = search.decoding, [row.source for row in rows]
        penalty = 0.3 if self._exact else decoding.alpha if decoding.length_penalty != "none" else 0.0
        options: dict[str, Any] = {"beam_size": search.beam, "length_penalty": penalty}
        if decoding.samples:
            options = self._sampling_options(search) | {"length_penalty": penalty}
        elif self._exact and search.beam > 1:
            # A longer search than OpenNMT-py's, which keeps short hypotheses, too, so that OpenNMT-py's are
            # among them. Both numbers were chosen by counting answers that differ.
            options["patience"] = 1.6
        if rows[0].prefix:
            options["target_prefix"] = [row.prefix for row in rows]
        results = self._run(
            search.check,
            self._translator.translate_batch,
            batch,
            num_hypotheses=options.pop("num_hypotheses", search.beam if self._exact else search.n_best),
            max_decoding_length=limit,
            min_decoding_length=min(decoding.min_length + len(rows[0].prefix), limit),
            no_repeat_ngram_size=decoding.block_ngram_repeat,
            disable_unk=decoding.ban_unk,
            max_input_length=0,
            return_scores=True,
            return_attention=search.attention,
            **options,
        )
        first: Sequence[list[float]] | None = None
        if search.attention and options["beam_size"] > 1 and len(batch) > 1:
            first = self._first_rows(batch, search.check)
        return [
            [
                EndedHypothesis(
                    tokens, score * count_steps(tokens, limit) ** penalty, limit, maps, decoding.normalise
                )
                for tokens, score, maps in zip(
                    result.hypotheses,
                    result.scores,
                    _maps(result, None if first is None else first[number]),
                    strict=True,
                )
            ]
            * (search.beam if decoding.samples and decoding.takes_likeliest else 1)
            for number, result in enumerate(results)
        ]

    def _sampling_options(self, search: "_Search") -> dict[str, Any]:
        """Return the options that draw tokens at random, one hypothesis beside the other."""
        decoding = search.decoding
        if decoding.takes_likeliest:
            return {"beam_size": 1, "num_hypotheses": 1}
        if decoding.seed is not None:
            raise BadRequest(
                "seed has no equivalent in CTranslate2, which draws all batches from one stream; leave it "
                "out, or deploy with Engine=opennmt",
                field="seed",
            )
        return {
            "beam_size": 1,
            "num_hypotheses": search.beam,
            "sampling_topk": min(max(decoding.sampling_topk, 0), self._tokens),
            "sampling_topp": decoding.sampling_topp or 1.0,
            "sampling_temperature": decoding.sampling_temp,
        }

    def _score(
        self, rows: Sequence["_Row"], found: Sequence[list[EndedHypothesis]], search: "_Search"
    ) -> list[list[EndedHypothesis]]:
        """Return hypotheses with the log-probabilities that they have in OpenNMT-py.

        CTranslate2's own leave out forced tokens, and spread the probability of banned ones over the others.
        """
        asked = [(row, one.tokens) for row, hypotheses in enumerate(found) for one in hypotheses]
        results = self._run(
            search.check,
            self._translator.score_batch,
            [rows[row].source for row, _ in asked],
            [tokens for _, tokens in asked],
            max_input_length=0,
            max_batch_size=SCORED,
            batch_type="tokens",
        )
        scores = (result.log_probs for result in results)
        scale = search.decoding.sampling_temp or 1.0 if search.decoding.samples else 1.0
        return [
            [
                replace(one, total=sum(next(scores)[: count_steps(one.tokens, one.limit)]) / scale)
                for one in hypotheses
            ]
            for hypotheses in found
        ]

    def _first_rows(self, batch: Sequence[list[str]], check: Callable[[], None]) -> list[list[float]]:
        """Return the attention of each sentence's first step, which beam search mixes up in a batch.

        It is the same for all hypotheses of a sentence, which have no tokens yet. CTranslate2 4.8.5.
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

    def _score_prefixes(
        self, batch: Sequence[list[str]], prefixes: Prefixes, check: Callable[[], None]
    ) -> list[float]:
        """Return the log-probability of each prefix as the beginning of its sentence's translation."""
        results = self._run(
            check,
            self._translator.score_batch,
            [batch[row] for row, _ in prefixes],
            [tokens for _, tokens in prefixes],
            max_input_length=0,
        )
        return [
            sum(result.log_probs[: len(tokens)])
            for (_, tokens), result in zip(prefixes, results, strict=True)
        ]

    def _run(self, check: Callable[[], None], search: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Return a search's result; if the deadline passes, abandon it, and the next search waits for it."""
        check()
        if sum(map(len, args[0])) * options.get("beam_size", 1) <= SHORT:
            return search(*args, **options)
        task = BackgroundTask(lambda _: search(*args, **options))
        while not task.wait(CHECK_SECONDS):
            check()
        return task.result(0)


@dataclass(frozen=True)
class _Row:
    """A sentence to search: its tokens, the cap of its hypotheses, and their forced beginning."""

    source: list[str]
    limit: int
    prefix: list[str]


@dataclass(frozen=True)
class _Search:
    """What is asked of every sentence of a batch."""

    beam: int
    n_best: int
    attention: bool
    check: Callable[[], None]
    decoding: Decoding


def _group(rows: Sequence[_Row], decoding: Decoding) -> Iterable[list[int]]:
    """Return the places of the sentences that one call searches.

    CTranslate2 counts forced beginnings as length, and what was drawn at random cannot be searched again.
    """
    groups: dict[tuple[int, int], list[int]] = {}
    for place, row in enumerate(rows):
        key = (len(row.prefix), row.limit if decoding.samples or decoding.caps_early else 0)
        groups.setdefault(key, []).append(place)
    return groups.values()


def _has_avx512() -> bool:
    """Return whether the processor has the parts of AVX-512 that CTranslate2 uses, but only when told to."""
    cpu = Path("/proc/cpuinfo")
    if os.uname().machine != "x86_64" or not cpu.exists():
        return False
    flags = cpu.read_text().partition("\nflags")[2].partition("\n")[0].split()
    return {"avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"} <= set(flags)


def _maps(result: Any, first: list[float] | None) -> list[bytes | None]:
    """Return each hypothesis' attention as bytes, its first row replaced if there is another."""
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
