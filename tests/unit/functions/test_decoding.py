"""How a search goes: what a request and a model may say of it, and what follows."""

import struct

import pytest

from decoding import DEFAULT, Decoding, read_defaults, replace_unknown, resolve
from lambda_inference import BadRequest, Unavailable
from lambda_inference._requests import digest, parse
from translator import TranslationRequest


def request(**fields) -> TranslationRequest:
    """Return a valid request."""
    return parse({"data": ["a", "b"], **fields}, TranslationRequest)


@pytest.mark.parametrize(("tokens", "cap"), [(1, 6), (4, 10), (7, 13), (196, 250), (5000, 250)])
def test_the_cap_is_opennmts(tokens, cap):
    """A hypothesis ends after min(250, floor(1.25 n) + 5) tokens."""
    assert DEFAULT.cap(tokens) == cap


@pytest.mark.parametrize(
    ("fields", "cap"),
    [
        ({"max_length": 7}, 7),
        ({"max_length_ratio": 0.5}, 7),
        ({"max_length_ratio": 3.0, "max_length": 16}, 16),
    ],
)
def test_the_cap_is_what_is_asked_for(fields, cap):
    """Of a sentence of five tokens: min(max_length, floor(max_length_ratio n) + 5)."""
    assert Decoding(**fields).cap(5) == cap


def test_a_forced_beginning_comes_on_top_as_far_as_there_are_positions():
    """OpenNMT-py does not count it either."""
    assert DEFAULT.caps([["a"], ["a"]], [["x", "y"], []], 7) == [7, 6]


@pytest.mark.parametrize(
    ("field", "value", "takes"),
    [
        ("length_penalty", "gnmt", 'one of "avg", "wu" and "none"'),
        ("alpha", -0.1, "a number from 0 to 10"),
        ("alpha", True, "a number from 0 to 10"),
        ("min_length", 251, "an integer from 0 to 250"),
        ("max_length", 0, "an integer from 1 to 250"),
        ("max_length", 251, "an integer from 1 to 250"),
        ("max_length", 5.0, "an integer from 1 to 250"),
        ("max_length_ratio", 0, "a number above 0, up to 250"),
        ("block_ngram_repeat", 21, "0, or an integer from 2 to 20"),
        ("ban_unk", 1, "true or false"),
        ("replace_unk", None, "true or false"),
        ("target_prefix", 5, "a string, or a list of one string an item"),
        ("target_prefix", ["a"], "got a list of 1 for 2 items"),
        ("sampling_topk", -2, "an integer from 1 to 1,000, -1 for all tokens, or 0 for none"),
        ("sampling_topp", 1.1, "a number from 0 to 1"),
        ("sampling_temp", 10.1, "a number from 0 to 10"),
        ("seed", 2**32, "an integer from 0 to 4,294,967,295"),
    ],
)
def test_a_field_out_of_its_bounds_is_named(field, value, takes):
    """The refusal says what the field takes."""
    with pytest.raises(BadRequest, match=field) as caught:
        request(**{field: value})
    assert caught.value.field == field
    assert takes in caught.value.message


@pytest.mark.parametrize("prefix", ["\ud800", ["a", "\ud800"]])
def test_a_lone_surrogate_begins_nothing(prefix):
    """The place is named."""
    with pytest.raises(BadRequest, match="lone surrogate") as caught:
        request(target_prefix=prefix)
    assert caught.value.field == ("target_prefix" if isinstance(prefix, str) else "target_prefix[1]")


def test_a_request_outweighs_the_model_and_the_model_opennmt_py():
    """What neither says is OpenNMT-py's default."""
    model = read_defaults({"max_length": 100, "ban_unk": True, "seed": 4})
    assert resolve(model, request()) is model
    assert resolve(model, request(max_length=9, alpha=1)) == Decoding(
        max_length=9, ban_unk=True, seed=4, alpha=1.0
    )
    assert read_defaults({}) is DEFAULT


@pytest.mark.parametrize(
    ("model", "fields", "field"),
    [
        ({}, {"min_length": 9, "max_length": 8}, "min_length"),
        ({"min_length": 9}, {"max_length": 8}, "min_length"),
        ({}, {"block_ngram_repeat": 1}, "block_ngram_repeat"),
    ],
)
def test_what_does_not_go_together_is_refused(model, fields, field):
    """Also where one half of it is the model's."""
    with pytest.raises(BadRequest) as caught:
        resolve(read_defaults(model), request(**fields))
    assert caught.value.field == field


@pytest.mark.parametrize(
    "table",
    [
        {"beam": 5},
        {"warmup": True},
        {"alpha": "much"},
        {"max_length": 251},
        {"block_ngram_repeat": 1},
        {"target_prefix": ["a"]},
    ],
)
def test_a_model_says_only_what_a_request_may(table):
    """A model with another [decoding] is not loaded, and so not published."""
    with pytest.raises(Unavailable, match=r"\[decoding\] of the model takes length_penalty"):
        read_defaults(table)


def test_a_request_keeps_the_digest_that_it_had():
    """What is not asked for does not count, so that a stored result is found after an upgrade."""
    fields = {"data": ["a", "b"], "beam": 5, "n_best": 1, "return_attention": False}
    assert request().digest() == digest(fields)
    assert request(alpha=0.5).digest() == digest(fields | {"alpha": 0.5})


@pytest.mark.parametrize(
    ("decoding", "score"),
    [
        (DEFAULT, -2.0),
        (Decoding(alpha=0.5), -6.0 / 3**0.5),
        (Decoding(length_penalty="wu", alpha=0.5), -6.0 / (8 / 6) ** 0.5),
        (Decoding(length_penalty="none", alpha=0.5), -6.0),
    ],
)
def test_scores_are_normalised_as_onmt_translate_penalties(decoding, score):
    """By the steps taken, and one."""
    assert decoding.normalise(-6.0, 2) == pytest.approx(score)


def test_unknown_tokens_become_what_they_attend_to():
    """Others stay, as do all without attention."""
    weights = struct.pack("6f", 0.9, 0.1, 0.0, 0.1, 0.2, 0.7)
    assert replace_unknown(["<unk>", "b"], "<unk>", ["x", "y", "z"], weights) == ["x", "b"]
    assert replace_unknown(["b", "<unk>"], "<unk>", ["x", "y", "z"], weights) == ["b", "z"]
    assert replace_unknown(["b", "<unk>"], "<unk>", ["x"], None) == ["b", "<unk>"]


def test_an_items_seed_is_its_own():
    """It depends on the request's seed and the item's tokens; without a seed on nothing."""
    seeds = {Decoding(seed=seed).item_seed(tokens) for seed in (1, 2) for tokens in (["a"], ["b"])}
    assert len(seeds) == 4
    assert Decoding(seed=1).item_seed(["a"]) == Decoding(seed=1).item_seed(["a"])
    assert len({DEFAULT.item_seed(["a"]) for _ in range(9)}) > 1
