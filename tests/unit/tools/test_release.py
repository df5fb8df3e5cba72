"""A release has the version of the project, and the changelog's part of it as its text."""

import tomllib

import pytest
from support.project import ROOT

from tools.release import write_notes

PROJECT = '[project]\nversion = "1.2.0"\n'
CHANGELOG = (
    "# Changelog\n\n## 1.2.0, 2026-11-29\n\n### Added\n\n- A thing.\n\n## 1.1.0, 2026-01-01\n\n- Older.\n"
)


def test_the_notes_are_the_version_s_part() -> None:
    """Without its heading, and without older parts."""
    assert write_notes("v1.2.0", PROJECT, CHANGELOG) == "### Added\n\n- A thing.\n"
    assert write_notes("v1.1.0", PROJECT.replace("1.2.0", "1.1.0"), CHANGELOG) == "- Older.\n"


@pytest.mark.parametrize(
    ("tag", "changelog", "message"),
    [
        ("v1.3.0", CHANGELOG, r"the tag is v1\.3\.0, .* has version 1\.2\.0: tag v1\.2\.0"),
        ("1.2.0", CHANGELOG, r"tag v1\.2\.0"),
        ("v1.2.0", CHANGELOG.replace(", 2026-11-29", ", not released yet"), r"no date for 1\.2\.0"),
        ("v1.2.0", CHANGELOG.replace("1.2.0", "1.2.1"), r"no part '## 1\.2\.0, YYYY-MM-DD'"),
    ],
)
def test_what_is_missing_is_said(tag: str, changelog: str, message: str) -> None:
    """Another version, a part without a date, or none."""
    with pytest.raises(ValueError, match=message):
        write_notes(tag, PROJECT, changelog)


def test_this_project_could_be_released() -> None:
    """Its changelog begins with its version; only the date may be missing."""
    texts = [(ROOT / name).read_text(encoding="utf-8") for name in ("pyproject.toml", "CHANGELOG.md")]
    version = tomllib.loads(texts[0])["project"]["version"]
    assert write_notes(f"v{version}", texts[0], texts[1].replace("not released yet", "2026-11-29", 1))
