"""Operations of torch that no trace of a function has, and a program that prints digests of their results.

``python torch_operations.py one`` runs them one after another, ``threads`` in eight threads at once, each in
an order of its own. Its output is JSON, digests by name.
"""
# ruff: noqa: D103, SIM905  # an operation's name says what it is; a list of names takes less room so

import hashlib
import io
import json
import random
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.nn import functional as F  # noqa: N812

UNARY = (
    "abs acos acosh asin asinh atan atanh ceil cos cosh deg2rad digamma erf erfc erfinv exp exp2 expm1"
    " floor frac i0 lgamma log log10 log1p log2 logit neg rad2deg reciprocal relu round rsqrt sigmoid sign"
    " sgn signbit sin sinc sinh sqrt square tan tanh trunc nan_to_num"
).split()
SPECIAL = (
    "airy_ai bessel_j0 bessel_j1 bessel_y0 entr erfcx gammaln i0e i1 i1e log_ndtr ndtr ndtri psi"
    " spherical_bessel_j0"
).split()
BINARY = (
    "atan2 fmod remainder hypot maximum minimum fmax fmin copysign nextafter logaddexp xlogy ldexp dist"
).split()
REDUCTIONS = (
    "amax amin argmax argmin logsumexp mean median mode nanmean nansum prod std sum var norm cumprod"
    " logcumsumexp softmax log_softmax"
).split()
TYPES = (
    torch.float64,
    torch.bfloat16,
    torch.float16,
    torch.complex64,
    torch.int8,
    torch.int16,
    torch.uint8,
    torch.bool,
)

OPERATIONS: dict[str, Callable[[], Any]] = {}
SEEDED = {"sampling", "training", "recurrent", "attention", "quantised"}
"""Those that draw from the one generator that all threads share."""
_local = threading.local()


def operation(function: Callable[[], Any]) -> Callable[[], Any]:
    """Register an operation under its name."""
    OPERATIONS[function.__name__] = function
    return function


def draw(*shape: int) -> torch.Tensor:
    """Return the thread's next random numbers."""
    return torch.randn(*shape, generator=_local.generator)


@operation
def decompositions() -> Any:
    square = draw(20, 20)
    positive = torch.eye(20) * 50 + square @ square.T
    return (
        torch.linalg.svd(draw(40, 30)), torch.linalg.eigh(square + square.T), torch.linalg.eig(square),
        torch.linalg.qr(draw(30, 20)), torch.linalg.cholesky(positive),
        torch.linalg.solve(positive, draw(20, 4)), torch.linalg.inv(positive),
        torch.linalg.det(square), torch.linalg.matrix_exp(draw(4, 4)),
        torch.linalg.pinv(draw(4, 5)),
    )  # fmt: skip


@operation
def fourier() -> Any:
    window = torch.hann_window(64)
    return (
        torch.fft.fft(draw(100)), torch.fft.rfft2(draw(33, 65)), torch.fft.irfft(torch.fft.rfft(draw(64))),
        torch.stft(draw(1000), 64, window=window, return_complex=True),
    )  # fmt: skip


@operation
def convolutions() -> Any:
    return (
        F.conv1d(draw(2, 3, 50), draw(4, 3, 5)),
        F.conv2d(draw(2, 3, 32, 32), draw(8, 3, 3, 3), stride=2, padding=1),
        F.conv3d(draw(1, 2, 8, 8, 8), draw(3, 2, 3, 3, 3)),
        F.conv_transpose2d(draw(1, 4, 8, 8), draw(4, 2, 3, 3)),
    )


@operation
def recurrent() -> Any:
    lstm = torch.nn.LSTM(10, 20, 2, bidirectional=True)
    optimizer = torch.optim.SGD(lstm.parameters(), 0.1, momentum=0.9)
    lstm(draw(5, 3, 10))[0].square().sum().backward()
    optimizer.step()
    return list(lstm.parameters()), torch.nn.GRU(4, 8)(draw(5, 2, 4))[0]


