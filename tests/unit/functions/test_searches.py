"""Searches of both engines over models of random weights: what is asked for holds, in any batch."""

import array
from functools import cache

import pytest
from support import tiny_models
from support.tiny_models import ARCHITECTURES, SENTENCES

import engine_ctranslate2
import engine_opennmt
from decoding import DEFAULT, Decoding
from lambda_inference import BadRequest, Model
from lambda_setup.models.convert import convert
from lambda_setup.models.describe import describe
from search_equivalence import find_banned

RECURRENT = ["LSTM", "GRU", "coverage"]
PREFIXES = [["C", "N"], ["C", "N"], ["O"], []]


@pytest.fixture(scope="module")
def load(tmp_path_factory):
    """Return a function that loads a random model on an engine."""

    @cache
    def load_one(engine, architecture="transformer", positions=None, **options):
        folder = tmp_path_factory.mktemp("model")
        checkpoint = tiny_models.build(**ARCHITECTURES[architecture] | options)
        if positions:
            for name in ("encoder", "decoder"):
                key = f"{name}.embeddings.make_embedding.pe.pe"
                checkpoint["model"][key] = checkpoint["model"][key][:positions].clone()
        tiny_models.save(checkpoint, folder / "saved")
        if engine is engine_ctranslate2:
            (folder / "converted").mkdir()
            convert(
                folder / "saved", describe(folder / "saved"), folder / "converted", "ctranslate2", "float32"
            )
        made = folder / ("saved" if engine is engine_opennmt else "converted")
        manifest = describe(made)
        files = {file.name: memoryview((made / file.name).read_bytes()) for file in manifest.files}
        return engine.load(Model(manifest, manifest.version, files), 1)

    return load_one


def search(engine, decoding=DEFAULT, prefixes=(), sentences=SENTENCES, n_best=3, attention=False):
    """Return what an engine finds for sentences together, and for each of them alone."""

    def ask(batch, forced):
        return engine.translate(batch, 5, n_best, attention, lambda: None, decoding, forced)

    alone = [ask([sentence], prefixes[place : place + 1])[0] for place, sentence in enumerate(sentences)]
    return ask(sentences, prefixes), alone


@pytest.mark.parametrize("architecture", RECURRENT)
def test_recurrent_decoders_answer_with_attention(load, architecture):
    """A row a token, each a distribution over the sentence's own tokens, in any batch."""
    together, alone = search(load(engine_opennmt, architecture), attention=True)
    for sentence, best, expected in zip(SENTENCES, together, alone, strict=True):
        assert [one.tokens for one in best] == [one.tokens for one in expected]
        for one, other in zip(best, expected, strict=True):
            weights = array.array("f", one.attention)
            assert len(weights) == len(one.tokens) * len(sentence)
            assert weights.tolist() == pytest.approx(array.array("f", other.attention).tolist(), abs=1e-5)
            assert sum(weights) == pytest.approx(len(one.tokens), abs=1e-4)


def test_a_model_without_attention_refuses_it(load):
    """The refusal names the fields to leave out."""
    engine = load(engine_opennmt, "LSTM", global_attention="none")
    with pytest.raises(BadRequest, match="leave out return_attention and replace_unk"):
        search(engine, attention=True)
    assert search(engine)[0]


@pytest.mark.parametrize("engine", [engine_opennmt, engine_ctranslate2])
@pytest.mark.parametrize(
    ("fields", "prefixes"),
    [
        ({"max_length": 3}, ()),
        ({"max_length_ratio": 0.2}, ()),
        ({"min_length": 5, "max_length": 9}, ()),
        ({"block_ngram_repeat": 2}, ()),
        ({"ban_unk": True}, ()),
        ({}, PREFIXES),
        ({"min_length": 4, "max_length": 6, "block_ngram_repeat": 2}, PREFIXES),
        ({"length_penalty": "wu", "alpha": 0.0}, ()),
        ({"length_penalty": "none"}, ()),
        ({"sampling_topk": 1}, PREFIXES),
    ],
)
def test_a_search_is_what_was_asked_for_in_any_batch(load, engine, fields, prefixes):
    """Lengths, beginnings and bans hold for each sentence, whatever stands beside it."""
    decoding = Decoding(**fields)
    together, alone = search(load(engine), decoding, prefixes)
    for place, (best, expected) in enumerate(zip(together, alone, strict=True)):
        prefix = prefixes[place] if prefixes else []
        cap = decoding.cap(len(SENTENCES[place])) + len(prefix)
        assert [one.tokens for one in best] == [one.tokens for one in expected]
        for one, other in zip(best, expected, strict=True):
            assert one.score == pytest.approx(other.score, abs=1e-4)
            assert one.tokens[: len(prefix)] == prefix
            assert min(decoding.min_length + len(prefix), cap) <= len(one.tokens) <= cap
            assert one.truncated == (len(one.tokens) == cap)
            assert not (decoding.ban_unk and "<unk>" in one.tokens)
            pairs = list(zip(one.tokens, one.tokens[1:], strict=False))
            assert not decoding.block_ngram_repeat or len(set(pairs[1:])) == len(pairs[1:])


