"""The translator's own decisions."""

import pytest
from msgspec.structs import replace
from support import tiny_models

import translator
from lambda_inference import BadRequest, Deadline, Model, Unavailable
from lambda_inference._requests import parse
from lambda_setup.models.describe import describe


@pytest.fixture(scope="module")
def load(tmp_path_factory):
    """Return a function that loads a random model with a ``[decoding]`` of its own."""
    checkpoint = tiny_models.build(**tiny_models.TRANSFORMER)
    bias = checkpoint["generator"]["bias"]
    bias[checkpoint["vocab"]["tgt"].index("</s>")] = 50  # it ends as soon as it may
    folder = tiny_models.save(checkpoint, tmp_path_factory.mktemp("model") / "saved")

    def load_one(**decoding):
        manifest = replace(describe(folder), decoding=decoding)
        files = {file.name: memoryview((folder / file.name).read_bytes()) for file in manifest.files}
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("ENGINE", "opennmt")
            made = translator.Translator()
        made.load(Model(manifest, manifest.version, files))
        return made

    return load_one


def answer(made, **fields):
    """Return the predictions for two items."""
    request = parse({"data": ["C N", "O"], **fields}, translator.TranslationRequest)
    return list(made.predict(request, Deadline.after(60)))


def test_a_model_says_what_holds_where_a_request_says_nothing(load):
    """Its [decoding] decides, and the request outweighs it; what is cut off is marked and counted."""
    made = load(max_length=3, min_length=3)
    for fields, tokens in ({}, 3), ({"max_length": 4, "min_length": 4}, 4):
        for prediction in answer(made, **fields):
            [hypothesis] = prediction.record["hypotheses"]
            assert len(hypothesis["tokens"]) == tokens
            assert hypothesis["truncated"] is True
            assert prediction.truncated == 1
    with pytest.raises(Unavailable, match=r"\[decoding\]"):
        load(beam=5)


def test_what_ended_by_itself_is_not_marked(load):
    """There is no field then."""
    [prediction, _] = answer(load(), min_length=2)
    [hypothesis] = prediction.record["hypotheses"]
    assert len(hypothesis["tokens"]) == 2
    assert "truncated" not in hypothesis
    assert prediction.truncated == 0


def test_unknown_tokens_are_replaced_without_maps_in_the_answer(load):
    """The attention that decides is not returned unless it was asked for."""
    forced = {"target_prefix": "unheard-of", "max_length": 2}
    for prediction, source in zip(
        answer(load(), replace_unk=True, **forced), (["C", "N"], ["O"]), strict=True
    ):
        assert prediction.record["hypotheses"][0]["tokens"][0] in source
        assert not prediction.arrays
    for prediction in answer(load(), **forced):
        assert prediction.record["hypotheses"][0]["tokens"][0] == "<unk>"


def test_an_item_takes_its_own_beginning(load):
    """A string is for all items, a list has one for each; the longest is bounded."""
    for prefix, expected in ("C C", ["C C", "C C"]), (["C C", "N"], ["C C", "N"]):
        for prediction, tokens in zip(answer(load(), target_prefix=prefix), expected, strict=True):
            [hypothesis] = prediction.record["hypotheses"]
            assert hypothesis["text"].startswith(tokens)
    with pytest.raises(BadRequest, match="251 tokens long") as caught:
        answer(load(), target_prefix=["", "C " * 251])
    assert caught.value.field == "target_prefix[1]"
