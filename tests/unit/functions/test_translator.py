"""The translator's own decisions: batches."""

import pytest

import translator


def test_batches_cover_every_sentence_once_by_length():
    """Every non-empty sentence is in one batch; batches hold neighbours in length, the longest first."""
    lengths = [3, 0, 70, 5, 5, 1, 0, 400, 2] * 20
    batches = list(translator.plan_batches(lengths, beam=5))
    flat = [index for batch in batches for index in batch]
    assert sorted(flat) == [index for index, length in enumerate(lengths) if length]
    assert [lengths[index] for index in flat] == sorted((n for n in lengths if n), reverse=True)


@pytest.mark.parametrize("beam", [1, 5, 20])
def test_batches_are_bounded(beam):
    """No batch is larger than its sentences or its padded tokens times beams allow."""
    lengths = [5000, 3000, *range(1, 200), *[7] * 100]
    for batch in translator.plan_batches(lengths, beam):
        assert len(batch) <= translator.MAX_BATCH
        padded = len(batch) * max(lengths[index] for index in batch) * beam
        assert len(batch) == 1 or padded <= translator.MAX_BATCH_TOKENS
