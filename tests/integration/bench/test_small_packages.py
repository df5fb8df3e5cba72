"""Five small libraries of the catalogue, built and proven as their records say."""

import pytest

from bench.packages import catalogue, records, summary
from bench.packages.measure import measure
from layer.builder.target import get_target

SMALL = ("rapidfuzz", "pydantic", "langdetect", "lxml", "sentencepiece")


@pytest.mark.check
@pytest.mark.parametrize("name", SMALL)
def test_a_library_is_proven(name, tmp_path) -> None:
    """From the recorded versions; the second script answers as on pip's tree, and no tree grew."""
    recorded = records.read(name, "host")
    record = measure(catalogue.read()[name], get_target("host"), recorded, tmp_path, print)
    assert (record.verdict, record.other) == ("proven", "same"), record.reason
    assert record.versions == recorded.versions
    assert summary.compare_size(record) <= 1
