"""The function's answers are those of OpenNMT-py's own command, at any batch size."""

import gzip

import numpy as np
import pytest
import reference
from conftest import MODEL
from sentencepiece import SentencePieceProcessor

from lambda_setup.results import attention, read

BEAM, N_BEST = 5, 3
# Not a language: the model runs away on them until the length cap ends it.
RUNAWAYS = [
    "= = = = = = = = = =",
    "((((((((((",
    "- - - - - - -",
    "x x x x x x x x",
    "* * * * * *",
    "yyyyyyyyyyyyyyyy",
]


@pytest.fixture(scope="module")
def sentences() -> list[str]:
    """200 sentences of the test split, with runaways beside the longest of them."""
    with gzip.open(MODEL / "test.en.gz", "rt", encoding="utf-8") as file:
        test = [line.strip() for line in file]
    longest = max(range(200), key=lambda index: len(test[index].split()))
    return [*test[: longest + 1], *RUNAWAYS, *test[longest + 1 : 200]]


@pytest.fixture(scope="module")
def expected(sentences, tmp_path_factory) -> list[reference.Reference]:
    """What onmt_translate answers at batch size 1."""
    tokenizer = SentencePieceProcessor(model_file=str(MODEL / "enes.model"))
    folder = tmp_path_factory.mktemp("reference")
    return reference.translate(
        MODEL / "en-es.pt", tokenizer.encode(sentences, out_type=str), BEAM, N_BEST, folder
    )


@pytest.mark.parametrize("batch_size", [1, 8, 32])
def test_answers_are_the_reference_commands(function, stack, sentences, expected, batch_size, tmp_path):
    """Texts are equal, scores and attention within 1e-4, and every row of attention sums to 1."""
    records, maps = [], {}
    for start in range(0, len(sentences), batch_size):
        response = function.invoke(
            {
                "data": sentences[start : start + batch_size],
                "beam": BEAM,
                "n_best": N_BEST,
                "return_attention": True,
                "id": f"parity-{batch_size}-{start}",
            }
        )
        assert response["statusCode"] == 200, response
        predictions, arrays = sorted(stack.save(response, tmp_path), key=lambda path: path.suffix)
        records += read(predictions)
        maps |= {start + item: found for item, found in attention(arrays).items()}

    assert len(records) == len(expected) == len(sentences)
    for number, (record, reference_one) in enumerate(zip(records, expected, strict=True)):
        tokens = [one["tokens"] for one in record["hypotheses"]]
        scores = [one["score"] for one in record["hypotheses"]]
        assert tokens == [tokens for tokens, _ in reference_one.hypotheses], number
        np.testing.assert_allclose(scores, [score for _, score in reference_one.hypotheses], atol=1e-4)
        best = maps[number][0]
        np.testing.assert_allclose(best, reference_one.attention[: len(best)], atol=1e-4)
        for weights in maps[number]:
            np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-3)


def test_runaways_meet_their_own_cap(sentences, expected):
    """The sentences that are to run away do, so that the comparison covers the length cap."""
    tokenizer = SentencePieceProcessor(model_file=str(MODEL / "enes.model"))
    capped = 0
    for text in RUNAWAYS:
        cap = min(250, int(1.25 * len(tokenizer.encode(text)) + 5))
        capped += any(len(tokens) == cap for tokens, _ in expected[sentences.index(text)].hypotheses)
    assert capped >= 2
