"""Templates of new functions: made of templates in any layout, or refused before anything is written."""

import re
from pathlib import Path

import pytest
from samcli.yamlhelper import yaml_parse

from lambda_setup.errors import CommandError
from lambda_setup.functions import ROOT
from lambda_setup.scaffold.places import find_places
from lambda_setup.scaffold.template import edit_samconfig, edit_template

EXAMPLE = ROOT / "examples" / "embedding_function"
PLACES = find_places("mine")
OTHER = """\
# A template of ours.
Parameters: {Engine: {Default: "theirs" , # by us
    AllowedValues: ["theirs", 'another']}, ModelName: {Default: 'theirs'}}
Resources:
    Alarm: {Type: "AWS::CloudWatch::Alarm", Properties: {Location: "no, this one is not it"}}
    Theirs:
        Properties:
            Parameters:
                Engine: {Ref: Engine}    # both forms
                "ModelName": !Ref "ModelName"
                CodeFolder: >-
                    theirs_function
            # where the root is
            Location:   ./../template.yaml # here
        Type: AWS::Serverless::Application
Description: |
    Several lines,
    and more.
Metadata: {Default: theirs}
"""


def write(folder: Path, text: str) -> Path:
    """Write a template byte by byte."""
    path = folder / "template.yaml"
    path.write_bytes(text.encode())
    return path


def read_values(text: str) -> list[str]:
    """Return what is a function's own in a template."""
    found = yaml_parse(text)
    application = next(one for one in found["Resources"].values() if one["Type"].endswith("Application"))
    return [
        found["Parameters"]["Engine"]["Default"],
        found["Parameters"]["ModelName"]["Default"],
        application["Properties"]["Location"],
        application["Properties"]["Parameters"]["CodeFolder"],
        found["Description"],
    ]


MINE = ["mine", "mine", "../template.yaml", "mine_function", "mine."]


def test_shipped_template_is_changed_in_six_lines():
    """All else is as it was, letter by letter."""
    before = (EXAMPLE / "template.yaml").read_text().splitlines()
    after = edit_template(PLACES, EXAMPLE / "template.yaml").splitlines()
    changed = [new for old, new in zip(before, after, strict=True) if old != new]
    assert changed == [
        "Description: mine.",
        "    Default: mine",
        "    AllowedValues: [mine]",
        "    Default: mine",
        "      Location: ../template.yaml",
        "        CodeFolder: mine_function",
    ]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_template_in_another_layout(tmp_path, newline):
    """Comments, quotes, flow and block, an order of its own, other resources, and either line end."""
    text = edit_template(PLACES, write(tmp_path, OTHER.replace("\n", newline)))
    assert read_values(text) == MINE
    assert yaml_parse(text)["Parameters"]["Engine"]["AllowedValues"] == ["mine"]
    assert text.count("\r") == text.count("\n") * (newline == "\r\n")
    for kept in ("# A template of ours.", "# by us", "# both forms", "# where the root is", " # here",
                 "no, this one is not it", "Metadata: {Default: theirs}"):  # fmt: skip
        assert kept in text


def test_list_in_lines(tmp_path):
    """Its items become one, and the comment behind it stays."""
    lines = "AllowedValues:\n      - a   # one\n      - b # two\n    # of the list"
    text = (EXAMPLE / "template.yaml").read_text().replace("AllowedValues: [embedding]", lines)
    made = edit_template(PLACES, write(tmp_path, text))
    assert yaml_parse(made)["Parameters"]["Engine"]["AllowedValues"] == ["mine"]
    assert "      - mine # two\n    # of the list\n" in made


@pytest.mark.parametrize("name", ["on", "yes", "null", "no"])
def test_names_that_yaml_takes_for_other_things(name):
    """They are texts all the same."""
    assert read_values(edit_template(find_places(name), EXAMPLE / "template.yaml"))[:2] == [name, name]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("  ModelName:\n    Type", "  Model:\n    Type", "it has no Parameters.ModelName.Default"),
        ("AWS::Serverless::Application\n", "AWS::Serverless::Function\n", "it has 0 resources of type"),
        ("        Engine: !Ref Engine", "        Engine: embedding", "Parameters.Engine is not !Ref Engine"),
        (
            "        ModelName: !Ref ModelName\n",
            "",
            "has no Resources.Application.Properties.Parameters.ModelN",
        ),
        (
            "      Location: ../../template.yaml",
            "      Location: {ApplicationId: x}",
            r"line \d+ holds no text",
        ),
        ("    AllowedValues: [embedding]", "    AllowedValues: embedding", r"line \d+ holds no list"),
        (
            "Default: embedding\n    AllowedP",
            "Default: &x embedding\n    Other: *x\n    AllowedP",
            "is used twice, by an anchor",
        ),
        ("Description: embedding.", "Description: [", "while parsing"),
    ],
)
def test_what_cannot_be_edited_is_refused(tmp_path, old, new, reason):
    """The message names the file and the reason, and ends with what to add by hand."""
    text = (EXAMPLE / "template.yaml").read_text()
    assert old in text
    with pytest.raises(CommandError, match=reason) as error:
        edit_template(PLACES, write(tmp_path, text.replace(old, new, 1)))
    assert str(tmp_path / "template.yaml") in str(error.value)
    assert read_values(f"Description: mine.\n{str(error.value).partition(' of these:')[2]}") == MINE


def test_no_template_at_all(tmp_path):
    """It is a reason like others."""
    with pytest.raises(CommandError, match="No such file"):
        edit_template(PLACES, tmp_path / "template.yaml")


def test_samconfig(tmp_path):
    """Names are the new function's; a table that lacks is named, with all that has to be there."""
    path = tmp_path / "samconfig.toml"
    text = (EXAMPLE / "samconfig.toml").read_text()
    path.write_text(f"# ours\n{text}")
    made = edit_samconfig(find_places("my_own"), path)
    assert made.startswith("# ours\n")
    assert re.findall(r'^(?:stack_name|s3_prefix|base_dir) = "(.*)"$', made, re.MULTILINE) == [
        "my-own", "..", "my-own",
    ]  # fmt: skip
    path.write_text(text.replace("[default.deploy.parameters]", "[default.deploy]"))
    with pytest.raises(CommandError, match=r"(?s)parameters.*\[default\.deploy\.parameters\]\ns3_prefix = "):
        edit_samconfig(PLACES, path)
