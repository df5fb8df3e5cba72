"""Every library of the catalogue that has a record is as its record says.

A record of this builder stands: after ``python -m bench.packages`` nothing is built again.
"""

import pytest

from bench.packages import catalogue, records
from bench.packages.measure import measure
from layer.builder.target import get_target

CASES = [
    pytest.param(name, target, id=f"{name}-{target}")
    for target in catalogue.TARGETS
    for name in catalogue.read()
    if records.read(name, target)
]


@pytest.mark.parametrize(("name", "target"), CASES)
def test_a_library_is_as_its_record_says(name, target, tmp_path) -> None:
    """From the recorded versions it is proven again, or fails again."""
    package, record = catalogue.read()[name], records.read(name, target)
    if not records.is_current(record, package):
        again = measure(package, get_target(target), record, tmp_path, print)
        assert (again.verdict, again.other) == (record.verdict, record.other), again.reason
