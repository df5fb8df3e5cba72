"""The campaign: ``make soak AREA=campaign``, with ``SEED=…`` and ``MINUTES=…`` if you like."""

import os
import secrets
import time
from collections import Counter

import hypothesis
import pytest
from hypothesis.stateful import run_state_machine_as_test
from support.operators import no_pauses
from support.proxy import Proxy

from lambda_inference import _storage
from lambda_setup.deployment.local.s3 import S3Server
from soak.campaign.shout import install_s3
from soak.campaign.walk import Walk
from soak.campaign.world import MODELS, RESULTS

EXAMPLES = 10
"""Walks of a seed; a failure is minimised, and names the seed that finds it again."""
STEPS = 40

SETTINGS = hypothesis.settings(
    max_examples=EXAMPLES,
    stateful_step_count=STEPS,
    deadline=None,
    database=None,
    print_blob=True,
    report_multiple_bugs=False,
    phases=[hypothesis.Phase.generate, hypothesis.Phase.shrink],
    suppress_health_check=list(hypothesis.HealthCheck),
)


@pytest.fixture(scope="module")
def system():
    """Serve a real S3, and a proxy before it."""
    with S3Server() as s3, Proxy(s3.endpoint) as proxy, no_pauses():
        for bucket in (MODELS, RESULTS):
            s3.client().create_bucket(Bucket=bucket)
        _storage._buckets.clear()
        with install_s3({**s3.environment(), "AWS_ENDPOINT_URL_S3": proxy.endpoint}):
            Walk.s3, Walk.proxy, Walk.totals = s3, proxy, Counter()
            yield s3
        _storage._buckets.clear()


@pytest.mark.usefixtures("system")
def test_every_history_keeps_the_promises(capsys):
    """Whatever happens in whatever order, no promise of docs/promises.md is broken."""
    seed = int(os.environ.get("SOAK_SEED") or secrets.randbelow(10**6))
    end = time.monotonic() + 60 * float(os.environ.get("SOAK_MINUTES") or 10)
    while True:
        say(capsys, f"seed {seed}: {dict(Walk.totals)}")
        machine = hypothesis.seed(seed)(type("Walk", (Walk,), {}))
        run_state_machine_as_test(machine, settings=SETTINGS)
        Walk.proxy.exchanges.clear()
        seed += 1
        if time.monotonic() > end:
            break
    say(capsys, f"no promise was broken: {dict(Walk.totals)}")


def say(capsys, line: str) -> None:
    """Print a line at once."""
    with capsys.disabled():
        print(f"\n{line}", flush=True)  # noqa: T201
