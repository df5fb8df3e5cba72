"""Changes to torch that OpenNMT-py 3.5.1 needs for a short cold start.

Import this module before onmt. Changes to the packages' files stand in the layer's recipe.
"""

import warnings
from collections.abc import Callable
from typing import Any

from lambda_inference import tensors

tensors.ignore_import_warnings()
warnings.filterwarnings("ignore", message="torch.quantize_per_tensor, torch.quantize_per_channel")
# Decorators of torch.cuda.amp that onmt uses for training on a GPU.
warnings.filterwarnings("ignore", category=FutureWarning, module="onmt")

import torch.nn.utils  # noqa: E402


def _build_directly(module_class: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Construct a layer without a meta tensor, which ``torch.nn.utils.skip_init`` uses.

    A meta tensor imports 820 modules and takes a second. This can go when it is cheap in torch.
    """
    return module_class(*args, **kwargs)


torch.nn.utils.skip_init = _build_directly  # type: ignore[assignment]
