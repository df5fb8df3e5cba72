"""What modules register that are imported late, where others see it without importing them."""

import atexit
import sys

import torch
import torch.library
from torch.utils import _pytree as pytree

lib = torch.library.Library("export", "FRAGMENT")
lib.define("access_subclass_inner_tensor(Tensor src_subclass_tensor, str attr) -> Tensor")


@torch.library.impl(lib, "access_subclass_inner_tensor", "Autograd")
@torch.library.impl(lib, "access_subclass_inner_tensor", "Python")
def _access_subclass_inner_tensor(src_subclass_tensor: torch.Tensor, attr: str) -> torch.Tensor:
    from torch.export.custom_ops import _access_subclass_inner_tensor as access

    return access(src_subclass_tensor, attr)


@torch.library.custom_op("debug_mode_ops::annotate", mutates_args=())
def _annotate(tag: str) -> None:  # noqa: ARG001 - DebugMode.__torch_dispatch__ reads it
    return None


@_annotate.register_fake
def _annotate_fake(tag: str) -> None:  # noqa: ARG001
    return None


pytree.register_pytree_node(
    torch.Size,
    lambda xs: (list(xs), None),
    lambda xs, _: tuple(xs),
    flatten_with_keys_fn=lambda xs: ([(pytree.SequenceKey(i), x) for i, x in enumerate(xs)], None),
    serialized_type_name="torch.Size",
)


def dump_cache_stats() -> None:
    """Log what a module that was imported has to say of its cache."""
    if module := sys.modules.get("torch._subclasses.fake_tensor"):
        module.dump_cache_stats()


dump_cache_stats.__module__ = "torch._subclasses.fake_tensor"  # it stands for that module's function
atexit.register(dump_cache_stats)


def _set_python_exit_flag() -> None:
    """Tell a module that was imported that the process ends."""
    if module := sys.modules.get("torch.utils.data._utils"):
        module._set_python_exit_flag()  # noqa: SLF001 - it is the function that this one stands for


_set_python_exit_flag.__module__ = "torch.utils.data._utils"  # it stands for that module's function
atexit.register(_set_python_exit_flag)
