"""What forks import: the public names, and the former ones that still work with a warning."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Annotated

import pytest
from msgspec import Meta

import lambda_inference
from lambda_inference import BadRequest, Deadline, OutOfTime, load_engine_module
from lambda_inference._requests import parse
from lambda_inference.texts import TextRequest


class Greeting(TextRequest, kw_only=True):
    """Texts, and a check of its own beside theirs."""

    mark: Annotated[str, Meta(description="one character")] = "!"

    def __post_init__(self):
        super().__post_init__()
        if len(self.mark) != 1:
            raise BadRequest("mark takes one character", field="mark")


PUBLIC = ["inputs", "networks", "results", "tensors", "texts", "threads"]
FORMER = [
    ("lambda_inference.tensors", "checkpoint", "from lambda_inference.tensors import load_checkpoint"),
    ("lambda_inference.tensors", "safetensors", "from lambda_inference.tensors import load_safetensors"),
    ("lambda_inference.models", "Fetch", "from lambda_inference import BackgroundTask"),
    ("lambda_inference.models", "Manifest", "from lambda_inference import Manifest"),
    ("lambda_inference.models", "Model", "from lambda_inference import Model"),
    ("lambda_inference.threads", "threads", "from lambda_inference.threads import thread_count"),
    ("lambda_inference.texts", "checked", "from lambda_inference.texts import TextRequest"),
    ("lambda_inference.texts", "text_of", "from lambda_inference.texts import TextRequest"),
]


def defined_names(module) -> set[str]:
    """Return the names without an underscore that a module's own statements define."""
    names = set()
    for node in ast.parse(Path(module.__file__).read_text()).body:
        match node:
            case ast.FunctionDef() | ast.ClassDef():
                names.add(node.name)
            case ast.Assign(targets=targets):
                names.update(target.id for target in targets if isinstance(target, ast.Name))
    return {name for name in names if not name.startswith("_")}


def test_modules_are_public_by_name_or_have_an_underscore():
    """A fork that imports a private module sees that it does."""
    folder = Path(lambda_inference.__file__).parent
    assert {path.stem for path in folder.glob("*.py") if not path.stem.startswith("_")} == {*PUBLIC, "models"}


@pytest.mark.parametrize("name", PUBLIC)
def test_public_modules_export_what_they_define(name):
    """No name of a public module is public by accident."""
    module = importlib.import_module(f"lambda_inference.{name}")
    assert sorted(module.__all__) == sorted(defined_names(module))


def test_the_package_exports_what_it_imports():
    """Every name is in __all__, and every one of them is there; star imports get no module."""
    names = {
        name
        for name, value in vars(lambda_inference).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    assert sorted(lambda_inference.__all__) == sorted(names)


@pytest.mark.parametrize(("module", "name", "statement"), FORMER)
def test_former_names_warn_and_name_their_successor(module, name, statement):
    """What an earlier release taught works for one more, and says what to write instead."""
    with pytest.warns(FutureWarning, match=statement):
        former = getattr(importlib.import_module(module), name)
    assert callable(former)
    _, home, _, successor = statement.split()
    assert hasattr(importlib.import_module(home), successor)


def test_former_names_are_reported_where_they_are_imported():
    """The warning's line is the line to change."""
    code = "from lambda_inference.threads import threads\n"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "<string>:1: FutureWarning" in done.stderr


@pytest.mark.parametrize("module", ["threads", "texts", "models", "tensors"])
def test_unknown_names_are_unknown(module):
    """A name that no release had is an AttributeError, as it is for any module."""
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        importlib.import_module(f"lambda_inference.{module}").nothing  # noqa: B018


def test_a_text_request_adds_only_its_own_fields():
    """Texts are parsed and checked, a line's JSON value is understood, and own checks run beside."""
    assert parse({"data": '["a", "b"]'}, Greeting).data == ["a", "b"]
    assert [Greeting.item("a"), Greeting.item({"text": "a", "id": 1})] == ["a", "a"]
    with pytest.raises(BadRequest, match="lone surrogate"):
        parse({"data": ["\ud800"]}, Greeting)
    with pytest.raises(BadRequest, match="mark takes one character"):
        parse({"data": ["a"], "mark": ""}, Greeting)


def test_batches_end_with_the_time():
    """Slices come with the position of their first item; none is begun after the deadline."""
    assert list(Deadline.after(60).batches("abcde", 2)) == [(0, "ab"), (2, "cd"), (4, "e")]
    with pytest.raises(OutOfTime, match="0 of 5 items"):
        next(Deadline.after(0).batches("abcde", 2))


def test_the_engine_is_chosen_by_the_environment(tmp_path, monkeypatch):
    """ENGINE names a module beside the predictor; without it the default is imported."""
    for name in ("one", "two"):
        (tmp_path / f"engine_{name}.py").write_text(f"NAME = '{name}'\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("ENGINE", raising=False)
    assert load_engine_module("one").NAME == "one"
    monkeypatch.setenv("ENGINE", "two")
    assert load_engine_module("one").NAME == "two"