@operation
def training() -> Any:
    model = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3),
        torch.nn.BatchNorm2d(4),
        torch.nn.ReLU(),
        torch.nn.Flatten(),
        torch.nn.Linear(144, 10),
    )
    for optimizer in (torch.optim.Adam(model.parameters()), torch.optim.Adagrad(model.parameters())):
        optimizer.zero_grad()
        F.cross_entropy(model(draw(6, 1, 8, 8)), torch.arange(6)).backward()
        optimizer.step()
    return list(model.parameters())


@operation
def quantised() -> Any:
    values = torch.quantize_per_tensor(draw(4, 8), 0.1, 10, torch.quint8)
    model = torch.ao.quantization.quantize_dynamic(
        torch.nn.Sequential(torch.nn.Linear(8, 4)), {torch.nn.Linear}
    )
    return values.int_repr(), values.dequantize(), model(draw(3, 8))


@operation
def sparse() -> Any:
    dense = draw(20, 20)
    values = (dense * (dense > 1)).to_sparse()
    return torch.sparse.mm(values, draw(20, 5)), values.to_sparse_csr().to_dense() @ draw(20, 1)


@operation
def types() -> Any:
    for one in TYPES:
        values = (draw(17, 13) * 5).to(one)
        yield values + values, values * values, values.sum(), values.flip(0), values.T.contiguous()
        if one not in {torch.bool, torch.complex64}:
            yield values.sort().values, values.cumsum(0), values.argmax(), values.clamp(0, 2)


@operation
def elementwise() -> Any:
    values, left, right = draw(1001).abs().clamp(0.01, 0.99), draw(51, 7), draw(51, 7)
    yield from (getattr(torch, name)(values) for name in UNARY)
    yield from (getattr(torch.special, name)(values + 0.1) for name in SPECIAL)
    yield from (getattr(torch, name)(left, right) for name in BINARY)
    yield from (getattr(torch, name)(left, dim=1) for name in REDUCTIONS)


@operation
def indexing() -> Any:
    values, places = draw(20, 10), torch.tensor([3, 1, 4])
    return (
        values[places], values.index_select(0, places),
        values.gather(1, torch.zeros(20, 1, dtype=torch.long)),
        values.scatter(0, places[None], 1.0), torch.topk(values, 3), torch.unique((values * 3).int()),
        torch.where(values > 0), torch.searchsorted(values[0].sort().values, draw(5)), torch.histc(values, 5),
        torch.bincount(places), values.masked_select(values > 0), torch.kthvalue(values, 2),
    )  # fmt: skip


@operation
def pictures() -> Any:
    values = draw(1, 2, 16, 16)
    return (
        F.max_pool2d(values, 2), F.avg_pool2d(values, 3), F.adaptive_avg_pool2d(values, 3),
        F.interpolate(values, scale_factor=2, mode="bicubic"),
        F.grid_sample(values, draw(1, 5, 5, 2), align_corners=False),
        F.pad(values, (1, 2, 3, 4), mode="reflect"), F.unfold(values, 3),
        F.pixel_shuffle(draw(1, 4, 4, 4), 2),
    )  # fmt: skip


@operation
def losses() -> Any:
    left, right = draw(5, 7), draw(5, 7)
    labels = torch.tensor([[1, 2, 3, 4], [4, 3, 2, 1]])
    return (
        F.mse_loss(left, right), F.smooth_l1_loss(left, right),
        F.kl_div(left.log_softmax(1), right.softmax(1)),
        F.binary_cross_entropy_with_logits(left, right.sigmoid()),
        F.cosine_embedding_loss(left, right, torch.ones(5)),
        F.ctc_loss(draw(10, 2, 5).log_softmax(2), labels, torch.tensor([10, 10]), torch.tensor([4, 3])),
    )  # fmt: skip


@operation
def attention() -> Any:
    query = draw(2, 4, 9, 16)
    model = torch.nn.MultiheadAttention(16, 4, batch_first=True)
    layer = torch.nn.TransformerEncoderLayer(16, 4).eval()
    return (
        F.scaled_dot_product_attention(query, query, query, is_causal=True),
        model(query[:, 0], query[:, 0], query[:, 0])[0], layer(draw(5, 2, 16)),
    )  # fmt: skip


