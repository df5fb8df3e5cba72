"""What OpenNMT-py 3.5.1 needs before it is imported: for torch 2.13, and for a short cold start.

Import this module before onmt. Each mend names the upstream fault and when it can go.
"""

import sys
import types
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import torch.nn.utils


class Vocab:
    """A vocabulary, as far as inference asks pyonmttok's class of the same name.

    pyonmttok is 49 MB, and inference uses nothing else of it. Goes when onmt makes it optional.
    """

    def __init__(self, tokens: Iterable[str]) -> None:
        self.ids_to_tokens = list(dict.fromkeys(tokens))
        self.tokens_to_ids = {token: index for index, token in enumerate(self.ids_to_tokens)}
        self.default_id = 0

    def __len__(self) -> int:
        return len(self.ids_to_tokens)

    def __contains__(self, token: str) -> bool:
        return token in self.tokens_to_ids

    def __getitem__(self, token: str) -> int:
        return self.lookup_token(token)

    def __call__(self, tokens: Iterable[str]) -> list[int]:
        """Return the indices of tokens."""
        return [self.lookup_token(token) for token in tokens]

    def lookup_token(self, token: str) -> int:
        """Return a token's index, that of the unknown token when it has none."""
        return self.tokens_to_ids.get(token, self.default_id)

    def lookup_index(self, index: int) -> str:
        """Return the token at an index."""
        return self.ids_to_tokens[index]


def _module(name: str, **contents: Any) -> None:
    """Put a stand-in where an import will look, unless the real one is in use."""
    if name not in sys.modules:
        module = types.ModuleType(name)
        module.__dict__.update(contents)
        sys.modules[name] = module


def _build_directly(module_class: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Construct a layer, as ``torch.nn.utils.skip_init`` does by way of a meta tensor.

    That way imports 820 modules and takes a second. Goes when torch's meta tensors are cheap.
    """
    return module_class(*args, **kwargs)


torch.nn.utils.skip_init = _build_directly  # type: ignore[assignment]

# Decorators of torch.cuda.amp that onmt uses for training on a GPU.
warnings.filterwarnings("ignore", category=FutureWarning, module="onmt")

_module("pyonmttok", Vocab=Vocab, build_vocab_from_tokens=lambda tokens, **_: Vocab(tokens))

# Transforms prepare training data. Importing the package imports all of them, and four need
# spacy, pyahocorasick, rapidfuzz and fasttext. Goes when onmt imports transforms on demand.
_module(
    "onmt.transforms",
    AVAILABLE_TRANSFORMS={},
    TransformPipe=type("TransformPipe", (), {}),
    get_transforms_cls=lambda _: {},
    make_transforms=lambda *_: {},
)
_module("onmt.transforms.features", InferFeatsTransform=type("InferFeatsTransform", (), {}))
