"""The torch engine keeps nothing of a batch, however the batch ends."""

import pytest
import torch
from conftest import MODEL

import engine_opennmt
from lambda_inference import Deadline, Model, OutOfTime
from lambda_setup.models import describe

BATCH = [["▁Choose"] * 40, ["▁Choose"] * 3]


@pytest.fixture(scope="module")
def engine() -> engine_opennmt.OpenNMT:
    """The shipped model on torch."""
    manifest = describe(MODEL)
    files = {file.name: memoryview((MODEL / file.name).read_bytes()) for file in manifest.files}
    return engine_opennmt.load(Model(manifest, manifest.version, files), threads=1)


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
    part = engine_opennmt._Copies(whole)[0, :3]
    assert part.untyped_storage().nbytes() == 3 * 4


def test_attention_is_only_computed_when_asked_for(engine):
    """Without it no hypothesis has a map; with it each has a row a token and a column a source token."""
    [[hypothesis]] = engine.translate(BATCH[1:], 5, 1, attention=False, check=lambda: None)
    assert hypothesis.attention is None
    [[hypothesis]] = engine.translate(BATCH[1:], 5, 1, attention=True, check=lambda: None)
    assert len(hypothesis.attention) == len(hypothesis.tokens) * len(BATCH[1]) * 4
