"""Packages without a wheel: built by pip itself in its isolation, from a folder, without a network."""

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from support.packages import make_sdist, make_wheel

from layer.builder.errors import ResolveError
from layer.builder.recipe import parse
from layer.builder.target import get_target
from layer.builder.wheels import lock as locks
from layer.builder.wheels.install import fetch, install
from layer.builder.wheels.resolve import resolve
from layer.builder.wheels.sdist import rewrite
from layer.builder.wheels.tool import run_pip

ARM = get_target("python3.13-arm64")


@pytest.fixture
def index(tmp_path, monkeypatch):
    """Return the folder that is all pip knows."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    folder = tmp_path / "index"
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return folder


def recipe(folder: Path, *pins: str):
    """Return a recipe with these pins, whose lock is the test's own."""
    return parse({"name": "mine", "requirements": list(pins)}, folder / "mine")


def test_a_pure_one_is_built_and_locked(index, tmp_path):
    """For a foreign target too; another machine builds the same bytes from the lock alone."""
    sdist = make_sdist(index, "toy")
    mine, cache = recipe(tmp_path, "toy==1.0"), tmp_path / "cache"
    made = locks.make(mine, ARM, cache)

    (wheel,) = made.wheels
    assert locks.read(mine, ARM) == made
    assert f"# {sdist.name} builds toy-1.0-py3-none-any.whl sha256:{wheel.sha256}" in made.path.read_text()
    assert fetch(made, ARM, "", cache, lambda _: None) == 0
    assert fetch(made, ARM, "", tmp_path / "other", lambda _: None) == 1
    install(made, ARM, tmp_path / "other", tmp_path / "tree")
    assert (tmp_path / "tree" / "toy.py").read_text() == "x = 1\n"
    assert (tmp_path / "tree" / "toy-1.0.dist-info" / "licenses" / "LICENSE").is_file()

    other = replace(made, wheels=(replace(wheel, sha256="0" * 64),))
    with pytest.raises(ResolveError, match=r"toy-1\.0\.tar\.gz builds another wheel here .* lock again"):
        fetch(other, ARM, "", cache, lambda _: None)


def test_one_with_code_to_compile_is_refused(index, tmp_path):
    """By its name, with what to do."""
    make_sdist(index, "toy", tag="cp311-cp311-linux_x86_64")

    with pytest.raises(ResolveError) as refusal:
        resolve(recipe(tmp_path, "toy==1.0"), ARM, tmp_path / "cache")

    message = str(refusal.value)
    assert "toy==1.0 has no wheel for the target" in message
    assert "toy-1.0.tar.gz has code to compile" in message
    assert "pip index versions toy" in message
    assert "PIP_FIND_LINKS" in message


def test_one_that_nobody_has_is_named(index, tmp_path):
    """With what pip says about it, and what to do."""
    make_wheel(index, "other")

    with pytest.raises(ResolveError, match=r"(?s)toy==1.0 has no wheel .*No matching.*pip index") as refusal:
        resolve(recipe(tmp_path, "toy==1.0"), ARM, tmp_path / "cache")

    assert "pip wheel" not in str(refusal.value)  # there is nothing to build


def test_build_tools_leave_no_mark(tmp_path):
    """What another version of setuptools writes elsewhere, in another order, or as well."""
    files = {"toy.py": "x = 1\n"}
    info = "toy-1.0.dist-info"
    one = make_wheel(tmp_path / "one", "toy", {**files, f"{info}/LICENSE": "take it\n"}, ("a", "b"))
    two = make_wheel(
        tmp_path / "two", "toy",
        {f"{info}/licenses/LICENSE": "take it\n", f"{info}/extra.json": "{}", **files}, ("b", "a"),
    )  # fmt: skip

    assert rewrite(one) == rewrite(two)


def test_no_compiler_is_started(monkeypatch):
    """C code fails at once, instead of minutes later; dates are the same each time."""
    seen = {}

    def run(*_, env, **__):
        seen.update(env)
        return subprocess.CompletedProcess([], 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    run_pip(["wheel", "toy"])

    assert (seen["CC"], seen["CXX"], seen["SOURCE_DATE_EPOCH"]) == ("false", "false", "315532800")
