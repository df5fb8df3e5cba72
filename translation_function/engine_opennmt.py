"""OpenNMT-py's beam search on torch, over a model that is only in memory."""

import ctypes
import functools
from collections.abc import Callable, Sequence
from typing import Any

import onmt_compat  # noqa: F401 - first: onmt imports what it changes

# isort: split
import torch
from onmt.constants import DefaultTokens
from onmt.inputters.inputter import dict_to_vocabs
from onmt.model_builder import build_base_model
from onmt.translate.beam_search import GNMTGlobalScorer
from onmt.translate.translator import Translator as Search
from onmt.utils.parse import ArgumentParser

import onmt_optimize
from decoding import DEFAULT, Decoding
from formats import checkpoint
from lambda_inference import BadRequest, Model, Unavailable, tensors
from onmt_search import BatchInvariantBeamSearch, Sampling
from translator import Hypothesis


def load(model: Model, threads: int) -> "OpenNMT":
    """Return the engine with the model's one ``*.pt`` loaded."""
    return OpenNMT(model, threads)


class OpenNMT:
    """An OpenNMT-py encoder-decoder whose answers are the same at any batch size."""

    unknown = DefaultTokens.UNK

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
        self,
        batch: Sequence[list[str]],
        beam: int,
        n_best: int,
        attention: bool,
        check: Callable[[], None],
        decoding: Decoding = DEFAULT,
        prefixes: Sequence[list[str]] = (),
    ) -> list[list[Hypothesis]]:
        """Return the n best hypotheses of each tokenised sentence, calling check at every step."""
        if attention and not self.search.model.decoder.attentional:
            raise BadRequest(
                "the model has no attention; leave out return_attention and replace_unk",
                field="return_attention",
            )
        vocabulary = self.vocabs["src"]
        lengths = torch.tensor([len(tokens) for tokens in batch])
        source = torch.full((len(batch), int(lengths.max()), 1), vocabulary[DefaultTokens.PAD])
        for row, tokens in enumerate(batch):
            source[row, : len(tokens), 0] = torch.tensor(vocabulary(tokens))
        strategy = self._make_strategy(batch, decoding, prefixes, beam_size=beam, n_best=n_best, check=check,
                                       return_attention=attention)  # fmt: skip
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

    def _make_strategy(
        self, batch: Sequence[list[str]], decoding: Decoding, prefixes: Sequence[list[str]], **options: Any
    ) -> BatchInvariantBeamSearch:
        """Return the search that a decoding describes."""
        target = self.vocabs["tgt"]
        scorer = self.search.global_scorer
        if (decoding.length_penalty, decoding.alpha) != ("avg", 1.0):
            # A penalty to the power of 0 does nothing; OpenNMT-py warns of it.
            penalty = decoding.length_penalty if decoding.alpha else "none"
            scorer = GNMTGlobalScorer(decoding.alpha or 1.0, 0.0, penalty, "none")
        kind: Any = BatchInvariantBeamSearch
        if decoding.samples:
            seeds = None if decoding.takes_likeliest else [decoding.item_seed(tokens) for tokens in batch]
            kind = functools.partial(
                Sampling,
                seeds=seeds,
                topk=decoding.sampling_topk,
                topp=decoding.sampling_topp,
                temperature=decoding.sampling_temp,
            )
        strategy: BatchInvariantBeamSearch = kind(
            caps=decoding.caps(batch, prefixes, self.positions),
            prefixes=[target(prefix) for prefix in prefixes] or [[]] * len(batch),
            batch_size=len(batch),
            pad=target.lookup_token(DefaultTokens.PAD),
            bos=target.lookup_token(DefaultTokens.BOS),
            eos=target.lookup_token(DefaultTokens.EOS),
            unk=target.lookup_token(DefaultTokens.UNK),
            start=target.lookup_token(self.vocabs["decoder_start_token"]),
            global_scorer=scorer,
            min_length=decoding.min_length,
            block_ngram_repeat=decoding.block_ngram_repeat,
            exclusion_tokens=set(),
            stepwise_penalty=None,
            ratio=0.0,
            ban_unk_token=decoding.ban_unk,
            **options,
        )
        return strategy

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
        truncated = tokens[-1:] != [DefaultTokens.EOS]
        if not truncated:
            tokens.pop()
        rows = None
        if isinstance(attention, torch.Tensor):
            weights = attention[: len(tokens)].contiguous()
            # Without numpy, which the layer does not have.
            rows = ctypes.string_at(weights.data_ptr(), weights.numel() * weights.element_size())
        return Hypothesis(tokens, float(score), rows, truncated)


def _build_network(parts: dict[str, Any], vocabs: dict[str, Any]) -> Any:
    """Return the network of a checkpoint, with its weights."""
    options = ArgumentParser.ckpt_model_opts(parts["opt"])
    ArgumentParser.update_model_opts(options)
    ArgumentParser.validate_model_opts(options)
    with tensors.skip_initialisation():
        network = build_base_model(options, vocabs)
    network.load_state_dict(parts, precision=torch.float32, device=torch.device("cpu"), strict=True)
    return network


def _positions(network: Any) -> int:
    """Return how many positions the encoder has; a million if it has no position encodings."""
    embeddings = network.encoder.embeddings
    return int(embeddings.make_embedding.pe.pe.size(0)) if embeddings.position_encoding else 1_000_000