@pytest.mark.parametrize(
    "fields", [{"sampling_topk": -1}, {"sampling_topk": 3, "sampling_temp": 2.0}, {"sampling_topp": 0.9}]
)
def test_a_seed_decides_what_is_drawn(load, fields):
    """The same seed and sentence draw the same in any batch; another seed draws otherwise."""
    engine = load(engine_opennmt)
    together, alone = search(engine, Decoding(seed=1, **fields), PREFIXES, attention=True)
    assert together[0][0].attention
    for best, expected in zip(together, alone, strict=True):
        assert [one.tokens for one in best] == [one.tokens for one in expected]
        assert [one.score for one in best] == sorted((one.score for one in best), reverse=True)
        assert [one.score for one in best] == pytest.approx([one.score for one in expected], abs=1e-4)
    others = [search(engine, Decoding(seed=seed, **fields), PREFIXES)[0] for seed in (2, 3)]
    assert len({tuple(one.tokens) for found in (together, *others) for one in found[2]}) > 1


def test_ctranslate2_draws_without_a_seed_and_says_so(load):
    """It draws as many hypotheses as the beam is wide, and refuses a seed by name."""
    engine = load(engine_ctranslate2)
    [first, *_], _ = search(engine, Decoding(sampling_topk=1000, sampling_temp=3.0), PREFIXES)
    assert len(first) == 3
    assert [one.score for one in first] == sorted((one.score for one in first), reverse=True)
    assert all(one.tokens[:2] == PREFIXES[0] for one in first)
    with pytest.raises(BadRequest, match="seed has no equivalent in CTranslate2") as caught:
        search(engine, Decoding(sampling_topk=-1, seed=1))
    assert caught.value.field == "seed"
    assert search(engine, Decoding(seed=1))[0]


def test_positions_are_the_models(load):
    """A converted model says how many it has; hypotheses end where they do."""
    assert load(engine_ctranslate2).positions == 5000
    engine = load(engine_ctranslate2, positions=12)
    assert engine.positions == 12
    found = engine.translate([["C"] * 12], 5, 1, False, lambda: None, Decoding(min_length=250), ())
    assert [(len(best.tokens), best.truncated) for [best] in found] == [(11, True)]
    assert load(engine_ctranslate2, "relative positions").positions == 1_000_000


RULES = [
    {"min_length": 4},
    {"min_length": 9, "max_length": 8},
    {"block_ngram_repeat": 2},
    {"min_length": 6, "block_ngram_repeat": 3, "ban_unk": True, "length_penalty": "wu", "alpha": 0.5},
]


@pytest.mark.parametrize("fields", RULES)
@pytest.mark.parametrize("prefixes", [(), PREFIXES])
def test_rules_lead_ctranslate2_where_they_lead_opennmt(load, fields, prefixes, monkeypatch):
    """Step by step, a banned token's probability goes to no other token, in either engine."""
    monkeypatch.setattr(engine_ctranslate2, "breaks_rules", lambda *_: True)
    decoding = Decoding(**fields)
    right, _ = search(load(engine_opennmt), decoding, prefixes, attention=True)
    for found in search(load(engine_ctranslate2), decoding, prefixes, attention=True):
        for best, wanted in zip(found, right, strict=True):
            assert [one.tokens for one in best] == [one.tokens for one in wanted]
            assert [one.truncated for one in best] == [one.truncated for one in wanted]
            assert [one.score for one in best] == pytest.approx([one.score for one in wanted], abs=1e-4)
            for one, other in zip(best, wanted, strict=True):
                weights = memoryview(one.attention).cast("f").tolist()
                assert weights == pytest.approx(memoryview(other.attention).cast("f").tolist(), abs=1e-4)


@pytest.mark.parametrize(
    ("tokens", "size", "banned"),
    [
        ("abab", 2, {"a"}),
        ("abab", 3, {"a"}),
        ("aab", 2, set()),
        ("a", 2, set()),
        ("abcab", 3, {"c"}),
        ("aa", 0, set()),
    ],
)
def test_an_ngram_is_not_repeated(tokens, size, banned):
    """What followed the last tokens before is banned."""
    assert find_banned(list(tokens), Decoding(block_ngram_repeat=size)) == banned


@pytest.mark.parametrize("engine", [engine_opennmt, engine_ctranslate2])
@pytest.mark.parametrize(
    ("prefix", "fields"), [(["x"], {"ban_unk": True}), (["C", "C", "C"], {"block_ngram_repeat": 2})]
)
def test_a_forced_beginning_outweighs_a_ban(load, engine, prefix, fields):
    """It holds, at its own probability; OpenNMT-py's command leaves it, with scores of thousands."""
    _, [[best]] = search(load(engine), Decoding(**fields), [prefix], SENTENCES[:1], n_best=1)
    assert best.tokens[: len(prefix)] == [{"x": "<unk>"}.get(token, token) for token in prefix]
    assert best.score > -10
