"""What tests/integration/application/test_sam_examples.py asks of one function, asked of all others."""

import pytest
from integration.application.test_sam_examples import (  # noqa: F401 - they are collected here, too
    SAMPLE,
    built,
    test_deployed,
    test_function_alone,
    test_layer_is_proven,
    test_layers_fit,
    test_lint,
)
from support.project import ROOT

from lambda_setup import functions

OTHERS = [one.name for one in functions.discover() if one.home != ROOT and one.name != SAMPLE]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Ask the others."""
    metafunc.parametrize("built", OTHERS, indirect=True, scope="module")
