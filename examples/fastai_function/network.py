"""Networks as data: a list of fastai's layers with their arguments.

::

    [["ConvLayer", {"ni": 1, "nf": 16}], ["AdaptiveAvgPool", {}], ["Flatten", {}], …]

Training and inference build the same network from it, and nothing in it is executed.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fastai.layers import AdaptiveAvgPool, ConvLayer, Flatten, LinBnDrop, MaxPool, ResBlock
from torch import nn

LAYERS: Mapping[str, Callable[..., nn.Module]] = {
    layer.__name__: layer for layer in (AdaptiveAvgPool, ConvLayer, Flatten, LinBnDrop, MaxPool, ResBlock)
}
"""The layers that a network may have (https://docs.fast.ai/layers.html)."""


def build(layers: Sequence[Sequence[Any]]) -> nn.Sequential:
    """Return the network that a list describes, with random weights.

    Raises:
        ValueError: the list names another layer, or arguments that a layer does not take.

    """
    built = []
    for number, entry in enumerate(layers):
        try:
            name, arguments = entry
            if name not in LAYERS:
                raise ValueError(f"layer {number} is not one of {', '.join(LAYERS)}")
            built.append(LAYERS[name](**arguments))
        except (TypeError, RuntimeError, AttributeError) as error:
            raise ValueError(f"layer {number} cannot be built ({type(error).__name__})") from error
    return nn.Sequential(*built)
