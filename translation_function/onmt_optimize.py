"""Faster modules for an OpenNMT-py network on a CPU, which compute the same."""

import math
import os
from typing import Any

import torch
from onmt.decoders.transformer import TransformerDecoder
from onmt.modules.multi_headed_attn import MultiHeadedAttention
from onmt.translate.beam_search import BeamSearch
from torch import Tensor, nn

_LARGE = 4096
"""Outputs of a layer, such as a vocabulary's, from which a packed weight is worth its second copy."""


class Beams:
    """The search that a network decodes for; set before each batch."""

    search: BeamSearch | None = None


def optimize(network: Any, precision: str) -> Beams:
    """Replace a loaded network's modules by faster ones that compute the same.

    Args:
        network: OpenNMT-py's; modules that a transformer does not have stay.
        precision: int8 computes linear layers with 8-bit weights; any other in float32.

    Returns:
        The object that has to know the search before each batch.

    """
    beams = Beams()
    if isinstance(network.decoder, TransformerDecoder):
        for layer in network.decoder.transformer_layers:
            if _is_standard(layer.context_attn):
                layer.context_attn = SharedAttention(layer.context_attn, beams)
    for module in list(network.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Linear and (faster := _optimize_linear(child, precision)) is not None:
                setattr(module, name, faster)
    return beams


def _is_standard(attention: MultiHeadedAttention) -> bool:
    return bool(
        attention.num_kv == 0 and attention.max_relative_positions == 0 and attention.parallel_gpu == 1
    )


def _optimize_linear(layer: nn.Linear, precision: str) -> nn.Module | None:
    if precision == "int8":
        # A single input, as a coverage has it, leaves no room for the range of both signs.
        return Int8Linear(layer) if layer.in_features > 1 else None
    # torch has private operators for oneDNN's layout, on x86-64 alone.
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
        # The decoder empties it before the first step, and reorders the keys it knows; "shared" is not one.
        self.layer_cache: tuple[bool, dict[str, Any]] = (True, {"keys": torch.empty(0)})

    def forward(
        self, key: Tensor, _: Tensor, query: Tensor, mask: Tensor, **__: Any
    ) -> tuple[Tensor, Tensor]:
        """Return context vectors and attention.

        Args:
            key: the encoder's output, beams x source x width; needed at the first step.
            query: beams x 1 x width.
            mask: true at padding, beams x 1 x 1 x source.

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
            remaining = torch.isin(cache["sentences"], sentences)
            cache["shared"] = [tensor[remaining] for tensor in cache["shared"]]
            cache["sentences"] = sentences
        keys, values = cache["shared"]
        count = len(query)
        queries = self._heads(self.linear_query(query).view(count // beam, beam, -1))
        scores = torch.matmul(queries / math.sqrt(self._size), keys.transpose(2, 3))
        attention = scores.masked_fill_(mask[::beam], -1e18).softmax(-1)
        context = torch.matmul(attention, values).transpose(1, 2).reshape(count, 1, -1)
        return self.final_linear(context), attention.transpose(1, 2).reshape(count, -1, 1, attention.size(-1))

    def _heads(self, tensor: Tensor) -> Tensor:
        """Reshape sentences x length x width to sentences x heads x length x size."""
        return tensor.view(*tensor.shape[:2], -1, self._size).transpose(1, 2)


class PackedLinear(nn.Module):
    """A linear layer in float32 whose weight is laid out as oneDNN computes with it."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        with torch.no_grad():
            self._weight = torch.ops.mkldnn._reorder_linear_weight(layer.weight)  # noqa: SLF001
        self._bias = layer.bias

    def forward(self, batch: Tensor) -> Tensor:
        """Map rows x inputs to rows x outputs."""
        packed: Tensor = torch.ops.mkldnn._linear_pointwise(  # noqa: SLF001
            batch, self._weight, self._bias, "none", [], ""
        )
        return packed


class Int8Linear(nn.Module):
    """A linear layer with 8-bit weights, a scale for each output, and its input quantised row by row.

    torch takes one scale for all rows, which would make a sentence's answer depend on its neighbours. So each
    row is scaled to at most 1, and an additional row fixes the range of all at -1 to 1.
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
        """Map ... x inputs to ... x outputs."""
        rows = batch.reshape(-1, batch.size(-1))
        scales = rows.abs().amax(1, keepdim=True).clamp_(min=1e-12)
        scaled = torch.cat((rows / scales, self._range))
        computed = torch.ops.quantized.linear_dynamic(scaled, self._packed, True)[:-1]
        outputs = computed * scales if self._bias is None else torch.addcmul(self._bias, computed, scales)
        return outputs.view(*batch.shape[:-1], -1)
