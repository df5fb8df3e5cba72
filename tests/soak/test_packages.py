"""Every library of the catalogue that has a record, built and proven again from the recorded versions.

A library whose record is of this builder already is not built again: after ``python -m bench.packages`` only
the records are read.
"""

import pytest

from bench.packages import catalogue, records
from bench.packages.measure import measure
from bench.packages.recipes import find_pins
from layer.builder.target import get_target

CASES = [
    pytest.param(name, target, id=f"{name}-{target}")
    for target in catalogue.TARGETS
    for name in catalogue.read()
    if records.read(name, target)
]


@pytest.mark.parametrize(("name", "target"), CASES)
def test_a_library_is_as_its_record_says(name, target, tmp_path) -> None:
    """Proven or not, and never larger than the usual slimming leaves it."""
    package, record = catalogue.read()[name], records.read(name, target)
    if not records.is_current(record, package):
        chosen = get_target(target)
        again = measure(package, chosen, find_pins(package, chosen, record), tmp_path, print)
        assert (again.verdict, again.other) == (record.verdict, record.other), again.reason
        record = again
    if record.verdict == "proven":
        assert record.bytes["ours"] <= record.bytes["usual"]
