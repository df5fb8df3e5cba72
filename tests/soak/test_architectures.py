"""Architectures and tokenizers, as each release saved them, on both engines, against OpenNMT-py's command."""

import re

from support import model_matrix
from support.project import ROOT

PAGE = ROOT / "docs" / "how-to" / "models.md"


def test_the_table_says_what_is_served(tmp_path):
    """Each cell is what that model did; a missing or wrong table is printed as it should be."""
    rows = model_matrix.ROWS
    expected = dict(zip(rows, model_matrix.expect(rows, tmp_path), strict=True))
    results = {
        cell: model_matrix.try_cell(*cell, tmp_path / str(number), expected[cell[0]])
        for number, cell in enumerate(model_matrix.list_cells())
    }
    table = model_matrix.write_table(results)
    found = re.search(r"<!-- architectures -->\n(.*?)<!-- end -->", PAGE.read_text(), re.DOTALL)
    assert found
    assert found[1] == table, table