@operation
def sampling() -> Any:
    return (
        torch.bernoulli(torch.rand(9)), torch.multinomial(torch.rand(9), 4), torch.poisson(torch.rand(9)),
        torch.randperm(20), torch.empty(9).exponential_(), torch.empty(9).cauchy_(),
        torch.distributions.Gamma(torch.ones(3), 1.0).sample(),
    )  # fmt: skip


WRONG: tuple[Callable[[], Any], ...] = (
    lambda: draw(3) + draw(4), lambda: draw(3, 4) @ draw(3, 4), lambda: torch.linalg.cholesky(-torch.eye(3)),
    lambda: draw(3)[7], lambda: F.conv2d(draw(3), draw(3)), lambda: torch.zeros(2).view(5),
    lambda: torch.tensor([1, 2]).softmax(0), lambda: torch.linalg.inv(torch.zeros(3, 3)),
    lambda: F.embedding(torch.tensor([99]), draw(5, 2)), lambda: torch.jit.script("nonsense"),
    lambda: draw(3).backward(), lambda: torch.ops.aten.nothing(1), lambda: torch.empty(1 << 60),
    lambda: F.ctc_loss(draw(3), draw(3), 1, 2), lambda: torch.einsum("ij,jk", draw(2), draw(2)),
    lambda: torch.quantize_per_tensor(draw(2), 0.0, 300, torch.quint8),
    lambda: torch._C._jit_pass_inline(3), lambda: torch.stft(draw(3), 100, return_complex=True),
)  # fmt: skip


@operation
def errors() -> Any:
    for function in WRONG:
        try:
            yield str(type(function()))
        except Exception as error:  # noqa: BLE001  # each of them is a result
            yield f"{type(error).__name__}: {error}"[:300]


@operation
def graphs() -> Any:
    values = draw(6).requires_grad_()
    (first,) = torch.autograd.grad(
        (values.exp().cumsum(0).tanh() * values.sin()).prod(), values, create_graph=True
    )
    yield first, torch.autograd.grad(first.sum(), values)
    yield torch.func.jacrev(lambda one: one**3)(draw(3)), torch.vmap(torch.sum)(draw(4, 3))


@operation
def compiled() -> Any:
    layer = torch.nn.Linear(4, 2).eval()
    with torch.no_grad():
        layer.weight.fill_(0.3)
        layer.bias.fill_(0.1)
    code = """
def halve(x, n: int):
    for _ in range(n):
        if float(x.sum()) > 1:
            x = x * 0.5
        else:
            x = x + 1.5
    return x
"""
    return torch.jit.CompilationUnit(code).halve(torch.ones(5), 7), torch.jit.trace(layer, draw(1, 4))(
        draw(3, 4)
    )


@operation
def saving() -> Any:
    file = io.BytesIO()
    torch.save({"a": torch.arange(5), "b": torch.ones(2)}, file)
    file.seek(0)
    return list(torch.load(file, weights_only=True).values())


def flatten(result: Any) -> Iterable[bytes]:
    """Yield the bytes of everything in a result."""
    if isinstance(result, torch.Tensor):
        values = torch.view_as_real(result) if result.is_complex() else result
        yield f"{result.dtype} {tuple(result.shape)}".encode()
        yield values.detach().to(torch.float64).contiguous().numpy().tobytes()
    elif isinstance(result, str):
        yield result.encode()
    else:
        for one in result:
            yield from flatten(one)


def digest(name: str) -> str:
    """Return the digest of an operation's results, from one seed."""
    _local.generator = torch.Generator().manual_seed(1)
    if name in SEEDED:
        torch.manual_seed(1)
    return hashlib.sha256(b"".join(flatten(OPERATIONS[name]()))).hexdigest()


def compute_in_threads() -> dict[str, list[str]]:
    """Return the digests that eight threads computed, which start together, each in an order of its own."""
    gate = threading.Barrier(8)
    results: dict[str, list[str]] = {name: [] for name in OPERATIONS if name not in SEEDED}

    def work(seed: int) -> None:
        gate.wait()
        for name in random.Random(seed).sample(list(results), len(results)):  # noqa: S311
            results[name].append(digest(name))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


if __name__ == "__main__":
    torch.set_num_threads(1)
    alone = sys.argv[1] == "one"
    json.dump({name: digest(name) for name in OPERATIONS} if alone else compute_in_threads(), sys.stdout)
