"""The vocabulary in the layer of opennmt, which stands in for pyonmttok's, against pyonmttok's own."""

import runpy

import pyonmttok
import pytest
from support.project import ROOT

PATCH = ROOT / "layer" / "recipes" / "opennmt" / "patches" / "pyonmttok.py"
SPECIAL = ["<unk>", "<blank>", "<s>", "</s>"]


@pytest.mark.parametrize(
    "tokens",
    [
        [*SPECIAL, "a", "b"],
        ["<s>", "<blank>", "</s>", "<unk>", "a", "b"],
        [*SPECIAL, "a", "b", "a"],
        ["<s>", "</s>", "a"],
    ],
    ids=["OpenNMT-py's order", "fairseq's order", "twice", "without <unk>"],
)
def test_a_token_has_the_number_that_it_has_in_pyonmttok(tokens):
    """One that the vocabulary lacks has that of <unk>, which need not be the first."""
    theirs = pyonmttok.build_vocab_from_tokens(tokens)
    ours = runpy.run_path(str(PATCH))["build_vocab_from_tokens"](tokens)
    asked = [*tokens, "missing", ""]
    assert ours(asked) == theirs(asked)
    assert [ours[token] for token in asked] == [theirs.lookup_token(token) for token in asked]
    assert (ours.ids_to_tokens, len(ours), ours.default_id) == (
        theirs.ids_to_tokens,
        len(theirs),
        theirs.default_id,
    )
    assert [ours.lookup_index(number) for number in range(len(ours))] == theirs.ids_to_tokens
    assert [token in ours for token in asked] == [token in theirs for token in asked]
