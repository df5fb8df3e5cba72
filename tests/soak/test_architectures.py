"""Every architecture, as every release saved it, on both engines, against OpenNMT-py's own command."""

import re

from support import model_matrix
from support.project import ROOT

PAGE = ROOT / "docs" / "how-to" / "models.md"


def test_the_table_says_what_is_served(tmp_path):
    """Each cell is what that model did; a missing or wrong table is printed as it should be."""
    expected = {}
    results = {}
    for number, cell in enumerate(model_matrix.list_cells()):
        architecture = cell[0]
        if architecture not in expected:
            expected[architecture] = model_matrix.expect(architecture, tmp_path / architecture)
        results[cell] = model_matrix.try_cell(*cell, tmp_path / str(number), expected[architecture])
    table = model_matrix.write_table(results)
    found = re.search(r"<!-- architectures -->\n(.*?)<!-- end -->", PAGE.read_text(), re.DOTALL)
    assert found
    assert found[1] == table, table
