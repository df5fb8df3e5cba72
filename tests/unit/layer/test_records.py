"""What is recorded of layers is of the recipes and the code that are there now."""

import pytest
from support.project import ROOT

from lambda_setup import functions
from layer.builder import target
from layer.builder.recipe import RECIPES, load
from layer.builder.slim import trace
from layer.builder.slim.split import record as split_record
from layer.builder.verify import inputs, proof
from layer.builder.wheels import lock

RECORDED = [
    (path.relative_to(RECIPES).parts[0], "/".join(path.relative_to(RECIPES).parts[1:-1]))
    for path in RECIPES.rglob("proof.json")
]


def target_of(record: str) -> target.Target:
    """Return the target whose records are called so."""
    return target.get_target("host" if record.startswith("host") else record)


@pytest.mark.parametrize(
    ("name", "record"), [one for one in RECORDED if target_of(one[1]).record == one[1]], ids=str
)
def test_records_are_current(name, record):
    """The proof is of the present prediction, and the trace of the locked wheels; else: make prove."""
    recipe, found = load(name), target_of(record)
    locked = lock.read(recipe, found)
    assert locked is not None
    assert trace.read(recipe, found, locked) is not None
    beside = recipe.base_layer and proof.read(recipe.base_layer, found)
    prediction = inputs.digest(recipe.smoke, beside.digest if beside else "")
    proven = proof.read(recipe, found)
    assert proven.prediction == prediction
    # Without its record of hot pages, which git may ignore, a split library has all of its code cold.
    assert split_record.path_of(recipe, found).exists() == bool(proven.split)


def test_every_example_is_proven_for_arm64():
    """The processor that the templates take unless told otherwise has its records for every engine here."""
    shipped = [one for one in functions.discover() if one.code.parent.name == "examples" or one.home == ROOT]
    engines = {engine for one in shipped for engine in one.engines}
    assert engines <= {name for name, record in RECORDED if record == "python3.13-arm64"}


@pytest.mark.parametrize("record", ["host/python3.11-linux-x86_64", "python3.13-arm64"])
def test_one_torch_for_all(record):
    """Every recipe with torch has the same wheel of it, byte for byte."""
    locks = [path.read_text(encoding="utf-8") for path in RECIPES.glob(f"*/{record}/wheels.lock")]
    found = [line for text in locks for line in text.splitlines() if line.startswith("torch==")]
    assert len(found) > 1
    assert len(set(found)) == 1
