"""The digits' classifier from nothing: trained by fastai, exported, and asked through the function.

It needs a pip that finds torch's CPU build, and fills 1.7 GB with what fastai trains with.
"""

import gzip
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.project import ROOT

from lambda_setup.models import pickles

MODEL = ROOT / "models" / "digits"
TRAIN = MODEL / "train"
EPOCHS = "3"


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """Return a model that the recipe has just trained, for a few epochs."""
    folder = tmp_path_factory.mktemp("trained")
    python = folder / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "torch==2.13.0+cpu"], check=True)
    subprocess.run([*pip, "--no-deps", "torchvision==0.28.0"], check=True)
    subprocess.run([*pip, "--requirement", TRAIN / "requirements.txt"], check=True)
    out = folder / "model"
    out.mkdir()
    subprocess.run(
        [python, TRAIN / "train.py", "--out", out, "--epochs", EPOCHS],
        check=True,
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "OMP_NUM_THREADS": "1"},
    )
    shutil.copy(MODEL / "model.toml", out)
    return out


def test_what_was_trained_is_published_without_a_pickle(trained):
    """The learner's own export could run code, and is refused; what is published is weights alone."""
    pickles.check([trained / "weights.pt", trained / "learner.json"])
    with pytest.raises(pickles.UnsafePickle):
        pickles.check([trained / "train" / "work" / "learner.pkl"])


def test_the_function_answers_what_the_exported_learner_does(running, trained):
    """The rebuilt learner gives each class the probability that the export has just given it."""
    reference = json.loads(gzip.decompress((trained / "reference.json.gz").read_bytes()))
    items = reference["items"][:100]
    response = running("fastai", model=trained).invoke(
        {"data": [{"image": one["image"]} for one in items], "top": 10, "result": "inline"}
    )
    for one, answer in zip(items, response["body"]["predictions"], strict=True):
        expected = dict(zip(reference["vocabulary"], one["probabilities"], strict=True))
        found = {each["label"]: each["probability"] for each in answer["classes"]}
        assert found == pytest.approx(expected, abs=1e-5)
