"""A release: zips of layers, their bills of materials, and the sums of all."""

import shutil
import subprocess
import zipfile

import pytest

from tools.trust.assets import collect


@pytest.fixture
def layers(tmp_path):
    """Return a folder with a layer for Lambda and one for this machine."""
    for name in ("small-python3.13-arm64", "small-host"):
        (tmp_path / name / "layer" / "python").mkdir(parents=True)
        (tmp_path / name / "layer" / "python" / "a.py").write_text("1\n")
        (tmp_path / name / "sbom.cdx.json").write_text("{}\n")
    return tmp_path


def test_what_lambda_takes_is_collected(layers, tmp_path):
    """The same bytes each time, and sums that sha256sum agrees with."""
    out = tmp_path / "dist"
    assert collect(layers, out) == [
        "small-python3.13-arm64.sbom.cdx.json", "small-python3.13-arm64.zip", "SHA256SUMS"
    ]  # fmt: skip
    assert zipfile.ZipFile(out / "small-python3.13-arm64.zip").namelist() == ["python/a.py"]
    first = (out / "SHA256SUMS").read_text()
    collect(layers, out)
    assert (out / "SHA256SUMS").read_text() == first
    done = subprocess.run([shutil.which("sha256sum"), "--check", "SHA256SUMS"], cwd=out, check=False)
    assert done.returncode == 0


def test_what_cannot_be_released_is_told(layers, tmp_path):
    """A layer without its bill of materials, or no layer at all."""
    (layers / "small-python3.13-arm64" / "sbom.cdx.json").unlink()
    with pytest.raises(SystemExit, match=r"has no sbom\.cdx\.json"):
        collect(layers, tmp_path / "dist")
    with pytest.raises(SystemExit, match="python -m layer build"):
        collect(layers / "small-host", tmp_path / "dist")
