"""Calls of CTranslate2 that end with the deadline, and what it mixes up in a batch, put right."""

import os
from array import array
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from lambda_inference import BackgroundTask

CHECK_SECONDS = 0.1
"""Interval of deadline checks during a search, which cannot be interrupted, only abandoned."""
SHORT = 1024
"""Source tokens times beams of searches that end before a check would be worth a thread."""

NO_TOKEN = 10**9
"""The number of no vocabulary's token."""


class Calls:
    """The calls of one model.

    Args:
        translator: a ``ctranslate2.Translator``.

    """

    def __init__(self, translator: Any) -> None:
        self._translator = translator

    def first_rows(self, batch: Sequence[list[str]], check: Callable[[], None]) -> list[list[float]]:
        """Return the attention of each sentence's first step, which beam search mixes up in a batch.

        It is the same for all hypotheses of a sentence, which have no tokens yet. CTranslate2 4.8.5.
        """
        results = self.run(
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

    def score(
        self, pairs: Sequence[tuple[list[str], list[str]]], check: Callable[[], None], at_once: int = 0
    ) -> list[list[float]]:
        """Return the log-probability of each target token of pairs of sources and targets, the end's last.

        Of pairs with more than ``at_once`` tokens, unless that is 0, CTranslate2 makes several batches.
        """
        results = self.run(
            check,
            self._translator.score_batch,
            [source for source, _ in pairs],
            [target for _, target in pairs],
            max_input_length=0,
            max_batch_size=at_once,
            batch_type="tokens",
        )
        return [result.log_probs for result in results]

    def likeliest(
        self, pairs: Sequence[tuple[list[str], list[str]]], count: int, check: Callable[[], None]
    ) -> list[list[tuple[str, float]]]:
        """Return the likeliest tokens, with log-probabilities, after beginnings that are equally long."""
        length = len(pairs[0][1])
        results = self.run(
            check,
            self._translator.translate_batch,
            [source for source, _ in pairs],
            target_prefix=[target for _, target in pairs] if length else None,
            beam_size=count,
            num_hypotheses=count,
            length_penalty=0,
            max_decoding_length=length + 1,
            min_decoding_length=0,
            max_input_length=0,
            return_scores=True,
            # After a beginning, CTranslate2 4.8.5 drops an end that is not the likeliest token.
            end_token=[NO_TOKEN],
        )
        return [
            [(tokens[length], score) for tokens, score in zip(result.hypotheses, result.scores, strict=True)]
            for result in results
        ]

    def attention(
        self, pairs: Sequence[tuple[list[str], list[str]]], check: Callable[[], None]
    ) -> list[bytes]:
        """Return the attention of each target over its source."""
        results = self.run(
            check,
            self._translator.translate_batch,
            [source for source, _ in pairs],
            target_prefix=[target for _, target in pairs],
            beam_size=1,
            max_decoding_length=max(len(target) for _, target in pairs) + 1,
            max_input_length=0,
            return_attention=True,
        )
        return [
            array("f", chain.from_iterable(result.attention[0][: len(target)])).tobytes()
            for result, (_, target) in zip(results, pairs, strict=True)
        ]

    def run(self, check: Callable[[], None], search: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Return a search's result; if the deadline passes, abandon it, and the next search waits for it."""
        check()
        if sum(map(len, args[0])) * options.get("beam_size", 1) <= SHORT:
            return search(*args, **options)
        task = BackgroundTask(lambda _: search(*args, **options))
        while not task.wait(CHECK_SECONDS):
            check()
        return task.result(0)


def has_avx512() -> bool:
    """Return whether the processor has the parts of AVX-512 that CTranslate2 uses, but only when told to."""
    cpu = Path("/proc/cpuinfo")
    if os.uname().machine != "x86_64" or not cpu.exists():
        return False
    flags = cpu.read_text().partition("\nflags")[2].partition("\n")[0].split()
    return {"avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"} <= set(flags)


def maps(result: Any, first: list[float] | None) -> list[bytes | None]:
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
