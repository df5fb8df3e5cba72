"""The import budget of a cold start."""

import json
import subprocess
import sys

from support.project import MODEL, ROOT

from lambda_setup.models.convert import convert
from lambda_setup.models.describe import describe

LAYERED = """
import os, sys
sys.path[:0] = {layers!r}
from in_memory import Context, set_up_function
from pathlib import Path
files = {{path.name: path.read_bytes() for path in Path({model!r}).iterdir() if path.suffix != ".toml"}}
set_up_function("ctranslate2", files, "int8")
import app
answer = app.lambda_handler({{"data": ["a"], "return_attention": True}}, Context())
assert answer["statusCode"] == 200, answer
"""

HEAVY = {
    "boto3", "dataclasses", "numpy", "obstore", "onmt", "pydantic", "requests", "sentencepiece",
    "torch", "zipfile",
}  # fmt: skip

BUDGET = {"import lambda_inference": 151, "import app": 162, "import engine_ctranslate2": 240}
"""Modules, a tenth more than Python 3.11 needs: other versions split their library otherwise."""


def modules_after(statement: str, *, whole: bool = False) -> set[str]:
    """Return the modules that a fresh interpreter holds after a statement, whole or their top level."""
    code = f"{statement}\nimport json, sys; print(json.dumps(sorted(sys.modules)))"
    environment = {"PYTHONPATH": f"{ROOT / 'layer' / 'python'}:{ROOT / 'translation_function'}"}
    output = subprocess.run(
        [sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True
    ).stdout
    names = json.loads(output.splitlines()[-1])
    return set(names) if whole else {name.partition(".")[0] for name in names}


def test_lambda_inference_imports_nothing_heavy():
    """Importing the package neither imports a machine-learning library nor an S3 client."""
    assert modules_after("import lambda_inference") & HEAVY == set()


def test_unpacker_is_imported_where_there_is_something_to_unpack():
    """A layer whose files lie there as they are costs nothing more."""
    code = "import sys, lambda_inference; print('lambda_inference._unpack' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT / "layer" / "python",
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "False\n"


def test_app_imports_nothing_heavy_outside_lambda():
    """The model's libraries come with the first request, or inside Lambda while it initialises."""
    assert modules_after("import app") & HEAVY == set()


def test_ctranslate2_imports_neither_torch_nor_numpy(tmp_path):
    """From the cold start to the stored answer, though all of this machine's packages are in reach."""
    convert(MODEL, describe(MODEL), tmp_path, "ctranslate2", "int8")
    layers = [str(ROOT / "layer" / "recipes" / "parts" / "smoke")]
    imported = modules_after(LAYERED.format(layers=layers, model=str(tmp_path)))
    assert imported >= {"ctranslate2", "sentencepiece", "obstore"}
    assert imported & {"torch", "numpy", "boto3", "onmt", "yaml", "requests"} == set()


def test_import_budget():
    """So many modules, Python's own included; a new one has to be worth its part of every cold start."""
    counted = {statement: len(modules_after(statement, whole=True)) for statement in BUDGET}
    assert {statement: count for statement, count in counted.items() if count > BUDGET[statement]} == {}


def test_engine_brings_no_training_library():
    """Inference needs no library that only prepares training data."""
    unwanted = {"spacy", "rapidfuzz", "ahocorasick", "fasttext", "sympy", "boto3", "matplotlib"}
    assert modules_after("import engine_opennmt") & unwanted == set()
