"""OpenNMT-py's beam search on torch, over a model that is only in memory."""

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import onmt_compat  # first: onmt imports what it changes

# isort: split
import torch
from onmt.constants import DefaultTokens
from onmt.inputters.inputter import dict_to_vocabs
from onmt.model_builder import build_base_model
from onmt.translate.beam_search import BeamSearch, GNMTGlobalScorer
from onmt.translate.translator import Translator as Search
from onmt.utils.parse import ArgumentParser

import onmt_optimize
from formats import checkpoint
from lambda_inference import Model, Unavailable
from translator import Hypothesis, cap_length


def load(model: Model, threads: int) -> "OpenNMT":
    """Return the engine with the model's one ``*.pt`` loaded."""
    return OpenNMT(model, threads)


class OpenNMT:
    """An OpenNMT-py encoder-decoder whose answers are the same at any batch size."""

    def __init__(self, model: Model, threads: int) -> None:
        torch.set_num_threads(threads)
        parts = checkpoint.read(model.files)
        self.vocabs = dict_to_vocabs(parts["vocab"])
        try:
            network = _build_network(parts, self.vocabs)
        except (ValueError, LookupError, AttributeError, AssertionError, TypeError, RuntimeError) as error:
            raise Unavailable(
                f"the checkpoint of {model.manifest.name} does not fit its own options: {error}; publish the "
                "file that onmt_train saved"
            ) from error
        network.eval()
        for module in network.modules():
            if hasattr(module, "dropout_p"):
                module.dropout_p = 0.0
        self.beams = onmt_optimize.optimize(network, model.manifest.precision)
        self.search = Search(network, self.vocabs, global_scorer=GNMTGlobalScorer(1.0, 0.0, "avg", "none"))
        self.positions = _positions(network)

    @property
    def vocabularies(self) -> tuple[list[str], list[str]]:
        """The tokens of the source and the target, special ones included."""
        return self.vocabs["src"].ids_to_tokens, self.vocabs["tgt"].ids_to_tokens

    def translate(
        self, batch: Sequence[list[str]], beam: int, n_best: int, attention: bool, check: Callable[[], None]
    ) -> list[list[Hypothesis]]:
        """Return the n best hypotheses of each tokenised sentence, calling check at every step."""
        vocabulary = self.vocabs["src"]
        lengths = torch.tensor([len(tokens) for tokens in batch])
        source = torch.full((len(batch), int(lengths.max()), 1), vocabulary[DefaultTokens.PAD])
        for row, tokens in enumerate(batch):
            source[row, : len(tokens), 0] = torch.tensor(vocabulary(tokens))
        target = self.vocabs["tgt"]
        strategy = BatchInvariantBeamSearch(
            caps=[cap_length(len(tokens)) for tokens in batch],
            check=check,
            beam_size=beam,
            batch_size=len(batch),
            pad=target.lookup_token(DefaultTokens.PAD),
            bos=target.lookup_token(DefaultTokens.BOS),
            eos=target.lookup_token(DefaultTokens.EOS),
            unk=target.lookup_token(DefaultTokens.UNK),
            start=target.lookup_token(self.vocabs["decoder_start_token"]),
            n_best=n_best,
            global_scorer=self.search.global_scorer,
            min_length=0,
            return_attention=attention,
            block_ngram_repeat=0,
            exclusion_tokens=set(),
            stepwise_penalty=None,
            ratio=0.0,
            ban_unk_token=False,
        )
        self.search.beam_size = beam
        self.beams.search = strategy
        try:
            with torch.inference_mode():
                found = self.search._translate_batch_with_strategy(  # noqa: SLF001 - below translate_batch
                    {"src": source, "srclen": lengths}, strategy
                )
        finally:
            self._drop_search()
        return [
            [self._hypothesis(*one) for one in zip(*best, strict=True)]
            for best in zip(found["predictions"], found["scores"], found["attention"], strict=True)
        ]

    def _drop_search(self) -> None:
        """Release the last batch's search, with the decoder's keys and values.

        OpenNMT-py 3.5.1 keeps them until the next batch's first step, and before that repeats them
        beam times: after a long sentence the next request took a gigabyte more.
        """
        self.beams.search = None
        decoder = self.search.model.decoder
        if hasattr(decoder, "_init_cache"):
            decoder._init_cache(torch.empty(0, 1, 0))  # noqa: SLF001

    def _hypothesis(self, prediction: torch.Tensor, score: Any, attention: Any) -> Hypothesis:
        tokens = [self.vocabs["tgt"].lookup_index(index) for index in prediction.tolist()]
        if tokens and tokens[-1] == DefaultTokens.EOS:
            tokens.pop()
        rows = None
        if isinstance(attention, torch.Tensor):
            weights = attention[: len(tokens)].contiguous()
            # Without numpy, which the layer does not have.
            rows = ctypes.string_at(weights.data_ptr(), weights.numel() * weights.element_size())
        return Hypothesis(tokens, float(score), rows)


class BatchInvariantBeamSearch(BeamSearch):  # type: ignore[misc]
    """OpenNMT-py's beam search, in which a sentence's answer does not depend on its neighbours.

    OpenNMT-py 3.5.1 differs in two ways: it ends every hypothesis at the length cap of the batch's
    longest sentence, and it cuts attention maps at the length of another sentence, because it
    indexes ``src_len``, which it has repeated beam times, without the beam. Both are right at
    batch size 1, which is the reference.
    """

    src_len: torch.Tensor

    def __init__(self, *, caps: list[int], check: Callable[[], None], **options: Any) -> None:
        super().__init__(max_length=max(caps), **options)
        self._caps = caps
        self._check = check

    def advance(self, log_probs: torch.Tensor, attn: torch.Tensor | None) -> None:
        """Take a step after a check of the deadline."""
        self._check()
        super().advance(log_probs, attn)

    def ensure_max_length(self) -> None:
        """End the beams that have reached their own cap; called at the end of every step."""
        length = len(self) - 1  # without the start token
        for row, sentence in enumerate(self._batch_offset.tolist()):
            if length == self._caps[sentence]:
                self.is_finished_list[row] = [True] * self.parallel_paths

    def beams_non_finished(
        self, i: int, scores: list[list[float]], predictions: torch.Tensor, attention: Any, step: int
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


class _Copies:
    """A tensor whose items are copies."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self._tensor = tensor

    def __getitem__(self, place: Any) -> torch.Tensor:
        return self._tensor[place].clone()


def _build_network(parts: dict[str, Any], vocabs: dict[str, Any]) -> Any:
    """Return the network of a checkpoint, with its weights."""
    options = ArgumentParser.ckpt_model_opts(parts["opt"])
    ArgumentParser.update_model_opts(options)
    ArgumentParser.validate_model_opts(options)
    with onmt_compat.skip_initialisation():
        network = build_base_model(options, vocabs)
    network.load_state_dict(parts, precision=torch.float32, device=torch.device("cpu"), strict=True)
    return network


def _positions(network: Any) -> int:
    """Return how many positions the encoder has; a million if it has no position encodings."""
    embeddings = network.encoder.embeddings
    return int(embeddings.make_embedding.pe.pe.size(0)) if embeddings.position_encoding else 1_000_000
