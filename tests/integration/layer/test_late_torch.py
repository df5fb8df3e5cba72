"""What the layers with torch import at a start, and that the rest is there when it is asked for."""

import json
import os
import subprocess
import sys

import pytest
from support.project import MODEL

from lambda_setup.deployment.local.layers import build_layers
from layer.builder.recipe import load
from layer.builder.target import get_target

LATE = ("torch._strobelight", "torch._subclasses", "torch.ao", "torch.export", "torch.func", "torch.hub")
"""Packages that no prediction needs."""

STARTS = {
    "opennmt": "import sys, onmt.model_builder, onmt.translate.beam_search, torch, argparse\n"
    "with torch.serialization.safe_globals([argparse.Namespace]): torch.load(sys.argv[1])",
    "fastai": "import torch",
    "keras": "import torch",
}
"""What each recipe's function imports that is expected to leave them alone."""

PROGRAM = """
import json, sys, warnings
warnings.simplefilter("ignore")
{start}
print(json.dumps(sorted(sys.modules)))
from torch.nn import *
from torch.utils.data import DataLoader, TensorDataset
print(json.dumps([
    torch.ao.quantization.QuantStub().__class__.__name__,
    torch.quantization.QuantStub is torch.ao.quantization.QuantStub,
    quantized.Linear is torch.nn.quantized.Linear,
    [batch.tolist() for [batch] in DataLoader(TensorDataset(torch.arange(3)), batch_size=2)],
    torch._utils_internal.StrobelightCompileTimeProfiler.enabled,
    "torch._subclasses" in sys.modules,
    torch._guards.detect_fake_mode(torch.ones(1)) is None,
    torch._subclasses.FakeTensorMode.__name__,
    torch._guards.detect_fake_mode(torch.ones(1)) is None,
]))
"""


@pytest.mark.parametrize("name", STARTS)
def test_torch_imports_what_a_start_needs(name: str) -> None:
    """Where the recipe says so; all of it is found at its first use, by every name that it had."""
    folders = build_layers(name)
    lazy, target = load(name).lazy, get_target("host")
    assert lazy is not None
    code = PROGRAM.format(start=STARTS[name])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, folders))}
    done = subprocess.run(
        [sys.executable, "-s", "-S", "-P", "-B", "-c", code, str(MODEL / "en-es.pt")],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    modules, names = map(json.loads, done.stdout.splitlines())
    imported = {package for package in LATE if package in modules}
    assert imported == (set() if target.record in lazy.verified else {*LATE})
    assert names == ["QuantStub", True, True, [[0, 1], [2]], False, False, True, "FakeTensorMode", True]
