"""What makes an OpenNMT-py network fast on a processor, while it computes the same."""

import math
import os
from typing import Any

import torch
from onmt.decoders.transformer import TransformerDecoder
from onmt.modules.multi_headed_attn import MultiHeadedAttention
from onmt.translate.beam_search import BeamSearch
from torch import Tensor, nn

_LARGE = 4096
"""Outputs from which packing a weight in advance is worth a second copy of it: those of a vocabulary."""


class Beams:
    """The search that a network is decoding for."""

    search: BeamSearch | None = None


def quicken(network: Any, precision: str) -> Beams:
    """Replace a loaded network's modules by faster ones of the same function.

    Args:
        network: OpenNMT-py's; what is not a transformer's stays as it is.
        precision: int8 computes linear layers with 8-bit weights; any other in float32.

    Returns:
        what has to know the search before each batch.

    """
    beams = Beams()
    if isinstance(network.decoder, TransformerDecoder):
        for layer in network.decoder.transformer_layers:
            if _plain(layer.context_attn):
                layer.context_attn = SharedAttention(layer.context_attn, beams)
    for module in list(network.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Linear and (made := _linear(child, precision)) is not None:
                setattr(module, name, made)
    return beams


def _plain(attention: MultiHeadedAttention) -> bool:
    return bool(
        attention.num_kv == 0 and attention.max_relative_positions == 0 and attention.parallel_gpu == 1
    )


def _linear(layer: nn.Linear, precision: str) -> nn.Module | None:
    if precision == "int8":
        return Int8Linear(layer)
    # The layout of oneDNN, which torch has private operators for. Arm's processors are served otherwise.
    if layer.out_features >= _LARGE and os.uname().machine == "x86_64":
        return PackedLinear(layer)
    return None


class SharedAttention(nn.Module):
    """A decoder's attention to the source, whose keys and values all beams of a sentence share.

    OpenNMT-py 3.5.1 keeps them for each beam, and moves them after every step to where the beams went,
    which is another beam of the same sentence.
    """

    def __init__(self, original: MultiHeadedAttention, beams: Beams) -> None:
        super().__init__()
        self.linear_query, self.linear_keys = original.linear_query, original.linear_keys
        self.linear_values, self.final_linear = original.linear_values, original.final_linear
        self._size = original.dim_per_head
        self._beams = beams
        # The decoder empties it before the first step, and moves what it knows of; it does not know "shared".
        self.layer_cache: tuple[bool, dict[str, Any]] = (True, {"keys": torch.empty(0)})

    def forward(
        self, key: Tensor, _: Tensor, query: Tensor, mask: Tensor, **__: Any
    ) -> tuple[Tensor, Tensor]:
        """Return context vectors and attention.

        Args:
            key: what the encoder gave, beams x source x width; needed at the first step.
            query: beams x 1 x width.
            mask: true where there is no source, beams x 1 x 1 x source.

        Returns:
            beams x 1 x width, and beams x heads x 1 x source.

        """
        search = self._beams.search
        assert search is not None  # noqa: S101 - set before each batch
        beam, sentences = search.beam_size, search.batch_offset
        cache = self.layer_cache[1]
        if "shared" not in cache:
            source = key[::beam]
            cache["shared"] = [self._heads(self.linear_keys(source)), self._heads(self.linear_values(source))]
            cache["sentences"] = sentences
        elif len(cache["sentences"]) != len(sentences):
            left = torch.isin(cache["sentences"], sentences)
            cache["shared"] = [tensor[left] for tensor in cache["shared"]]
            cache["sentences"] = sentences
        keys, values = cache["shared"]
        count = len(query)
        queries = self._heads(self.linear_query(query).view(count // beam, beam, -1))
        scores = torch.matmul(queries / math.sqrt(self._size), keys.transpose(2, 3))
        attention = scores.masked_fill_(mask[::beam], -1e18).softmax(-1)
        context = torch.matmul(attention, values).transpose(1, 2).reshape(count, 1, -1)
        return self.final_linear(context), attention.transpose(1, 2).reshape(count, -1, 1, attention.size(-1))

    def _heads(self, tensor: Tensor) -> Tensor:
        """Return sentences x heads x length x size of what is sentences x length x width."""
        return tensor.view(*tensor.shape[:2], -1, self._size).transpose(1, 2)


class PackedLinear(nn.Module):
    """A linear layer in float32 whose weight is laid out as oneDNN computes with it."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        with torch.no_grad():
            self._weight = torch.ops.mkldnn._reorder_linear_weight(layer.weight)  # noqa: SLF001
        self._bias = layer.bias

    def forward(self, batch: Tensor) -> Tensor:
        """Return rows x outputs of what is rows x inputs."""
        packed: Tensor = torch.ops.mkldnn._linear_pointwise(  # noqa: SLF001
            batch, self._weight, self._bias, "none", [], ""
        )
        return packed


class Int8Linear(nn.Module):
    """A linear layer with 8-bit weights, a scale for each output, and its input quantised row by row.

    torch takes one scale for all rows, by which a sentence's answer would depend on its neighbours. So each
    row is scaled to at most 1, and one row more has both ends of what is then the range of all.
    """

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        weight = layer.weight.detach()
        scales = weight.abs().amax(1).clamp(min=1e-12).double() / 127
        zeros = torch.zeros(len(weight), dtype=torch.long)
        quantised = torch.quantize_per_channel(weight, scales, zeros, 0, torch.qint8)
        self._packed = torch.ops.quantized.linear_prepack(quantised, None)
        self._bias = layer.bias
        self._range = torch.zeros(1, weight.size(1))
        self._range[0, :2] = torch.tensor([-1.0, 1.0])

    def forward(self, batch: Tensor) -> Tensor:
        """Return ... x outputs of what is ... x inputs."""
        rows = batch.reshape(-1, batch.size(-1))
        scales = rows.abs().amax(1, keepdim=True).clamp_(min=1e-12)
        scaled = torch.cat((rows / scales, self._range))
        computed = torch.ops.quantized.linear_dynamic(scaled, self._packed, True)[:-1]
        outputs = computed * scales if self._bias is None else torch.addcmul(self._bias, computed, scales)
        return outputs.view(*batch.shape[:-1], -1)
