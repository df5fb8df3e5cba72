"""What OpenNMT-py 3.5.1 needs of torch before it is imported, for a short cold start.

Import this module before onmt. What its packages need of files is a matter of the layer's recipe.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

# A layer has neither sources nor numpy; torch tells that 26 times while it is imported, and needs neither.
warnings.filterwarnings("ignore", message="Unable to retrieve source for @torch.jit._overload")
warnings.filterwarnings("ignore", message="Failed to initialize NumPy")

warnings.filterwarnings("ignore", message="torch.quantize_per_tensor, torch.quantize_per_channel")

import torch.nn.utils  # noqa: E402


def _build_directly(module_class: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Construct a layer, as ``torch.nn.utils.skip_init`` does by way of a meta tensor.

    That way imports 820 modules and takes a second. Goes when torch's meta tensors are cheap.
    """
    return module_class(*args, **kwargs)


torch.nn.utils.skip_init = _build_directly  # type: ignore[assignment]


@contextmanager
def uninitialised() -> Iterator[None]:
    """Let layers be built without first values, so that weights which replace them take no second memory."""
    kinds = (torch.nn.Linear, torch.nn.Embedding, torch.nn.LayerNorm)
    kept = {kind: kind.reset_parameters for kind in kinds}
    for kind in kinds:
        kind.reset_parameters = lambda _: None  # type: ignore[method-assign]
    try:
        yield
    finally:
        for kind, reset in kept.items():
            kind.reset_parameters = reset  # type: ignore[method-assign]


# Decorators of torch.cuda.amp that onmt uses for training on a GPU.
warnings.filterwarnings("ignore", category=FutureWarning, module="onmt")
