"""The torch engine: nothing of a batch is kept, its beams share what they can, and 8 bits are as good."""

import pytest
import torch
from msgspec.structs import replace
from sentencepiece import SentencePieceProcessor
from support import tiny_models
from support.project import MODEL

import engine_opennmt
import onmt_optimize
import onmt_search
from lambda_inference import Deadline, Model, OutOfTime
from lambda_setup.models.describe import describe

BATCH = [["▁Choose"] * 40, ["▁Choose"] * 3]


def loaded(precision: str) -> engine_opennmt.OpenNMT:
    """Return the shipped model on torch, in a precision that its manifest says."""
    manifest = replace(describe(MODEL), precision=precision)
    files = {file.name: memoryview((MODEL / file.name).read_bytes()) for file in manifest.files}
    return engine_opennmt.load(Model(manifest, manifest.version, files), threads=1)


@pytest.fixture(scope="module")
def engine() -> engine_opennmt.OpenNMT:
    """Return the shipped model on torch."""
    return loaded("float16")


@pytest.fixture(scope="module")
def eight_bits() -> engine_opennmt.OpenNMT:
    """Return the same with 8-bit weights."""
    return loaded("int8")


def cached(engine) -> int:
    """Return how many numbers the decoder's caches hold."""
    layers = engine.search.model.decoder.transformer_layers
    return sum(
        values.numel()
        for layer in layers
        for attention in (layer.self_attn, layer.context_attn)
        for values in attention.layer_cache[1].values()
    )


def test_no_key_or_value_outlives_its_batch(engine):
    """After an answer the decoder's caches are empty."""
    [long, short] = engine.translate(BATCH, 5, 2, attention=True, check=lambda: None)
    assert (len(long), len(short)) == (2, 2)
    assert cached(engine) == 0


def test_no_key_or_value_outlives_a_batch_without_an_end(engine):
    """After a deadline in mid-search they are empty too."""
    deadline = Deadline.after(-1)
    with pytest.raises(OutOfTime):
        engine.translate(BATCH, 5, 2, attention=True, check=lambda: deadline.check(0, 2))
    assert cached(engine) == 0


def test_what_is_collected_shares_no_memory_with_the_search():
    """A finished beam's attention does not keep every other beam's alive."""
    whole = torch.zeros(100, 100)
    part = onmt_search._Copies(whole)[0, :3]
    assert part.untyped_storage().nbytes() == 3 * 4


def test_attention_is_only_computed_when_asked_for(engine):
    """Without it no hypothesis has a map; with it each has a row a token and a column a source token."""
    [[hypothesis]] = engine.translate(BATCH[1:], 5, 1, attention=False, check=lambda: None)
    assert hypothesis.attention is None
    [[hypothesis]] = engine.translate(BATCH[1:], 5, 1, attention=True, check=lambda: None)
    assert len(hypothesis.attention) == len(hypothesis.tokens) * len(BATCH[1]) * 4


def sources() -> list[list[str]]:
    """Return tokens of sentences of several lengths, one of which the model runs away on."""
    texts = [
        "The table has been changed.",
        "Choose View - Navigator to display the Navigator, and then double-click the name of the heading.",
        "((((((((((",
        "a",
    ]
    found: list[list[str]] = SentencePieceProcessor(model_file=str(MODEL / "enes.model")).encode(
        texts, out_type=str
    )
    return found


def test_all_beams_of_a_sentence_share_its_keys(engine, monkeypatch):
    """The attention to the source is kept once a sentence, and what has ended leaves it."""
    kept = []
    forward = onmt_optimize.SharedAttention.forward

    def watched(self, *args, **options):
        found = forward(self, *args, **options)
        kept.append((len(self.layer_cache[1]["shared"][0]), len(args[2])))
        return found

    monkeypatch.setattr(onmt_optimize.SharedAttention, "forward", watched)
    engine.translate(sources(), 5, 1, attention=False, check=lambda: None)
    assert kept
    assert all(beams == 5 * sentences for sentences, beams in kept)
    assert {sentences for sentences, _ in kept} == {4, 3, 2, 1}


def test_eight_bits_are_used_and_nearly_as_good(engine, eight_bits):
    """No linear layer of theirs is left in float32, and what they say has nearly the same score."""
    layers = [type(module) for module in eight_bits.search.model.modules()]
    assert onmt_optimize.Int8Linear in layers
    assert torch.nn.Linear not in layers
    assert onmt_optimize.Int8Linear not in {type(module) for module in engine.search.model.modules()}
    expected = engine.translate(sources()[:2], 5, 1, attention=False, check=lambda: None)
    found = eight_bits.translate(sources()[:2], 5, 1, attention=False, check=lambda: None)
    for [one], [other] in zip(found, expected, strict=True):
        assert one.score == pytest.approx(other.score, abs=0.1)


@pytest.mark.parametrize("n_best", [1, 5])
def test_eight_bits_do_not_depend_on_the_batch(eight_bits, n_best):
    """Rows are quantised one by one: a sentence's best answer is the one that it has alone."""
    together = eight_bits.translate(sources(), 5, n_best, attention=True, check=lambda: None)
    for source, best in zip(sources(), together, strict=True):
        [alone] = eight_bits.translate([source], 5, n_best, attention=True, check=lambda: None)
        assert best[0].tokens == alone[0].tokens
        assert best[0].score == pytest.approx(alone[0].score, abs=0.02)


@pytest.mark.parametrize("kind", ["packed", "eight bits"])
def test_a_layer_computes_what_the_one_before_it_did(kind):
    """Each row is within what its weights' precision allows, whatever stands beside it."""
    torch.manual_seed(1)
    layer = torch.nn.Linear(64, 32)
    rows = torch.randn(5, 64) * torch.tensor([[1.0], [100.0], [0.01], [1.0], [0.0]])
    made = onmt_optimize.PackedLinear(layer) if kind == "packed" else onmt_optimize.Int8Linear(layer)
    with torch.inference_mode():
        found, expected = made(rows), layer(rows)
        tolerance = 1e-5 if kind == "packed" else 0.03
        scale = rows.abs().amax(1, keepdim=True).clamp(min=1)
        assert float(((found - expected) / scale).abs().max()) < tolerance
        torch.testing.assert_close(found[:1], made(rows[:1]))


@pytest.mark.parametrize("architecture", ["LSTM", "GRU", "coverage"])
def test_recurrent_networks_take_eight_bits(architecture, tmp_path):
    """Also where a layer has a single input, which is left as it is."""
    folder = tiny_models.save(tiny_models.build(**tiny_models.ARCHITECTURES[architecture]), tmp_path)
    manifest = replace(describe(folder), precision="int8")
    files = {file.name: memoryview((folder / file.name).read_bytes()) for file in manifest.files}
    engine = engine_opennmt.load(Model(manifest, manifest.version, files), 1)
    assert onmt_optimize.Int8Linear in map(type, engine.search.model.modules())
    found = engine.translate(tiny_models.SENTENCES, 5, 1, attention=False, check=lambda: None)
    assert len(found) == len(tiny_models.SENTENCES)
