"""What a converted model has to show: the translations of the toolkit that it comes from."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from lambda_setup.errors import CommandError

TOLERANCE = 1e-3
"""Between the log-probabilities of two translations that float32 may rank either way."""


class Comparison(NamedTuple):
    """How many translations were compared, and the sentences of those that differ."""

    compared: int
    different: list[str]


def compare(cases: Sequence[dict[str, Any]], made: Sequence[dict[str, Any]]) -> Comparison:
    """Compare translations of a beam search with the toolkit's.

    One that was cut at the longest length counts only if its tokens are equal: toolkits end it each in
    their own way.

    Args:
        cases: the toolkit's, each with ``data``, ``text``, ``tokens``, ``sum`` and ``truncated``.
        made: the converted model's, of the same sentences.

    """
    pairs = [
        (case, best)
        for case, best in zip(cases, made, strict=True)
        if (case["truncated"], best["truncated"]) == (False, False)
        or (case["truncated"] and best["truncated"] and case["tokens"] == best["tokens"])
    ]
    different = [
        case["data"]
        for case, best in pairs
        if case["text"] != best["text"]
        and case["tokens"] != best["tokens"]
        and abs(case["sum"] - best["sum"]) > TOLERANCE
    ]
    return Comparison(len(pairs), different)


def check(found: Comparison, sentences: int, toolkit: str) -> None:
    """Check that a float32 conversion translates as its toolkit does; else CommandError."""
    if found.different:
        raise CommandError(
            f"the converted model translates {len(found.different)} of {found.compared} sentences otherwise "
            f"than {toolkit}, such as {found.different[0]!r}: CTranslate2 does not know something of this "
            "model, which cannot be published"
        )
    if 2 * found.compared <= sentences:
        raise CommandError(
            f"{sentences - found.compared} of {sentences} translations did not end, so that they prove "
            "nothing, and nothing was uploaded; give sentences of the model's language with --sample FILE"
        )
