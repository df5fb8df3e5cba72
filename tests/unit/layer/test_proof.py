"""Proofs: kept beside the lock, for whoever cannot run a target."""

import json
from dataclasses import replace

import pytest

from lambda_setup import functions
from layer.builder.recipe import RECIPES, load, parse
from layer.builder.target import get_target
from layer.builder.verify import proof
from layer.builder.verify.compare import TOLERANCE, differences
from layer.builder.verify.proof import Proof

ARM = get_target("python3.13-arm64")
LAYERS = {engine for function in functions.discover() for engine in function.engines}
EIGHT_BITS = 0.02
"""How far scores of 8-bit weights may lie apart between processors."""
PROOF = Proof(
    "ab" * 32,
    "cd" * 32,
    "CPython 3.13.5, Debian's",
    json.dumps({"b": [0.1, -1e-7, "ñ…"], "a": None}, sort_keys=True),
)


@pytest.fixture
def recipe(tmp_path):
    """Return a recipe with a folder of its own."""
    (tmp_path / "mine").mkdir()
    return parse({"name": "mine"}, tmp_path / "mine")


def test_read(recipe):
    """What was recorded is read again to the last digit, for this target alone; a new one replaces it."""
    proof.write(recipe, ARM, Proof("", "", "", "1"))
    proof.write(recipe, ARM, PROOF)

    assert proof.read(recipe, ARM) == PROOF
    assert proof.read(recipe, get_target("python3.13-x86_64")) is None
    assert [path.name for path in (recipe.folder / "python3.13-arm64").iterdir()] == ["proof.json"]


def test_same_bytes(recipe):
    """The same proof is the same file, which may be committed and read by people."""
    proof.write(recipe, ARM, PROOF)
    before = proof.path_of(recipe, ARM).read_text(encoding="utf-8")
    proof.write(recipe, ARM, proof.read(recipe, ARM))

    assert proof.path_of(recipe, ARM).read_text(encoding="utf-8") == before
    assert "ñ…" in before


@pytest.mark.parametrize("text", ["", "<<<<<<< ours\n{}", "{}", "[]", '{"digest": "x"}'])
def test_damaged(text, recipe):
    """A file that is no whole proof proves nothing."""
    proof.path_of(recipe, ARM).parent.mkdir(parents=True)
    proof.path_of(recipe, ARM).write_text(text)

    assert proof.read(recipe, ARM) is None


@pytest.mark.parametrize(
    "name", sorted({path.parents[1].name for path in RECIPES.glob("*/python*/proof.json")} | LAYERS)
)
def test_shipped(name):
    """The proofs of what functions run in, and of what is proven for Lambda, are of one answer.

    They are of whichever machines, and within a tolerance. A recipe that was only tried here has none.
    """
    recipe = load(name)
    found = [
        proof.read(recipe, get_target(path.parent.name))
        for path in sorted(recipe.folder.glob("python*/wheels.lock"))
    ]

    assert all(found)
    arguments = recipe.smoke.arguments
    exact = len(arguments["events"]) if "int8" in arguments.get("precisions", ()) else None
    first, *others = (json.loads(one.answer) for one in found)
    for one in others:
        assert differences(one[:exact], first[:exact], TOLERANCE) == []
        if exact:  # what follows was computed with 8 bits
            assert differences(one[exact:], first[exact:], EIGHT_BITS) == []


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({"answer": '{"score": 0.26, "text": "b"}', "interpreter": "another"}, True),
        ({"digest": "other"}, False),
        ({"prediction": "other"}, False),
    ],
)
def test_record(changes, kept, recipe):
    """The file changes only if the tree or the prediction does: processors differ in their answers."""
    known = replace(PROOF, answer='{"score": 0.25, "text": "a"}')
    proof.record(recipe, ARM, known)
    before = proof.path_of(recipe, ARM).read_bytes()
    proof.record(recipe, ARM, replace(known, **changes))

    assert (proof.path_of(recipe, ARM).read_bytes() == before) == kept
    assert proof.read(recipe, ARM) == (known if kept else replace(known, **changes))
