"""What several soak tests need."""

import pytest
from support.unwinder import link_unwinder


@pytest.fixture(scope="session")
def unwinder(tmp_path_factory):
    """Return GCC 11's unwinder as a shared library."""
    return link_unwinder(tmp_path_factory.mktemp("unwinder"))
