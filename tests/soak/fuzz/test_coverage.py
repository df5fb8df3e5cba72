"""Fuzzing by coverage, with atheris: ``make soak AREA=fuzz``, with ``SEED=…`` and ``MINUTES=…``."""

import os
import secrets

import pytest
from support.project import ROOT

from soak.fuzz.coverage import ATHERIS, fuzz
from soak.fuzz.targets import TESTS


@pytest.mark.skipif(not ATHERIS.exists(), reason="atheris has no wheel for this machine and its Python")
@pytest.mark.parametrize("name", TESTS)
def test_nothing_unexpected(name, capsys):
    """Inputs that take other branches are read, or refused in the reader's own words."""
    seed = int(os.environ.get("SOAK_SEED") or 1 + secrets.randbelow(10**6))
    folder = ROOT / ".fuzz" / name
    run = fuzz(name, float(os.environ.get("SOAK_MINUTES") or 10), seed, folder)
    with capsys.disabled():
        print(f"\n{name}: seed {seed}, {run.executions:,} inputs, {run.edges} edges", flush=True)  # noqa: T201
    for input_name, failure in run.failures.items():
        print(f"{folder / 'failures' / input_name}:\n{failure}")  # noqa: T201
    assert not run.failures
