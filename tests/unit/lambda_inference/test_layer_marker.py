"""A layer that was built for another function is refused by name."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from lambda_inference import _layer_marker

HERE = {
    "engine": "opennmt",
    "runtime": f"python{sys.version_info.major}.{sys.version_info.minor}",
    "architecture": {"aarch64": "arm64"}.get(platform.machine(), platform.machine()),
}


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write a layer's marker and return its folder."""
    monkeypatch.setenv("ENGINE", "opennmt")

    def write(**changes):
        (tmp_path / _layer_marker.MARKER).write_text(json.dumps(HERE | changes))
        return tmp_path

    return write


def test_no_marker_is_no_question(tmp_path):
    """A development tree says nothing of what it was built for."""
    assert _layer_marker.check(tmp_path) == {}


def test_the_right_layer_passes(write):
    """What was built for this function is taken; whether it is to be unpacked is known from there on."""
    assert _layer_marker.check(write()) == HERE
    assert "archive" in _layer_marker.check(write(archive={"file": "layer.tar.zst"}))


def test_a_layer_for_every_engine_passes(write):
    """A layer that is for no engine in particular is not refused for another one."""
    assert _layer_marker.check(write(engine=""))["engine"] == ""


def test_what_a_layer_says_of_its_start(write):
    """The package finds split libraries, and lists of what a start reads, in the folder of their marker."""
    folder = write(split=["x/a.so"], starts=["base.txt", "own.txt"])
    program = (
        "import sys, types; sys.modules['lambda_inference'] = types.ModuleType('lambda_inference'); "
        "sys.modules['lambda_inference'].__path__ = [sys.argv[1]]; "
        "from lambda_inference import _layer_marker as found; print(found.split, found.start, found.nested)"
    )
    package = str(Path(_layer_marker.__file__).parent)

    def run(*folders):
        return subprocess.run(
            [sys.executable, "-c", program, package],
            env={"PYTHONPATH": os.pathsep.join(folders)}, capture_output=True, text=True, check=True,
        ).stdout.strip()  # fmt: skip

    assert run(str(folder)) == f"True {[str(folder / name) for name in ('base.txt', 'own.txt')]} False"
    assert run() == "False [] False"


@pytest.mark.parametrize(
    "change", [{"engine": "ctranslate2"}, {"runtime": "python3.99"}, {"architecture": "riscv64"}]
)
def test_another_layer_is_refused(write, change):
    """The error names what was built and what runs, and what to do."""
    [(name, value)] = change.items()
    with pytest.raises(RuntimeError, match=f"{name} {value}, not {HERE[name]}.*same --config-env"):
        _layer_marker.check(write(**change))
