"""Hundreds of swaps."""

import pytest
from support import swapping


@pytest.mark.parametrize("swap", ["beside", "instead"])
def test_swaps(versions, swap):
    """However often its channel has moved, a function answers rightly, and holds no more than it did."""
    swapping.assert_right(versions, swap, 200)
