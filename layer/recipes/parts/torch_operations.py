"""Operations of torch beyond a function's prediction; their answers are those without late imports."""

import hashlib
import io
import re
from collections.abc import Callable
from types import FunctionType
from typing import Any

import torch
from torch import nn
from torch.nn import functional


def answer() -> dict[str, Any]:
    """Return the digest of each operation's result, or its error, by the operation's name.

    A layer lacks what nothing opened, so some of them end with an error; it is the same one.
    """
    torch.set_num_threads(1)
    found = {}
    for name, operation in sorted(globals().items()):
        if name.startswith("do_"):
            torch.manual_seed(0)
            found[name.removeprefix("do_")] = _describe(operation)
    return found


def _describe(operation: Callable[[], Any]) -> str:
    try:
        return _digest(operation())
    except Exception as error:  # noqa: BLE001 - it is the same in both trees, or a difference
        return _clean(f"{type(error).__name__}: {error}"[:300])


def _digest(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        value = value.detach()
        if value.is_quantized:
            value = value.int_repr()
        data = bytes(value.to_dense().contiguous().view(-1).view(torch.uint8).tolist())
        return f"{value.dtype} {list(value.shape)} {hashlib.sha256(data).hexdigest()[:16]}"
    if isinstance(value, FunctionType):
        return _describe(value)
    if isinstance(value, dict):
        return {str(key): _digest(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_digest(one) for one in value]
    return _clean(str(value))


def _clean(text: str) -> str:
    """Return a text without addresses and paths."""
    return re.sub(r"0x[0-9a-f]+|/[^\s'\"]+", "…", text)


def do_linear() -> Any:
    """Call layers of every kind that an inference meets."""
    image, text = torch.randn(1, 3, 8, 8), torch.randn(2, 5, 4)
    return [
        nn.Linear(4, 3)(text),
        nn.Conv2d(3, 4, 3)(image),
        nn.BatchNorm2d(3).eval()(image),
        nn.LSTM(4, 3, batch_first=True)(text),
        nn.GRU(4, 3)(text),
        nn.MultiheadAttention(4, 2)(text, text, text),
        nn.TransformerEncoderLayer(4, 2, batch_first=True).eval()(text),
        nn.Embedding(9, 4)(torch.arange(5)),
        nn.LayerNorm(4)(text),
        functional.interpolate(image, scale_factor=2, mode="bilinear"),
        functional.scaled_dot_product_attention(text, text, text),
    ]


def do_linalg() -> Any:
    """Call linear algebra, transforms and special functions."""
    matrix = torch.randn(4, 4)
    return [
        torch.linalg.inv(matrix), torch.fft.rfft(matrix).real, torch.special.erf(matrix),
        torch.einsum("ij,jk->ik", matrix, matrix), torch.topk(matrix, 2),
        torch.lobpcg(matrix @ matrix.T)[0].abs(),
    ]  # fmt: skip


def do_autograd() -> Any:
    """Differentiate, and check a gradient."""
    x = torch.randn(3, requires_grad=True)
    (x * x).sum().backward()
    y = torch.randn(2, dtype=torch.float64, requires_grad=True)
    return [
        x.grad,
        lambda: torch.autograd.gradcheck(torch.sin, (y,)),
        lambda: torch.autograd.functional.jacobian(torch.sin, x),
    ]


def do_vmap() -> Any:
    """Call functions of torch.func by both of their names."""
    x = torch.randn(3, 4)
    return [
        torch.vmap is torch.func.vmap,
        lambda: torch.vmap(torch.sin)(x),
        lambda: torch.func.vmap(torch.sum)(x),
    ]


def do_func() -> Any:
    """Differentiate functions."""
    x = torch.randn(3)

    def square(y: torch.Tensor) -> torch.Tensor:
        return (y * y).sum()

    module = nn.Linear(2, 2)
    return [
        lambda: torch.func.grad(square)(x),
        lambda: torch.func.jacrev(torch.sin)(x),
        lambda: torch.func.hessian(square)(x),
        lambda: torch.func.functional_call(module, dict(module.named_parameters()), (torch.ones(1, 2),)),
    ]


def do_cond() -> Any:
    """Look higher-order operators up before anything has imported them."""
    return [str(torch.ops.higher_order.cond), torch.cond is torch._higher_order_ops.cond]  # noqa: SLF001


def do_higher_order() -> Any:
    """Look each higher-order operator up, and one that does not exist."""
    names = (
        "while_loop",
        "scan",
        "map_impl",
        "flex_attention",
        "with_effects",
        "_export_tracepoint",
        "print",
    )
    found = [str(getattr(torch.ops.higher_order, name)) for name in names]
    return [*found, hasattr(torch.ops.higher_order, "nothing")]


def do_operators() -> Any:
    """Call the operators whose implementations are imported late."""
    return [
        lambda: torch.ops.debug_mode_ops.annotate("here"),
        lambda: torch.ops.export.access_subclass_inner_tensor(torch.ones(1), "x"),
    ]


def do_pytree() -> Any:
    """Flatten what is registered."""
    from torch.utils import _pytree

    return [
        _pytree.tree_leaves(torch.Size([1, 2])),
        _pytree.tree_leaves({"a": [1]}),
        _pytree.tree_map(lambda x: x + 1, torch.topk(torch.ones(2), 1)),
    ]


def do_symbolic_trace() -> Any:
    """Trace a function, and run its graph."""
    graph = torch.fx.symbolic_trace(lambda x: torch.relu(x) + 1)
    return [graph.code, graph(torch.ones(2)), lambda: torch.fx.Interpreter(graph).run(torch.ones(2))]


def do_passes() -> Any:
    """Call a pass by its path alone."""
    graph = torch.fx.symbolic_trace(lambda x: torch.relu(x) + 1)
    torch.fx.passes.shape_prop.ShapeProp(graph).propagate(torch.ones(2))
    return [str(node.meta["tensor_meta"].shape) for node in graph.graph.nodes if "tensor_meta" in node.meta]


def do_make_fx() -> Any:
    """Trace operators."""
    return torch.fx.experimental.proxy_tensor.make_fx(torch.sin)(torch.ones(2)).code


def do_export() -> Any:
    """Export a module."""
    return str(torch.export.export(nn.Linear(2, 2), (torch.ones(1, 2),)).graph)


def do_compile() -> Any:
    """Compile, which a layer does not have."""
    return torch.compile(torch.sin, backend="eager")(torch.ones(2))


def do_fake() -> Any:
    """Compute shapes without data."""
    with torch._subclasses.FakeTensorMode():  # noqa: SLF001
        return list((torch.empty(3, 4) @ torch.empty(4, 5)).shape)


def do_checkpoint() -> Any:
    """Call a module of torch.utils by its path alone."""
    x = torch.ones(2, requires_grad=True)
    return torch.utils.checkpoint.checkpoint(torch.sin, x, use_reentrant=False)


def do_dispatch_mode() -> Any:
    """See operators, and attend while a mode is active."""
    from torch.utils._python_dispatch import TorchDispatchMode

    seen: list[str] = []

    class Mode(TorchDispatchMode):
        def __torch_dispatch__(self, function: Any, _: Any, arguments: Any = (), named: Any = None) -> Any:
            seen.append(str(function))
            return function(*arguments, **(named or {}))

    text = torch.randn(1, 2, 4)
    with Mode():
        result = nn.TransformerEncoderLayer(4, 2, batch_first=True).eval()(text)
    return [result, seen]


def do_quantize() -> Any:
    """Quantise layers, dynamically and by their old names."""
    module = nn.Sequential(nn.Linear(8, 8), nn.ReLU())
    quantized = torch.ao.quantization.quantize_dynamic(module, {nn.Linear}, dtype=torch.qint8)
    return [
        quantized(torch.randn(2, 8)),
        torch.quantization.quantize_dynamic is torch.ao.quantization.quantize_dynamic,
        str(nn.quantized.Linear(2, 2)),
        str(nn.intrinsic.ConvReLU2d(nn.Conv2d(1, 1, 1), nn.ReLU())),
        str(nn.qat.Linear),
        str(nn.quantizable.LSTM),
        torch.quantize_per_tensor(torch.randn(4), 0.1, 0, torch.qint8),
    ]


def do_jit() -> Any:
    """Trace, store and load a function and a module."""

    def trace(what: Any) -> Any:
        traced, file = torch.jit.trace(what, torch.randn(1, 3)), io.BytesIO()
        torch.jit.save(traced, file)
        file.seek(0)
        return [traced.code, torch.jit.load(file)(torch.ones(1, 3))]

    return [lambda: trace(nn.ReLU()), lambda: trace(nn.Linear(3, 4).eval())]


def do_serialization() -> Any:
    """Store and load tensors, modules' states and nested tensors."""

    def store(value: Any) -> Any:  # and load
        file = io.BytesIO()
        torch.save(value, file)
        file.seek(0)
        return torch.load(file, weights_only=True)

    ragged = [torch.ones(2, 3), torch.ones(1, 3)]
    return [
        lambda: store({"a": nn.Linear(2, 2).state_dict(), "b": torch.ones(2, dtype=torch.bfloat16)}),
        lambda: [one + 1 for one in store(torch.nested.nested_tensor(ragged)).unbind()],
        lambda: [store(torch.nested.nested_tensor(ragged, layout=torch.jagged)).values() + 1],
    ]


def do_sparse() -> Any:
    """Multiply sparse tensors."""
    matrix = torch.eye(3).to_sparse()
    return [torch.sparse.mm(matrix, torch.ones(3, 3)), torch.sparse.sum(matrix)]


def do_custom_operator() -> Any:
    """Define an operator, and call it."""

    @torch.library.custom_op("late::double", mutates_args=())
    def double(x: torch.Tensor) -> torch.Tensor:
        return x * 2

    @double.register_fake
    def _(x: torch.Tensor) -> torch.Tensor:
        return torch.empty_like(x)

    return [double(torch.ones(2)), torch.ops.late.double(torch.ones(2))]


def do_data() -> Any:
    """Load batches."""
    from torch.utils.data import DataLoader, TensorDataset

    return list(DataLoader(TensorDataset(torch.arange(6)), batch_size=2))


def do_optimise() -> Any:
    """Take a step, and average weights."""
    module = nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(module.parameters(), 0.1)
    module(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    return [module.weight, torch.optim.swa_utils.AveragedModel(module)(torch.ones(1, 2))]


def do_profile() -> Any:
    """Profile an operation."""
    with torch.profiler.profile() as profile:
        torch.ones(3).sin()
    return sorted(event.key for event in profile.key_averages())


def do_subclass() -> Any:
    """Compute with a subclass."""

    class Mine(torch.Tensor):
        pass

    return type(torch.ones(2).as_subclass(Mine) + 1).__name__


def do_names() -> Any:
    """Import all public names, and ask for one that does not exist."""
    space: dict[str, Any] = {}
    exec("from torch import *\nfrom torch.nn import *", space)  # noqa: S102
    missing = [
        _describe(lambda: torch.nothing),
        _describe(lambda: nn.nothing),
        _describe(lambda: torch.fx.nothing),
    ]
    return [sorted(name for name in space if not name.startswith("_")), missing]


def do_hub() -> Any:
    """Ask for torch.hub by its path alone."""
    return [torch.hub.get_dir().rpartition("/")[2], _describe(lambda: torch.hub.load("x/y", "z", source="q"))]


def do_schemas() -> Any:
    """Parse an operator's schema for aliases."""
    from torch.utils._python_dispatch import get_alias_info

    return str(get_alias_info(torch.ops.aten.add_.Tensor))


def do_configuration() -> Any:
    """Change a configuration for a while."""
    from torch.compiler import config

    with config.patch(job_id="here"):
        inside = config.job_id
    return [inside, config.job_id]
