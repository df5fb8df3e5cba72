"""Metadata: the licence of what is used stays, and what is looked up of packages that stay whole."""

import importlib.metadata

import pytest
from support.packages import make_wheel

from layer.builder.slim.globs import matches
from layer.builder.slim.metadata import get_globs, list_owners, list_wheel_owners, remove_descriptions
from layer.builder.tree import files
from layer.builder.wheels.tool import run_pip

INFO = "scikit_toy-1.0.dist-info"


@pytest.fixture
def tree(tmp_path):
    """Return a folder with a distribution that has another name than its package, installed by pip."""
    contents = {"toy/__init__.py": "", f"{INFO}/LICENSE": "", f"{INFO}/entry_points.txt": ""}
    wheel = make_wheel(tmp_path, "scikit_toy", contents)
    run_pip(["install", "--quiet", "--no-index", "--no-compile", "--target", str(tmp_path / "t"), str(wheel)])
    return tmp_path / "t"


@pytest.mark.parametrize(
    ("used", "whole", "expected"),
    [
        (["toy/__init__.py"], [], ["LICENSE"]),
        ([], ["toy/**"], ["LICENSE", "METADATA", "entry_points.txt"]),
        ([], [], []),
    ],
    ids=["used", "whole", "neither"],
)
def test_kept(used, whole, expected, tree):
    """By the installer's records, whatever the distribution's name."""
    globs = get_globs(list_owners(tree), used, whole)

    assert [file.path for file in files(tree) if matches(file.path, globs)] == [
        f"{INFO}/{name}" for name in expected
    ]


def test_a_record(tmp_path):
    """A line of it begins with the file's path, which may be quoted; empty lines are of none."""
    (tmp_path / INFO).mkdir()
    (tmp_path / INFO / "RECORD").write_text('toy/a.py,sha256=x,1\n\n"toy/b, c.py",,\n')
    assert list_owners(tmp_path) == {"toy/a.py": INFO, "toy/b, c.py": INFO}


def test_wheels_that_are_not_installed(tmp_path):
    """Every file of each belongs to its wheel's own folder."""
    wheels = [make_wheel(tmp_path, name, {f"{name}_toy/x.py": ""}) for name in ("a", "b")]
    owners = list_wheel_owners(wheels)
    assert owners["a_toy/x.py"] == owners["a-1.0.dist-info/WHEEL"] == "a-1.0.dist-info"
    assert owners["b_toy/x.py"] == "b-1.0.dist-info"
    assert list_wheel_owners([]) == {}


def read_fields(folder):
    """Return the fields of an installed distribution, as ``importlib.metadata`` reads them."""
    return importlib.metadata.PathDistribution(folder).metadata.items()


@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["unix", "windows"])
def test_descriptions_go(end, tmp_path):
    """All fields stay, those of several lines too, and are read as before."""
    fields = [
        "Metadata-Version: 2.4",
        "Name: toy",
        "Version: 1.0",
        "License: A licence",
        "        of two lines",
    ]
    for name in ("read", "toy"):
        text = end.join([*fields, "", "# Toy", "", "Name: another", ""])
        (tmp_path / f"{name}-1.0.dist-info").mkdir()
        (tmp_path / f"{name}-1.0.dist-info" / "METADATA").write_bytes(text.encode())
    whole = read_fields(tmp_path / "read-1.0.dist-info")
    assert whole.pop() == ("Description", "# Toy\n\nName: another\n")

    removed = remove_descriptions(tmp_path, ["read-1.0.dist-info/METADATA"])

    assert read_fields(tmp_path / "toy-1.0.dist-info") == whole
    assert len(read_fields(tmp_path / "read-1.0.dist-info")) == len(whole) + 1
    assert [(one.package, one.files) for one in removed] == [("toy", 0)]
    assert removed[0].bytes == len(text) - (tmp_path / "toy-1.0.dist-info" / "METADATA").stat().st_size
    assert remove_descriptions(tmp_path, ["read-1.0.dist-info/METADATA"]) == []
