"""A layer for arm64 where nothing runs it: what does is fetched, and the layer is proven."""

import os
import shutil
import sys

import pytest
from support.wheels import wheel

from layer.builder import build
from layer.builder.pack.interpreter import native_architecture
from layer.builder.recipe import load
from layer.builder.target import get_target

RECIPE = 'name = "mini"\nrequirements = ["plain==1.0"]\n[smoke]\nscript = "smoke.py"\n'


@pytest.mark.skipif(
    sys.platform != "linux" or not shutil.which("apt-get") or not shutil.which("qemu-aarch64-static"),
    reason="it takes apt, and QEMU's emulation of arm64",
)
def test_unasked(tmp_path, monkeypatch):
    """Neither a record nor an interpreter is there at first."""
    wheel(tmp_path, "plain", {"plain.py": "WORD = 1\n"})
    (tmp_path / "smoke.py").write_text("def answer():\n    import plain\n    return plain.WORD\n")
    (tmp_path / "mini.toml").write_text(RECIPE)
    for name, value in (("NO_INDEX", "1"), ("FIND_LINKS", str(tmp_path)), ("CONFIG_FILE", os.devnull)):
        monkeypatch.setenv(f"PIP_{name}", value)
    recipe, target = load(str(tmp_path / "mini.toml")), get_target("python3.13-arm64")
    said = []

    done = build.build(build.Job(recipe, target, tmp_path / "out", work=tmp_path / "work"), said.append)

    assert done.proven
    assert "fetching Debian's python3.13 for arm64, some 25 MB" in said
    assert ("under QEMU" in done.proof.how) == (native_architecture() != "arm64")
