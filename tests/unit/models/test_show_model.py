"""`model show` fits into a terminal of 80 columns."""

import argparse
from types import SimpleNamespace

import pytest

from lambda_setup.commands.model import versions
from lambda_setup.models.bucket import Version
from lambda_setup.models.channels import Pointer
from lambda_setup.models.describe import PublishedManifest

OLD, NEW = "a" * 64, "b" * 64


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a bucket with one version, whose channel an assumed role moved."""
    manifest = PublishedManifest(
        name="en-es", engine="ctranslate2", precision="float32", libraries={}, files=[],
        created="2026-11-29T13:02:26+00:00",
    )  # fmt: skip
    step = {"when": "2026-11-29T13:02:51+00:00", "from": OLD, "to": NEW,
            "by": "arn:aws:sts::123456789012:assumed-role/Publisher/ada"}  # fmt: skip
    found = SimpleNamespace(
        name="models",
        versions=lambda _: [Version(NEW, manifest, (), 120_302_285, 0)],
        pointers=lambda _: {"prod": Pointer(NEW, (step,), "")},
    )
    monkeypatch.setattr(versions, "open_bucket", lambda _: found)
    monkeypatch.setenv("COLUMNS", "80")


@pytest.mark.usefixtures("bucket")
def test_dates_and_names_are_whole(capsys: pytest.CaptureFixture[str]) -> None:
    """Moments in UTC, and who moved the channel, without the account."""
    assert versions.show(argparse.Namespace(name="en-es", json=False)) == 0
    printed = capsys.readouterr().out
    assert "…" not in printed
    assert "2026-11-29T13:02:26  ctranslate2" in printed
    assert "2026-11-29T13:02:51  prod" in printed
    assert "  Publisher/ada" in printed
    assert "published, UTC" in printed


@pytest.mark.usefixtures("bucket")
def test_json_has_all_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    """As S3 has it."""
    assert versions.show(argparse.Namespace(name="en-es", json=True)) == 0
    printed = capsys.readouterr().out
    assert "2026-11-29T13:02:51+00:00" in printed
    assert "arn:aws:sts::123456789012:assumed-role/Publisher/ada" in printed
