"""CTranslate2's beam search, over a converted model that is only in memory.

It differs from plain CTranslate2 in the attention maps of batches, which are fixed here, and in the end of a
search, so that a checkpoint gives the same answers in both engines
(docs/decisions/008-ctranslate2-answers.md).
"""

import os
from array import array
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import ctranslate2
import msgspec

from lambda_inference import BackgroundTask, Model
from search_equivalence import EndedHypothesis, Prefixes, count_steps, rank, stop_searches
from translator import Hypothesis, cap_length

POSITIONS = 5000
"""Tokens of the longest sentence: the position encodings that OpenNMT-py's models have, also converted."""
CHECK_SECONDS = 0.1
"""Interval of deadline checks during a search, which cannot be interrupted, only abandoned."""
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
            # CTranslate2 only accepts bytes; `view.obj` is that object, so nothing is copied.
            files={name: view.obj for name, view in model.files.items() if _is_ctranslate2(name)},
        )
        self._vocabularies = {name: view for name, view in model.files.items() if "_vocabulary." in name}

    @property
    def vocabularies(self) -> tuple[list[str], list[str]]:
        """The tokens of the source and the target, special ones included."""
        by_side = {name.partition("_")[0]: name for name in self._vocabularies}
        source, target = (
            self._read_vocabulary(by_side.get(side) or by_side["shared"]) for side in ("source", "target")
        )
        return source, target

    def _read_vocabulary(self, name: str) -> list[str]:
        data = bytes(self._vocabularies[name])
        return (
            msgspec.json.decode(data, type=list[str])
            if name.endswith(".json")
            else data.decode().splitlines()
        )

    def translate(
        self, batch: Sequence[list[str]], beam: int, n_best: int, attention: bool, check: Callable[[], None]
    ) -> list[list[Hypothesis]]:
        """Return the n best hypotheses of each tokenised sentence."""
        caps = [cap_length(len(tokens)) for tokens in batch]
        found = self._search(batch, max(caps), beam, n_best, attention, check)
        for row, limit in enumerate(caps):
            # A sentence that reached its own cap, but was searched to a neighbour's, is searched alone.
            if limit < max(caps) and any(len(hypothesis.tokens) >= limit for hypothesis in found[row]):
                (found[row],) = self._search([batch[row]], limit, beam, n_best, attention, check)
        if self._exact and n_best < beam:
            found = stop_searches(
                found, n_best, lambda prefixes: self._score_prefixes(batch, prefixes, check)
            )
        return [
            [Hypothesis(best.tokens, best.score, best.attention) for best in rank(hypotheses)[:n_best]]
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
    ) -> list[list[EndedHypothesis]]:
        """Return the hypotheses that a search finds for each sentence, in no order."""
        penalty = 0.3 if self._exact else 1.0
        results = self._run(
            check,
            self._translator.translate_batch,
            batch,
            beam_size=beam,
            num_hypotheses=beam if self._exact else n_best,
            # A longer search than OpenNMT-py's, which keeps short hypotheses, too, so that OpenNMT-py's are
            # among them. Both numbers were chosen by counting answers that differ.
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
                EndedHypothesis(tokens, score * count_steps(tokens, limit) ** penalty, limit, maps)
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


def _is_ctranslate2(name: str) -> bool:
    """Return whether a file is CTranslate2's own, not the tokenizer's."""
    return name in {"model.bin", "config.json"} or "_vocabulary." in name


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
