"""The modules that are imported beside a prediction: public ones, and those that they name."""

import pytest

from layer.builder.verify.imports import get_folders, list_modules, list_only_imports, list_packages

TREE = {
    "pkg/__init__.py": "from . import _core",
    "pkg/_core.py": "def lazy():\n    import helper._private.deep\n    from helper import one, missing",
    "pkg/public.py": "from .sub import leaf\nimport os, absent",
    "pkg/sub/__init__.py": "",
    "pkg/sub/leaf.py": "from ... import beyond",
    "pkg/sub/_hidden.py": "",
    "pkg/sub/near.py": "from . import _beside",
    "pkg/sub/_beside.py": "",
    "pkg/tests/test_all.py": "import helper.only_tested",
    "pkg/fast.cpython-311-x86_64-linux-gnu.so": "",
    "pkg/__main__.py": "",
    "pkg/template-file.py": "{{",
    "pkg/broken.py": "def (",
    "helper/__init__.py": "",
    "helper/one.py": "",
    "helper/two.py": "",
    "helper/only_tested.py": "",
    "helper/_private/deep.py": "",
    "single.py": "",
}


@pytest.fixture
def tree(tmp_path):
    """Return a tree with two packages and a module."""
    for name, text in TREE.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_modules(tree):
    """Public modules count, and what theirs import, in functions too; tests and scripts do not."""
    assert list_modules(tree, ["pkg"], ["**/tests/**"]) == [
        "helper",
        "helper._private.deep",
        "helper.one",
        "pkg",
        "pkg._core",
        "pkg.broken",
        "pkg.fast",
        "pkg.public",
        "pkg.sub",
        "pkg.sub._beside",
        "pkg.sub.leaf",
        "pkg.sub.near",
    ]


def test_dotted(tree):
    """A package within another counts alone."""
    assert list_modules(tree, ["pkg.sub"]) == [
        "pkg.sub", "pkg.sub._beside", "pkg.sub.leaf", "pkg.sub.near",
    ]  # fmt: skip


def test_packages(tree):
    """Top-level packages and modules are those that can be imported."""
    assert list_packages(tree) == ["helper", "pkg", "single"]


def test_folders():
    """A package's files are in its folder, its module, or its libraries."""
    assert get_folders(["google.protobuf"]) == (
        "google/protobuf/**",
        "google/protobuf.py",
        "google/protobuf.*.so",
        "google.libs/**",
    )


@pytest.mark.parametrize(
    ("body", "packages"),
    [
        ("import json, pkg.sub\n    from helper import one\n    return pkg.__version__", ("helper", "pkg")),
        ("import pkg\n    return pkg.predict(1)", ()),
        ("return 1", ()),
    ],
    ids=["imports", "calls", "nothing"],
)
def test_only_imports(body, packages, tmp_path):
    """A script that calls nothing proves imports alone, so these packages stay whole."""
    script = tmp_path / "smoke.py"
    script.write_text(f"def answer():\n    {body}\n")

    assert list_only_imports(script) == packages
