"""Templates of new functions: the text that the examples have, with other names."""

import tomllib

import pytest
from samcli.yamlhelper import yaml_parse
from support.project import ROOT

from lambda_setup.functions import discover
from lambda_setup.scaffold.places import find_places
from lambda_setup.scaffold.template import plan_deployment

EXAMPLES = [one for one in discover() if one.home.parent == ROOT / "examples"]


def plan(name: str) -> dict[str, str]:
    """Return the texts for a new function, by the name of the file."""
    return {path.name: str(text) for path, text in plan_deployment(find_places(name)).items()}


@pytest.mark.parametrize("name", ["my_own", "on", "yes", "null", "no"])
def test_names_are_in_their_places(name):
    """Whatever they are, also those that YAML takes for other things."""
    files = plan(name)
    template = yaml_parse(files["template.yaml"])
    engine, model = template["Parameters"]["Engine"], template["Parameters"]["ModelName"]
    stack = name.replace("_", "-")
    assert (engine["Default"], engine["AllowedValues"], model["Default"]) == (name, [name], stack)
    assert template["Description"] == f"{name}."
    properties = template["Resources"]["Application"]["Properties"]
    assert properties["Location"] == "../template.yaml"
    assert properties["Parameters"]["CodeFolder"] == f"{name}_function"
    settings = tomllib.loads(files["samconfig.toml"])["default"]
    assert settings["global"]["parameters"]["stack_name"] == stack
    assert settings["deploy"]["parameters"]["s3_prefix"] == stack
    assert settings["build"]["parameters"]["base_dir"] == ".."
    assert "$$" not in "".join(files.values())


@pytest.mark.parametrize("one", EXAMPLES, ids=lambda one: one.name)
def test_examples_have_the_same_text(one):
    """So what is deployed and tested of an example holds for a new function; only its own values differ."""
    for file, text in plan(one.name).items():
        lines, others = text.splitlines(), (one.home / file).read_text(encoding="utf-8").splitlines()
        differing = [new for new, old in zip(lines, others, strict=True) if new != old]
        own = ("Description:", "Default:", "AllowedValues:", "Location:", "CodeFolder:", "base_dir =")
        assert all(line.lstrip().startswith(own) for line in differing), differing
