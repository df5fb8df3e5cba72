"""The import budget of a cold start."""

import json
import subprocess
import sys

from conftest import ROOT

HEAVY = {"boto3", "numpy", "onmt", "torch", "obstore", "sentencepiece", "requests", "pydantic"}


def modules_after(statement: str) -> set[str]:
    """Return the top-level modules that a fresh interpreter holds after a statement."""
    code = f"import json, sys; {statement}; print(json.dumps(sorted(sys.modules)))"
    environment = {"PYTHONPATH": f"{ROOT / 'layer'}:{ROOT / 'translation_function'}"}
    output = subprocess.run(
        [sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True
    ).stdout
    return {name.partition(".")[0] for name in json.loads(output.splitlines()[-1])}


def test_lambda_inference_imports_nothing_heavy():
    """Importing the package neither imports a machine-learning library nor an S3 client."""
    assert modules_after("import lambda_inference") & HEAVY == set()


def test_unpacker_is_imported_where_there_is_something_to_unpack():
    """A layer whose files lie there as they are costs nothing more."""
    code = "import sys, lambda_inference; print('lambda_inference.unpack' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT / "layer", check=True, capture_output=True, text=True
    )
    assert done.stdout == "False\n"


def test_app_imports_nothing_heavy_outside_lambda():
    """The model's libraries come with the first request, or inside Lambda while it initialises."""
    assert modules_after("import app") & HEAVY == set()


def test_engine_brings_no_training_library():
    """Inference needs no library that only prepares training data."""
    unwanted = {"spacy", "rapidfuzz", "ahocorasick", "fasttext", "sympy", "boto3", "matplotlib"}
    assert modules_after("import engine_opennmt") & unwanted == set()
