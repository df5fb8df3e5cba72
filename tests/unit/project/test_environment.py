"""A project folder that was copied or moved runs its own code, also with the environment inside it."""

import shutil
import subprocess
import sys
import venv

import pytest
from support.project import ROOT

PROBE = "import lambda_setup as a, lambda_inference as b; print(a.__file__, b.__file__, sep=chr(10))"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Return a project whose environment tools/environment.py has seen, with a script as pip writes it."""
    folder = tmp_path_factory.mktemp("original") / "project"
    for package in ("lambda_setup", "layer/python/lambda_inference"):
        (folder / package).mkdir(parents=True)
        (folder / package / "__init__.py").touch()
    (folder / "tools").mkdir()
    shutil.copy(ROOT / "tools" / "environment.py", folder / "tools")
    venv.create(folder / ".venv", symlinks=True)
    script = folder / ".venv" / "bin" / "probe"
    script.write_text(f"#!{folder}/.venv/bin/python\n{PROBE}\n")
    script.chmod(0o755)
    follow(folder)
    return folder


def follow(folder):
    """Run the tool with the folder's own Python, as make does."""
    command = [folder / ".venv" / "bin" / "python", folder / "tools" / "environment.py", folder / ".venv"]
    subprocess.run(command, check=True, cwd="/")


def imported(*command):
    """Return what a fresh process imports, started from nowhere near the project."""
    return subprocess.run(
        command, check=True, capture_output=True, text=True, cwd="/", env={}
    ).stdout.splitlines()


def own(folder):
    """Return the modules of a folder."""
    paths = ("lambda_setup", "layer/python/lambda_inference")
    return [str(folder / path / "__init__.py") for path in paths]


@pytest.mark.parametrize("how", [shutil.copytree, shutil.move])
def test_own_code(project, tmp_path, how):
    """Python finds the folder's own packages at once, and scripts follow when make has run."""
    original = shutil.copytree(project, tmp_path / "original", symlinks=True)
    follow(original)
    folder = tmp_path / "with a space"
    how(original, folder, **({"symlinks": True} if how is shutil.copytree else {}))

    assert imported(folder / ".venv" / "bin" / "python", "-P", "-c", PROBE) == own(folder)
    follow(folder)
    assert str(original) not in (folder / ".venv" / "bin" / "probe").read_text()
    assert imported(folder / ".venv" / "bin" / "probe") == own(folder)


def test_other_environment(project, tmp_path):
    """An environment that another Python names is left as it is."""
    copy = shutil.copytree(project, tmp_path / "copy", symlinks=True)
    (copy / ".venv" / "prefix").unlink()
    tool = copy / "tools" / "environment.py"
    subprocess.run([sys.executable, tool, copy / ".venv"], check=True)

    assert not (copy / ".venv" / "prefix").exists()


def test_link(project, tmp_path):
    """An environment that another copy of the project links to stays as it is."""
    original = shutil.copytree(project, tmp_path / "original", symlinks=True)
    follow(original)
    script = (original / ".venv" / "bin" / "probe").read_text()
    other = shutil.copytree(project, tmp_path / "other", ignore=shutil.ignore_patterns(".venv"))
    (other / ".venv").symlink_to(original / ".venv")
    follow(other)

    assert (original / ".venv" / "bin" / "probe").read_text() == script
    assert imported(original / ".venv" / "bin" / "probe") == own(original)
