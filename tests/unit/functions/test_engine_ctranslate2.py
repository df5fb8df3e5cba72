"""The CTranslate2 engine: the reference's rule for the end of a search, and what batches may not change."""

import array
import threading

import pytest
from sentencepiece import SentencePieceProcessor
from support.project import MODEL

import engine_ctranslate2
from engine_ctranslate2 import CTranslate2
from lambda_inference import Deadline, Model, OutOfTime
from lambda_setup.models.convert import convert
from lambda_setup.models.describe import describe
from search_equivalence import EndedHypothesis, stop_searches

SENTENCES = [
    "The table has been changed.",
    "Choose View - Navigator to display the Navigator, and then double-click the name of the heading.",
    "👩‍👩‍👧 🎉",
    "a",
    "((((((((((",
    "yyyyyyyyyyyyyyyy",
]


def never() -> None:
    """Let a search go on."""


@pytest.fixture(scope="module", params=["float32", pytest.param("int8", marks=pytest.mark.check)])
def engine(request, tmp_path_factory) -> CTranslate2:
    """Return the shipped model on CTranslate2."""
    folder = tmp_path_factory.mktemp("converted")
    convert(MODEL, describe(MODEL), folder, "ctranslate2", request.param)
    manifest = describe(folder)
    files = {file.name: memoryview((folder / file.name).read_bytes()) for file in manifest.files}
    return engine_ctranslate2.load(Model(manifest, manifest.version, files), threads=1)


@pytest.fixture(scope="module")
def sources() -> list[list[str]]:
    """Return the sentences' tokens."""
    tokens: list[list[str]] = SentencePieceProcessor(model_file=str(MODEL / "enes.model")).encode(
        SENTENCES, out_type=str
    )
    return tokens


@pytest.mark.parametrize(("beam", "n_best"), [(1, 1), (2, 2), (5, 1), (5, 5), (20, 3)])
def test_a_batch_changes_nothing(engine, sources, beam, n_best):
    """Texts, scores and every row of attention are those that a sentence has alone."""
    # Eight bits round a sum that padding has changed in its last digit another way.
    tolerance = 1e-4 if engine.precision != "int8" else 2e-2
    together = engine.translate(sources, beam, n_best, attention=True, check=never)
    for source, best in zip(sources, together, strict=True):
        [alone] = engine.translate([source], beam, n_best, attention=True, check=never)
        assert len(best) == n_best
        assert [one.tokens for one in best] == [one.tokens for one in alone]
        for one, other in zip(best, alone, strict=True):
            assert one.score == pytest.approx(other.score, abs=tolerance)
            rows, expected = (array.array("f", found.attention) for found in (one, other))
            assert len(rows) == len(one.tokens) * len(source)
            assert rows.tolist() == pytest.approx(expected.tolist(), abs=tolerance)


def test_hypotheses_stand_in_order_of_their_scores(engine, sources):
    """The best comes first, with and without the reference's rule."""
    for n_best in (2, 5):
        for best in engine.translate(sources, 5, n_best, attention=False, check=never):
            scores = [one.score for one in best]
            assert scores == sorted(scores, reverse=True)
            assert all(one.attention is None for one in best)


def test_a_sentence_of_all_positions(engine, sources):
    """What the model has positions for is translated whole, not cut."""
    long = (sources[1] * 1000)[: engine.positions]
    [[found]] = engine.translate([long], 1, 1, attention=True, check=never)
    assert len(found.attention) == len(found.tokens) * len(long) * 4


def test_a_search_is_left_when_the_time_runs_out(engine, sources):
    """The error comes while the search still runs, and the next answer is right."""
    [[expected]] = engine.translate(sources[:1], 5, 1, attention=False, check=never)
    started = threading.active_count()
    deadline = Deadline.after(1.3)  # of which one second is kept back
    with pytest.raises(OutOfTime):
        engine.translate([sources[1] * 100] * 8, 20, 1, attention=False, check=lambda: deadline.check(0, 8))
    assert threading.active_count() > started
    [[found]] = engine.translate(sources[:1], 5, 1, attention=False, check=never)
    assert found.tokens == expected.tokens


def found(*hypotheses: tuple[int, float]) -> list[EndedHypothesis]:
    """Return hypotheses of so many tokens and such log-probabilities."""
    return [EndedHypothesis(["x"] * tokens, total, 100, None) for tokens, total in hypotheses]


def stopped(hypotheses: list[EndedHypothesis], n_best: int, *prefixes: float) -> list[int]:
    """Return the lengths of what is kept, when these are the answers to what is asked."""
    answers = list(prefixes)
    [kept] = stop_searches([hypotheses], n_best, lambda asked: [answers.pop(0) for _ in asked])
    assert not answers, "more answers than questions"
    return [len(one.tokens) for one in kept]


class TestReference:
    """Where OpenNMT-py's search stops."""

    def test_nothing_longer(self):
        """All that ended at once is kept."""
        assert stopped(found((3, -1.0), (3, -2.0)), 1) == [3, 3]

    def test_nothing_longer_is_better(self):
        """What could not win is not asked about."""
        assert stopped(found((3, -1.0), (4, -9.0)), 1) == [3]

    def test_a_longer_one_was_better_at_the_time(self):
        """The search goes on when the best beam had not ended."""
        assert stopped(found((3, -2.0), (9, -2.5)), 1, -1.5) == [3, 9]

    def test_a_longer_one_was_worse_at_the_time(self):
        """The search stops when the best beam ends, though a longer one would win in the end."""
        assert stopped(found((3, -2.0), (9, -2.5)), 1, -2.2) == [3]

    def test_a_longer_one_is_better_in_the_end(self):
        """Then it was better before too, and nobody has to be asked."""
        assert stopped(found((3, -2.0), (9, -1.9)), 1) == [3, 9]

    def test_too_few_have_ended(self):
        """It goes on until there are as many as asked for."""
        assert stopped(found((3, -2.0), (9, -2.5), (12, -3.0)), 2, -2.9) == [3, 9]
        assert stopped(found((3, -2.0), (9, -2.5), (12, -3.0)), 3) == [3, 9, 12]

    def test_the_best_must_end_at_the_last_step(self):
        """That another one was the best when it ended, earlier, does not count."""
        assert stopped(found((3, -1.0), (5, -2.5), (30, -2.7)), 2, -2.0) == [3, 5, 30]

    def test_one_better_is_enough(self):
        """The likeliest is asked about first, and the others only if it was not better."""
        assert stopped(found((3, -2.0), (9, -2.5), (9, -2.6)), 1, -1.0) == [3, 9, 9]
        assert stopped(found((3, -2.0), (9, -2.5), (9, -2.6)), 1, -2.1, -2.1) == [3]


def test_the_cap_ends_a_hypothesis_without_its_end():
    """Its score is that of as many steps as it has tokens."""
    [capped], [ended] = ([EndedHypothesis(["x"] * count, -6.0, 5, None)] for count in (5, 4))
    assert (capped.score, ended.score) == (-1.0, -1.0)
