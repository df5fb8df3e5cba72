"""OpenNMT-py's searches, in which a sentence's answer does not depend on its neighbours.

OpenNMT-py 3.5.1 differs in larger batches. It ends every hypothesis at the length cap of the batch's longest
sentence. It cuts attention maps at the length of another sentence, because it indexes ``src_len``, which it
has repeated beam times, without the beam. Once a sentence has ended, it blocks the n-grams of another. All of
this is right at batch size 1, which is the reference.
"""

from collections.abc import Callable
from typing import Any

import torch
from onmt.translate.beam_search import BeamSearch
from onmt.translate.greedy_search import sample_topk, sample_topp
from torch import Tensor

BANNED = -65504.0
"""A log-probability that no search follows: OpenNMT-py's."""


class BatchInvariantBeamSearch(BeamSearch):  # type: ignore[misc]
    """OpenNMT-py's beam search with each sentence's own cap, forced beginning and blocked n-grams.

    Args:
        caps: the most tokens of each sentence's hypotheses, forced beginnings included.
        prefixes: each sentence's forced beginning as the vocabulary's numbers.
        check: called at every step; raises when the time is up.
        options: ``BeamSearch``'s own.

    """

    src_len: Tensor
    alive_seq: Tensor
    topk_log_probs: Tensor
    alive_attn: Tensor | None
    forbidden_tokens: list[dict[tuple[int, ...], set[int]]]

    def __init__(
        self, *, caps: list[int], prefixes: list[list[int]], check: Callable[[], None], **options: Any
    ) -> None:
        super().__init__(max_length=max(caps), **options)
        self._caps = caps
        self._check = check
        self._forced = list(map(len, prefixes))
        self._prefixes = prefixes

    def initialize(self, *args: Any, **options: Any) -> Any:
        """Begin the search; OpenNMT-py's own prefixes would change the caps of a whole batch."""
        begun = super().initialize(*args, **options)
        if any(self._forced):
            width = max(self._forced)
            rows = [prefix + [self.pad] * (width - len(prefix)) for prefix in self._prefixes]
            self.target_prefix = torch.tensor(rows).repeat_interleave(self.beam_size, 0)
        return begun

    def advance(self, log_probs: Tensor, attn: Tensor | None) -> None:
        """Take a step after a check of the deadline."""
        self._check()
        super().advance(log_probs, attn if attn is None else _put_beams_first(attn, len(log_probs)))

    def ensure_min_length(self, log_probs: Tensor) -> None:
        """Keep hypotheses that are too short from ending; a forced beginning does not count."""
        if self.min_length:
            for row, sentence in enumerate(self._batch_offset.tolist()):
                if len(self) <= self.min_length + self._forced[sentence]:
                    log_probs[row * self.beam_size : (row + 1) * self.beam_size, self.eos] = BANNED

    def ensure_unk_removed(self, log_probs: Tensor) -> None:
        """Ban the unknown token, except in a forced beginning."""
        if self.ban_unk_token:
            rows = [row for row in range(len(log_probs)) if not self._is_forced(row)]
            log_probs[rows, self.unk] = BANNED

    def block_ngram_repeats(self, log_probs: Tensor) -> None:
        """Ban tokens that would repeat an n-gram, except in a forced beginning."""
        if self.block_ngram_repeat:
            rows = [row for row in range(len(log_probs)) if self._is_forced(row)]
            before = log_probs[rows]  # a copy
            super().block_ngram_repeats(log_probs)
            log_probs[rows] = before

    def _is_forced(self, row: int) -> bool:
        """Return whether a row's next token belongs to its sentence's forced beginning."""
        return len(self) <= self._forced[int(self._batch_offset[row // self.beam_size])]

    def target_prefixing(self, log_probs: Tensor) -> Tensor:
        """Leave of each beam only the next token of its forced beginning."""
        if self.target_prefix is not None and len(self) <= self.target_prefix.size(1):
            forced = self.target_prefix[:, len(self) - 1]
            rows = forced.ne(self.pad).nonzero().flatten()
            kept = log_probs[rows, forced[rows]]
            log_probs[rows] -= 10000
            log_probs[rows, forced[rows]] = kept
        return log_probs

    def ensure_max_length(self) -> None:
        """End the beams that have reached their own cap; called at the end of every step."""
        length = len(self) - 1  # without the start token
        for row, sentence in enumerate(self._batch_offset.tolist()):
            if length == self._caps[sentence]:
                self.is_finished_list[row] = [True] * self.beam_size
            elif length <= self._forced[sentence]:
                # OpenNMT-py 3.5.1 would count beams that left the beginning for the end of the sentence.
                self.is_finished_list[row] = [False] * self.beam_size

    def remove_finished_batches(self, new: int, old: int, non_finished: Tensor, *state: Any) -> None:
        """Drop what belongs to sentences that have ended."""
        super().remove_finished_batches(new, old, non_finished, *state)
        if self.block_ngram_repeat:
            self.forbidden_tokens = [
                self.forbidden_tokens[row * self.beam_size + beam]
                for row in non_finished.tolist()
                for beam in range(self.beam_size)
            ]

    def beams_non_finished(
        self, i: int, scores: list[list[float]], predictions: Tensor, attention: Any, step: int
    ) -> bool:
        """Collect a sentence's finished beams, with the sentence's own length at ``src_len[i]``.

        They are copied: a view would keep every beam's attention of that step alive.
        """
        tiled = self.src_len
        self.src_len = tiled[:: self.beam_size]
        copies = attention if attention is None else _Copies(attention)
        try:
            return bool(super().beams_non_finished(i, scores, _Copies(predictions), copies, step))
        finally:
            self.src_len = tiled


class Sampling(BatchInvariantBeamSearch):
    """Hypotheses of tokens that are drawn at random, each sentence by random numbers of its own.

    A sentence's hypotheses stay side by side until the last has ended. OpenNMT-py's ``GreedySearch``, whose
    scores these are, drops each at its end, and draws for a whole batch at once.

    Args:
        seeds: of each sentence's random numbers; None takes the likeliest token.
        topk: how many of the likeliest tokens are drawn from; all if below 1.
        topp: the probability of the tokens that are drawn from; all if 0.
        temperature: divides the log-probabilities.
        options: ``BatchInvariantBeamSearch``'s own.

    """

    def __init__(
        self, *, seeds: list[int] | None, topk: int, topp: float, temperature: float, **options: Any
    ) -> None:
        super().__init__(**options)
        self._seeds = seeds
        self._topk, self._topp, self._temperature = topk, topp, temperature
        self._ended: list[set[int]] = [set() for _ in self._caps]

    def advance(self, log_probs: Tensor, attn: Tensor | None) -> None:
        """Draw a token for each hypothesis, after a check of the deadline."""
        self._check()
        if len(self) == 1:
            self.topk_log_probs = torch.zeros_like(self.topk_log_probs)
        paths = torch.arange(len(log_probs))
        self.ensure_min_length(log_probs)
        self.ensure_unk_removed(log_probs)
        self.block_ngram_repeats(log_probs)
        scores = self._limit(self.target_prefixing(log_probs))
        tokens = self._draw(scores)
        self.topk_log_probs = self.topk_log_probs + scores[paths, tokens].view(-1, self.beam_size)
        penalty = self.global_scorer.length_penalty(len(self) + 1, alpha=self.global_scorer.alpha)
        self.topk_scores = self.topk_log_probs / penalty
        self.alive_seq = torch.cat([self.alive_seq, tokens.unsqueeze(1)], 1)
        self.select_indices = paths
        self._batch_index = paths.view(-1, self.beam_size)
        self.maybe_update_forbidden_tokens()
        if self.return_attention and attn is not None:
            before = [] if self.alive_attn is None else [self.alive_attn]
            self.alive_attn = torch.cat([*before, _put_beams_first(attn, len(paths))], 1)
        self.is_finished_list = tokens.eq(self.eos).view(-1, self.beam_size).tolist()
        self.ensure_max_length()
        for sentence, row in zip(self._batch_offset.tolist(), self.is_finished_list, strict=True):
            for path in self._ended[sentence]:
                row[path] = False

    def _limit(self, log_probs: Tensor) -> Tensor:
        """Return the log-probabilities that tokens are drawn by."""
        if self._seeds is None:
            return log_probs / self._temperature if self._temperature else log_probs
        scores = log_probs / self._temperature
        if self._topp > 0:
            scores = sample_topp(scores, self._topp)
        if self._topk > 0:
            scores = sample_topk(scores, min(self._topk, scores.size(1)))
        return scores

    def _draw(self, scores: Tensor) -> Tensor:
        """Return a token for each hypothesis, by as many random numbers whichever sentences are left."""
        if self._seeds is None:
            return scores.argmax(1)
        size = (self.beam_size, scores.size(1))
        noise = [self._noise(self._seeds[sentence], size) for sentence in self._batch_offset.tolist()]
        return (scores.softmax(1) / torch.cat(noise)).argmax(1)

    def _noise(self, seed: int, size: tuple[int, int]) -> Tensor:
        """Return a sentence's random numbers of this step, whichever were drawn before."""
        # A generator of its own would import torch._prims, which the layer does not have.
        torch.default_generator.manual_seed(seed << 10 | len(self))
        return torch.empty(size).exponential_()

    def beams_non_finished(
        self, i: int, scores: list[list[float]], predictions: Tensor, attention: Any, step: int
    ) -> bool:
        """Collect a sentence's hypotheses that have ended; it is done when all have."""
        del step
        sentence = int(self._batch_offset[i])
        length = int(self.src_len[i * self.beam_size])
        for path, ended in enumerate(self.is_finished_list[i]):
            if ended:
                self._ended[sentence].add(path)
                weights = None if attention is None else attention[i, path, :, :length].clone()
                self.hypotheses[sentence].append((scores[i][path], predictions[i, path, 1:].clone(), weights))
        if len(self._ended[sentence]) < self.beam_size:
            return True
        for score, tokens, weights in sorted(self.hypotheses[sentence], key=lambda one: -one[0])[
            : self.n_best
        ]:
            self.scores[sentence].append(score)
            self.predictions[sentence].append(tokens)
            self.attention[sentence].append([] if weights is None else weights)
        return False


class _Copies:
    """A tensor whose items are copies."""

    def __init__(self, tensor: Tensor) -> None:
        self._tensor = tensor

    def __getitem__(self, place: Any) -> Tensor:
        return self._tensor[place].clone()


def _put_beams_first(attention: Tensor, beams: int) -> Tensor:
    """Return attention as beams x 1 x source; decoders that feed their input back have 1 x beams x source."""
    return attention if len(attention) == beams else attention.transpose(0, 1)
