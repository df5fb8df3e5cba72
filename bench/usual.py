"""Packages, as pip installs them, and models of the usual functions beside the examples.

All is made once, into ``.layers/bench-*``, with the versions that ``baselines/*.txt`` name; torch is the one
that is installed here, for ordinary indexes have it with several GB for CUDA under the same version.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from bench.areas.cold_start import DECLARED, copy_distributions
from bench.baselines import nested_zip
from bench.row import ROOT
from layer.builder import tree
from layer.builder.build import WORK
from layer.builder.pack.plan import LIMIT
from layer.builder.slim.strip import strip_tree

BASELINES = ROOT / "bench" / "baselines"
MODELS = ROOT / "models"
FASTAI = ROOT / "examples" / "fastai_function"
TRAINING = MODELS / "tumours" / "train" / "train.py"

ZIP = "requirements.zip"
LEARNER = "learner.pkl"

LANGUAGES = ("en", "ja", "ko", "th", "vi", "xx", "zh")
"""English, and those that spaCy imports whatever the language is."""
UNUSED_OF_TORCH = ("torch/include", "torch/bin")
"""Headers and programs: with them the usual function with fastai would be too large for Lambda."""
NEEDED_OF_TORCH = "torch/bin/torch_shm_manager"
WIDTH = 4200
"""Units of each of the wide network's hidden layers: 18 million parameters."""

# With: the description and weights of a learner as we publish it, and the file to export it to.
EXPORT = """
import sys
import msgspec
import torch
operators = torch.library.Library("torchvision", "FRAGMENT")  # as in usual_fastai.py
for name in ("nms", "qnms"):
    operators.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
from rebuild import Description, build_learner
description, weights, target = sys.argv[1:]
with open(description, "rb") as file:
    parsed = msgspec.json.decode(file.read(), type=Description)
build_learner(parsed, torch.load(weights), threads=1).export(target)
"""


def make_once(name: str, make: Callable[[Path], None], *of: Path) -> Path:
    """Return a folder that ``make`` fills, from earlier if this file, torch and ``of`` are still the same."""
    parts = [version("torch").encode(), *(path.read_bytes() for path in (Path(__file__), *of))]
    digest = hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()
    folder = WORK / f"bench-{name}-{digest[:12]}"
    if not folder.exists():
        print(f"making {folder.relative_to(ROOT)}, some minutes, this once", flush=True)
        for older in WORK.glob(f"bench-{name}-*"):
            shutil.rmtree(older)
        with tempfile.TemporaryDirectory(prefix="bench-", dir=WORK) as scratch:
            fresh = Path(scratch, "made")
            fresh.mkdir()
            make(fresh)
            fresh.rename(folder)
    return folder


def spacy_layer() -> Path:
    """Return the layer of the usual function with spaCy."""
    requirements = BASELINES / "usual_spacy.txt"

    def make(folder: Path) -> None:
        _install(requirements, folder)
        languages = (folder / "spacy" / "lang").iterdir()
        unused = [path for path in languages if path.is_dir() and path.name not in LANGUAGES]
        for path in [*unused, *(path for path in folder.rglob("tests") if path.is_dir())]:
            shutil.rmtree(path, ignore_errors=True)  # some lie within others
        strip_tree(folder)
        _check("usual_spacy", tree.size(folder))

    return make_once(requirements.stem, make, requirements)


def fastai_zip() -> Path:
    """Return a folder with the zip of the usual function with fastai."""
    return _zip(BASELINES / "usual_fastai.txt")


def keras_zip() -> Path:
    """Return a folder with the zip of the usual function with Keras."""
    return _zip(BASELINES / "usual_keras.txt")


def learner() -> Path:
    """Return the pickle that fastai's ``Learner.export`` writes of the learner that our function makes."""
    zipped = fastai_zip() / ZIP
    description, weights = MODELS / "digits" / "learner.json", MODELS / "digits" / "weights.pt"

    def make(folder: Path) -> None:
        packages = folder.with_name("packages")
        nested_zip.extract(zipped, packages)
        command: list[str | Path] = [sys.executable, "-W", "ignore", "-c", EXPORT]
        command += [description, weights, folder / LEARNER]
        path = os.pathsep.join(map(str, (packages, FASTAI)))
        subprocess.run(command, env=os.environ | {"PYTHONPATH": path, "HOME": str(packages)}, check=True)

    code = (FASTAI / "rebuild.py", FASTAI / "network.py")
    return make_once("learner", make, description, weights, *code) / LEARNER


def wide_models() -> Path:
    """Return a folder with ``tumours`` and ``tumours-keras`` of 18 million parameters, never trained."""
    requirements = BASELINES / "training_keras.txt"
    descriptions = [MODELS / name / "model.toml" for name in ("tumours", "tumours-keras")]

    def make(folder: Path) -> None:
        packages = folder.with_name("packages")
        _install(requirements, packages)
        command: list[str | Path] = [sys.executable, TRAINING, "--to", folder]
        command += ["--width", str(WIDTH), "--epochs", "0"]
        subprocess.run(command, env=os.environ | {"PYTHONPATH": str(packages)}, check=True)
        for path in descriptions:
            shutil.copyfile(path, folder / path.parent.name / path.name)

    return make_once("wide", make, requirements, TRAINING, *descriptions)


def _install(requirements: Path, folder: Path) -> None:
    """Have pip install what a file names, and nothing else, without bytecode."""
    command: list[str | Path] = [
        sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps",
        "--no-compile", "--only-binary=:all:", "--target", folder, "-r", requirements,
    ]  # fmt: skip
    subprocess.run(command, check=True)


def _zip(requirements: Path) -> Path:
    """Return a folder with the nested zip of packages and torch."""

    def make(folder: Path) -> None:
        packages = folder.with_name("packages")
        _install(requirements, packages)
        copy_distributions(("torch", *DECLARED), packages)
        for unused in UNUSED_OF_TORCH:
            for path in (packages / unused).rglob("*"):
                if path.is_file() and path != packages / NEEDED_OF_TORCH:
                    path.unlink()
        nested_zip.slim(packages)
        nested_zip.pack(packages, folder / ZIP)
        _check(requirements.stem, (folder / ZIP).stat().st_size)

    return make_once(requirements.stem, make, requirements)


def _check(name: str, size: int) -> None:
    """See that Lambda would take a function of a size; RuntimeError if it would not."""
    print(f"{name}: {size:,} bytes", flush=True)
    if size > LIMIT:
        raise RuntimeError(f"{name} has {size:,} bytes, and Lambda takes {LIMIT:,}")
