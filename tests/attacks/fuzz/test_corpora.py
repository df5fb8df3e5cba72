"""What fuzzing by coverage has found so far, tried again: tests/soak/fuzz/corpora."""

import pytest
from soak.fuzz.targets import CORPORA, get_target, read_corpus


@pytest.mark.parametrize("name", sorted(path.stem for path in CORPORA.glob("*.zip")))
def test_every_input_that_was_found(name: str) -> None:
    """Each is read, or refused in the reader's own words."""
    target = get_target(name)
    for data in read_corpus(name).values():
        target(data)
