"""The nested layer that is attacked, and a folder for temporary files."""

import json
import os
import random
from pathlib import Path

import pytest
from support.unpacking import SEED, Nested, contents

from layer.builder.pack import archive


@pytest.fixture(scope="module")
def nested(tmp_path_factory) -> Nested:
    """Return a real archive of three frames: big files, small ones, empty ones, and one that can be run."""
    dice = random.Random(SEED)  # noqa: S311
    folder = tmp_path_factory.mktemp("nested")
    tree = folder / "tree"
    for number in range(120):
        path = tree / f"package{number % 8}" / f"sub{number % 3}" / f"module{number}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(dice.randbytes(dice.choice([0, 1, 511, 512, 513, 9000])))
    (tree / "library.so").write_bytes(
        dice.randbytes(300_000) + b"machine code" * 90_000 + dice.randbytes(200_000)
    )
    (tree / "library.so").chmod(0o755)
    (tree / "weights.bin").write_bytes(bytes(400_000) + dice.randbytes(100_000))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(archive, "FRAME", 1 << 20)
        packed = archive.pack(tree, folder / "layer.tar.zst")
    whole = (folder / "layer.tar.zst").read_bytes()
    frames = json.loads(whole[-8 - int.from_bytes(whole[-8:-4], "little") : -8])["frames"]
    assert len(frames) == 3
    ends = tuple(offset + length for offset, length, _, _ in frames)
    old = os.umask(0)
    os.umask(old)
    modes = {name: (data, mode & ~(old | 0o022)) for name, (data, mode) in contents(tree).items()}
    return Nested(folder / "layer.tar.zst", packed.index_sha256, modes, (0, *ends))


@pytest.fixture
def temporary(tmp_path) -> Path:
    """Return a folder for temporary files, in another one that nobody may touch."""
    folder = tmp_path / "outside" / "tmp"
    folder.mkdir(parents=True)
    (tmp_path / "outside" / "victim").write_text("untouched")
    return folder
