"""Checkpoints: of any release since 3.0, with their weights inside or beside, and those that are refused."""

import copy

import pytest
import torch
from onmt.models import model_saver
from support import model_matrix, tiny_models

from decoding import DEFAULT
from formats import checkpoint
from lambda_inference import Unavailable
from lambda_setup.models.convert import convert
from lambda_setup.models.describe import describe


def read(folder) -> dict:
    """Return the checkpoint in a folder."""
    return checkpoint.read({path.name: memoryview(path.read_bytes()) for path in folder.iterdir()})


@pytest.fixture
def transformer() -> dict:
    """Return a transformer's checkpoint."""
    return tiny_models.build(**tiny_models.TRANSFORMER)


def test_an_old_checkpoint_is_read_as_opennmt_py_reads_it(transformer, tmp_path, monkeypatch):
    """Missing options, renamed layer norms and generators become what its own loader makes of them."""
    tiny_models.save(tiny_models.age(transformer), tmp_path)
    found = read(tmp_path)
    monkeypatch.setattr(
        model_saver.torch, "load", lambda *_, **__: copy.deepcopy(tiny_models.age(transformer))
    )
    expected = model_saver.load_checkpoint("model.pt")
    assert found["model"].keys() == expected["model"].keys()
    assert found["generator"].keys() == expected["generator"].keys()
    options = vars(expected["opt"]) | checkpoint._COMMAND_OPTIONS
    assert vars(found["opt"]) == options


def test_biases_are_found_in_the_weights(tmp_path):
    """A checkpoint from before add_ffnbias has them all the same."""
    options = tiny_models.TRANSFORMER | {"add_ffnbias": True}
    tiny_models.save(tiny_models.age(tiny_models.build(**options)), tmp_path)
    assert read(tmp_path)["opt"].add_ffnbias is True


def test_weights_may_stand_beside_the_options(transformer, tmp_path):
    """Safetensors hold the same tensors, the generator's included."""
    found = read(tiny_models.save_safetensors(transformer, tmp_path))["model"]
    for name, tensor in transformer["model"].items():
        assert torch.equal(found[name], tensor)
    assert torch.equal(found["generator.weight"], transformer["generator"]["weight"])


@pytest.mark.parametrize(("told", "options"), tiny_models.REFUSED.values(), ids=tiny_models.REFUSED)
def test_what_is_not_served_is_refused_by_its_option(transformer, tmp_path, told, options):
    """The message has the option and what to do."""
    vars(transformer["opt"]).update(options)
    with pytest.raises(Unavailable, match=f"{told}.*train"):
        read(tiny_models.save(transformer, tmp_path))


def change(transformer, case: str) -> object:
    """Return a checkpoint with a fault."""
    if case == "version 2":
        transformer["opt"].rnn_size = 8
    elif case == "no vocabulary":
        del transformer["vocab"]
    elif case == "weights missing":
        del transformer["model"], transformer["generator"]
    elif case == "LoRA":
        transformer["generator"] = None
    elif case == "bare weights":
        return transformer["model"]
    return transformer


@pytest.mark.parametrize(
    ("case", "told"),
    [
        ("version 2", "convertv2_v3.py"),
        ("no vocabulary", "convertv2_v3.py"),
        ("weights missing", r"no model\.\*\.safetensors beside"),
        ("LoRA", "lora_weights.py"),
        ("bare weights", "not a checkpoint of OpenNMT-py"),
    ],
)
def test_what_is_no_whole_checkpoint_is_refused_with_the_way_out(transformer, tmp_path, case, told):
    """Each message says what to run or to put where."""
    with pytest.raises(Unavailable, match=told):
        read(tiny_models.save(change(transformer, case), tmp_path))


def test_what_the_converter_of_version_2_writes_is_accepted(transformer, tmp_path):
    """It adds the biases and renames the sizes, and leaves the other options as they were."""
    options = vars(tiny_models.age(transformer)["opt"]) | {"add_qkvbias": True, "add_ffnbias": True}
    transformer["opt"].__dict__ = options
    assert read(tiny_models.save(transformer, tmp_path))["opt"].add_qkvbias


@pytest.mark.parametrize(
    ("options", "decoding", "engine", "reason"),
    [
        (
            {"encoder_type": "rnn", "decoder_type": "rnn", "coverage_attn": True, "input_feed": 0},
            "",
            "opennmt",
            "Asser",
        ),
        ({"encoder_type": "transformer", "decoder_type": "rnn", "heads": 2}, "", "opennmt", "AttributeError"),
        (
            tiny_models.TRANSFORMER,
            "sampling_topk = 2\nseed = 1",
            "ctranslate2",
            "BadRequest: seed has no equiv",
        ),
    ],
    ids=["coverage", "mixed", "seed"],
)
def test_a_model_that_loads_and_does_not_translate_is_refused(tmp_path, options, decoding, engine, reason):
    """Before it is published; OpenNMT-py's own command fails with such a model at its first sentence."""
    folder = tiny_models.save(tiny_models.build(**options), tmp_path / "saved")
    if decoding:
        (folder / "model.toml").write_text(f"[decoding]\n{decoding}")
        (tmp_path / "converted").mkdir()
        convert(folder, describe(folder), tmp_path / "converted", engine, "float32")
        folder = tmp_path / "converted"
    with pytest.raises(Unavailable, match=f"loads, and does not translate: {reason}"):
        model_matrix.load_predictor(folder, engine)


def translate(folder, engine: str) -> list[list[list[str]]]:
    """Return the tokens of each sentence's hypotheses, of a folder's model on an engine."""
    if engine == "ctranslate2":
        target = folder.with_name("converted")
        target.mkdir()
        convert(folder, describe(folder), target, engine, "float32")
        folder = target
    found = model_matrix.load_predictor(folder, engine)._engine.translate(
        tiny_models.SENTENCES, 5, 3, attention=False, check=lambda: None, decoding=DEFAULT, prefixes=()
    )
    return [[one.tokens for one in best] for best in found]


def test_both_engines_start_from_the_vocabularys_token(transformer, tmp_path):
    """Models that came from fairseq start from the end of a sentence, which their options need not say."""
    usual = translate(tiny_models.save(transformer, tmp_path / "usual"), "opennmt")
    transformer["vocab"] |= {"decoder_start_token": "</s>"}
    folder = tiny_models.save(transformer, tmp_path / "other")
    found = translate(folder, "opennmt")
    assert found != usual
    assert translate(folder, "ctranslate2") == found
