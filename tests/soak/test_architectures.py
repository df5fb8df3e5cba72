"""Architectures and tokenizers, as each release saved them, on both engines, against OpenNMT-py's command."""

import re

from support import model_matrix
from support.project import ROOT

PAGE = ROOT / "docs" / "how-to" / "models.md"


def test_the_table_says_what_is_served(tmp_path):
    """Each cell is what that model did; a missing or wrong table is printed as it should be."""
    expected = {}
    results = {}
    for number, cell in enumerate(model_matrix.list_cells()):
        row = cell[0]
        if row not in expected:
            expected[row] = model_matrix.expect(row, tmp_path / "-".join(row))
        results[cell] = model_matrix.try_cell(*cell, tmp_path / str(number), expected[row])
    table = model_matrix.write_table(results)
    found = re.search(r"<!-- architectures -->\n(.*?)<!-- end -->", PAGE.read_text(), re.DOTALL)
    assert found
    assert found[1] == table, table
