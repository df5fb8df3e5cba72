"""Which functions there are, and that their templates fit the one at the root."""

import sys

import pytest
from samtranslator.yaml_helper import yaml_parse
from support.project import ROOT

from lambda_setup import functions
from lambda_setup.errors import CommandError
from layer.builder.recipe import load

ROOT_TEMPLATE = yaml_parse((ROOT / "template.yaml").read_text())
OTHERS = [one for one in functions.discover() if one.home != ROOT]

each = pytest.mark.parametrize("one", OTHERS, ids=lambda one: one.name)


def test_translator_and_examples():
    """The translator comes first; the examples are there."""
    names = [one.name for one in functions.discover()]
    assert names[0] == "translation"
    assert {"fastai", "keras", "spacy"} <= set(names)


def test_unknown_names_are_told_what_there_is():
    """A wrong name is answered with the right ones."""
    with pytest.raises(CommandError, match="no function 'nothing'; there are translation, "):
        functions.get("nothing")
    with pytest.raises(CommandError, match="no function of this project runs models made for 'nothing'"):
        functions.for_engine("nothing")


def test_engines_have_one_function_each():
    """No engine is run by two functions, so that a model tells which one answers."""
    engines = [engine for one in functions.discover() for engine in sorted(one.engines)]
    assert len(engines) == len(set(engines))
    assert all(load(engine).engine == engine for engine in engines)


@each
def test_template_names_what_is_there(one):
    """A function's template deploys that function, with parameters that the root's template takes."""
    template = yaml_parse((one.home / "template.yaml").read_text())
    [(_, application)] = template["Resources"].items()
    properties = application["Properties"]
    assert (one.home / properties["Location"]).resolve() == ROOT / "template.yaml"
    assert ROOT / properties["Parameters"]["CodeFolder"] == one.code
    assert properties["Parameters"].keys() <= ROOT_TEMPLATE["Parameters"].keys()
    for name, value in properties["Parameters"].items():
        assert name == "CodeFolder" or value == {"Ref": name}
        if name not in {"CodeFolder", "Engine", "ModelName"}:
            shared = ROOT_TEMPLATE["Parameters"][name]
            assert template["Parameters"][name]["Type"] == shared["Type"]
    assert set(template["Parameters"]["Engine"]["AllowedValues"]) == one.engines
    # By these `teardown` says that a new stack takes buckets over.
    assert {"ModelBucketName", "ResultBucketName"} <= properties["Parameters"].keys()
    assert (one.model / "model.toml").is_file()


@each
def test_outputs_are_the_roots(one):
    """What the operator's commands look for among a stack's outputs is there."""
    outputs = yaml_parse((one.home / "template.yaml").read_text())["Outputs"]
    for name, output in outputs.items():
        assert name in ROOT_TEMPLATE["Outputs"]
        if name != "PublishCommand":
            assert output["Value"] == {"Fn::GetAtt": ["Application", f"Outputs.{name}"]}
        else:
            assert output["Value"] == ROOT_TEMPLATE["Outputs"][name]["Value"]
    assert {"ModelBucketName", "ResultBucketName", "FunctionAliasArn", "LogGroupName"} <= outputs.keys()


@each
def test_every_event_has_its_answer(one):
    """No event is without its answer, and no answer without its event."""
    files = {path.name for path in (one.home / "events").rglob("*.json")}
    events = {name for name in files if not name.endswith(".answer.json")}
    assert events
    assert files == events | {name.replace(".json", ".answer.json") for name in events}


def test_modules_of_two_functions_have_siblings_of_their_own(tmp_path):
    """A copy of a function keeps its modules' names."""
    for name in ("a", "b"):
        folder = tmp_path / f"{name}_function"
        folder.mkdir()
        (folder / "sibling_of_hooks.py").write_text(f"NAME = {name!r}\n")
        (folder / "hooks.py").write_text("import sibling_of_hooks\nNAME = sibling_of_hooks.NAME\n")
        module = functions.load_module(functions.Function(folder, folder), "hooks")
        assert vars(module)["NAME"] == name
    assert "sibling_of_hooks" not in sys.modules
