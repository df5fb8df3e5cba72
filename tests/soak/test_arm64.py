"""``sam build && sam local invoke -e events/event.json``: the default, Lambda on arm64, emulated here."""

import subprocess

import pytest
from support.answers import differences
from support.events import case

from e2e.conftest import Sam, serving
from e2e.engine import container_engine, emulated_arm64, runtime_image
from e2e.test_sam_local import answer


@pytest.fixture(scope="module")
def sam():
    """Yield the SAM CLI, with an image of Lambda's Python 3.13 for arm64, and S3 beside it."""
    with emulated_arm64(), container_engine() as engine:
        runtime_image(engine, "3.13", "arm64")
        with serving(engine):
            yield Sam(engine)


def test_default(sam):
    """The bare commands: the layer for arm64, unpacked by nobody, translates as the reference does."""
    built = sam.run("build", timeout=1800)
    assert built.returncode == 0, built.stderr
    done: subprocess.CompletedProcess = sam.run("local", "invoke", "-e", "events/event.json", timeout=1800)

    event = case("event")
    assert differences(event.answer, answer(done)) == []
