"""CTranslate2's beam search, over a converted model that is only in memory.

It differs from plain CTranslate2 in the attention maps of batches, which are fixed here, and in the end of a
search, so that a checkpoint gives the same answers in both engines
(docs/decisions/008-ctranslate2-answers.md).
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import ctranslate2
from msgspec import Struct
from msgspec.structs import replace

import ct2_calls
from ct2_calls import Calls
from decoding import DEFAULT, Decoding
from formats import ct2
from lambda_inference import BadRequest, Model
from search_equivalence import (
    Beams,
    EndedHypothesis,
    Prefixes,
    breaks_rules,
    count_steps,
    rank,
    search_by_steps,
    stop_searches,
)
from translator import Hypothesis

PATIENCE = 1.6
"""How much longer than OpenNMT-py's a search is, so that OpenNMT-py's hypotheses are among what it finds."""
PATIENCE_AFTER_PREFIX = 6
"""The same where a request forces an unlikely beginning: many hypotheses end there, and the best goes on."""
SCORED = 2048
"""Tokens that are scored at once: each takes a number for each token of the vocabulary."""


def load(model: Model, threads: int) -> "CTranslate2":
    """Return the engine with the model's files loaded."""
    return CTranslate2(model, threads)


class CTranslate2:
    """A converted OpenNMT-py model whose answers are the same at any batch size.

    In float32 they are OpenNMT-py's. With int8 no two numbers are equal anyway, so that CTranslate2's own
    search, which is faster, is used unchanged.
    """

    def __init__(self, model: Model, threads: int) -> None:
        if ct2_calls.has_avx512():
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
        self._calls = Calls(self._translator)
        self._vocabularies = {name: view for name, view in model.files.items() if ct2.VOCABULARY in name}
        self.positions, self._tokens, self.unknown, self.end = ct2.read_facts(model.files)

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
        stepped: dict[int, list[EndedHypothesis]] = {}
        for group in _group(rows, decoding):
            limit = max(rows[number].limit for number in group)
            found |= zip(group, self._search([rows[number] for number in group], limit, search), strict=True)
            for number in group:
                # A sentence that reached its own cap, but was searched to a neighbour's, is searched alone.
                cap = rows[number].limit
                if cap < limit and any(len(hypothesis.tokens) >= cap for hypothesis in found[number]):
                    [found[number]] = self._search([rows[number]], cap, search)
            if decoding.has_rules and not decoding.samples:
                stepped |= self._search_by_steps(rows, group, found, search)
        ended = [found[number] for number in range(len(rows))]
        if decoding.samples or decoding.ban_unk or any(prefixes):
            ended = self._score(rows, ended, search)
        if self._exact and (n_best < beam or any(prefixes)) and not decoding.samples:
            ended = stop_searches(ended, n_best, lambda asked: self._score_prefixes(batch, asked, check))
        return [
            [
                Hypothesis(best.tokens, best.score, best.attention, best.truncated)
                for best in rank(stepped.get(number, one))[:n_best]
            ]
            for number, one in enumerate(ended)
        ]

    def _search(self, rows: Sequence["_Row"], limit: int, search: "_Search") -> list[list[EndedHypothesis]]:
        """Return the hypotheses that a search finds for each sentence, in no order."""
        decoding, batch = search.decoding, [row.source for row in rows]
        penalty = 0.3 if self._exact else decoding.alpha if decoding.length_penalty != "none" else 0.0
        options: dict[str, Any] = {"beam_size": search.beam, "length_penalty": penalty}
        follows_opennmt = self._exact and search.beam > 1 and not decoding.samples
        if decoding.samples:
            options = self._sampling_options(search) | {"length_penalty": penalty}
        elif follows_opennmt:
            # A longer search than OpenNMT-py's, which keeps short hypotheses, too, so that OpenNMT-py's are
            # among them. Both numbers were chosen by counting answers that differ.
            options["patience"] = PATIENCE_AFTER_PREFIX if decoding.target_prefix else PATIENCE
        if rows[0].prefix:
            options["target_prefix"] = [row.prefix for row in rows]
            if follows_opennmt:
                # CTranslate2 ranks without the beginning's probability, so that none may be left out.
                options["num_hypotheses"] = round(search.beam * options["patience"])
        results = self._calls.run(
            search.check,
            self._translator.translate_batch,
            batch,
            num_hypotheses=options.pop("num_hypotheses", search.beam if self._exact else search.n_best),
            max_decoding_length=limit,
            min_decoding_length=rows[0].shortest(decoding if decoding.samples else DEFAULT),
            no_repeat_ngram_size=decoding.block_ngram_repeat if decoding.samples else 0,
            disable_unk=decoding.ban_unk,
            max_input_length=0,
            return_scores=True,
            return_attention=search.attention,
            **options,
        )
        first: Sequence[list[float]] | None = None
        if search.attention and options["beam_size"] > 1 and len(batch) > 1:
            first = self._calls.first_rows(batch, search.check)
        found = [
            [
                EndedHypothesis(
                    tokens, score * count_steps(tokens, limit) ** penalty, limit, maps, decoding.normalise
                )
                for tokens, score, maps in zip(
                    result.hypotheses,
                    result.scores,
                    ct2_calls.maps(result, None if first is None else first[number]),
                    strict=True,
                )
            ]
            * (search.beam if decoding.samples and decoding.takes_likeliest else 1)
            for number, result in enumerate(results)
        ]
        if rows[0].prefix and follows_opennmt:
            self._add_ends(rows, limit, search, found)
        return found

    def _add_ends(
        self, rows: Sequence["_Row"], limit: int, search: "_Search", found: list[list[EndedHypothesis]]
    ) -> None:
        """Add the hypotheses that end where their forced beginnings do.

        CTranslate2 4.8.5 drops them unless the end is the likeliest token there.
        """
        banned = {self.unknown} if search.decoding.ban_unk else set()
        count = min(search.beam + len(banned), self._tokens)
        # As hypotheses have them: what the vocabulary lacks is its token for that.
        begun = [one[0].tokens[: len(row.prefix)] for row, one in zip(rows, found, strict=True)]
        pairs = [(row.source, tokens) for row, tokens in zip(rows, begun, strict=True)]
        ended = [
            number
            for number, likeliest in enumerate(self._calls.likeliest(pairs, count, search.check))
            if self.end in [token for token, _ in likeliest if token not in banned][: search.beam]
            and all(one.tokens != begun[number] for one in found[number])
        ]
        if not ended:
            return
        maps: list[bytes] | list[None] = [None] * len(ended)
        if search.attention:
            maps = self._calls.attention([pairs[number] for number in ended], search.check)
        for number, one in zip(ended, maps, strict=True):
            # Its log-probability comes with those of the others.
            found[number].append(EndedHypothesis(begun[number], 0.0, limit, one, search.decoding.normalise))

    def _search_by_steps(
        self,
        rows: Sequence["_Row"],
        group: Sequence[int],
        found: Mapping[int, list[EndedHypothesis]],
        search: "_Search",
    ) -> dict[int, list[EndedHypothesis]]:
        """Return the hypotheses of sentences whose search went where the rules ban it."""
        decoding, check = search.decoding, search.check
        broken = [
            number
            for number in group
            if any(
                breaks_rules(one.tokens, rows[number].shortest(decoding), decoding) for one in found[number]
            )
        ]
        if not broken:
            return {}
        sources = [rows[number].source for number in broken]
        begun = [(place, rows[number].prefix) for place, number in enumerate(broken)]
        totals = (
            self._score_prefixes(sources, begun, check) if rows[broken[0]].prefix else [0.0] * len(broken)
        )
        searches = [
            Beams([(rows[number].prefix, total)], rows[number].limit, rows[number].shortest(decoding))
            for number, total in zip(broken, totals, strict=True)
        ]

        def likeliest(prefixes: Prefixes, count: int) -> list[list[tuple[str, float]]]:
            pairs = [(sources[place], tokens) for place, tokens in prefixes]
            return self._calls.likeliest(pairs, min(count, self._tokens), check)

        search_by_steps(searches, search.beam, search.n_best, decoding, likeliest, (self.end, self.unknown))
        best = [rank(one.ended)[: search.n_best] for one in searches]
        if search.attention:
            pairs = [(sources[place], one.tokens) for place, ones in enumerate(best) for one in ones]
            maps = iter(self._calls.attention(pairs, check))
            best = [[replace(one, attention=next(maps)) for one in ones] for ones in best]
        return dict(zip(broken, best, strict=True))

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

    def _score_prefixes(
        self, batch: Sequence[list[str]], prefixes: Prefixes, check: Callable[[], None]
    ) -> list[float]:
        """Return the log-probability of each prefix as the beginning of its sentence's translation."""
        scores = self._calls.score([(batch[row], tokens) for row, tokens in prefixes], check)
        return [
            sum(log_probs[: len(tokens)]) for (_, tokens), log_probs in zip(prefixes, scores, strict=True)
        ]

    def _score(
        self, rows: Sequence["_Row"], found: Sequence[list[EndedHypothesis]], search: "_Search"
    ) -> list[list[EndedHypothesis]]:
        """Return hypotheses with the log-probabilities that they have in OpenNMT-py.

        CTranslate2's own leave out forced tokens, and spread the probability of banned ones over the others.
        """
        asked = [(rows[row].source, one.tokens) for row, ones in enumerate(found) for one in ones]
        scores = iter(self._calls.score(asked, search.check, SCORED))
        scale = search.decoding.sampling_temp or 1.0 if search.decoding.samples else 1.0
        return [
            [
                replace(one, total=sum(next(scores)[: count_steps(one.tokens, one.limit)]) / scale)
                for one in hypotheses
            ]
            for hypotheses in found
        ]


class _Row(Struct, frozen=True):
    """A sentence to search: its tokens, the cap of its hypotheses, and their forced beginning."""

    source: list[str]
    limit: int
    prefix: list[str]

    def shortest(self, decoding: Decoding) -> int:
        """Return the fewest tokens of a hypothesis, its forced beginning included."""
        return min(decoding.min_length + len(self.prefix), self.limit)


class _Search(Struct, frozen=True):
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
