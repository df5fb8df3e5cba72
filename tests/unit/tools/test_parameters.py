"""The page of parameters has every parameter of the template, with what it takes."""

import re
from typing import Any

import pytest
from samcli.yamlhelper import yaml_parse
from support.project import ROOT

from tools.pages import parameters

PAGE = parameters.make_page()


def test_every_parameter_has_its_row() -> None:
    """Once; a parameter that no group of the template names would be missing."""
    rows = re.findall(r"^\| `(\w+)` \| ", PAGE, re.MULTILINE)
    assert sorted(rows) == sorted(yaml_parse((ROOT / "template.yaml").read_text())["Parameters"])


@pytest.mark.parametrize(
    ("parameter", "takes"),
    [
        ({"Type": "String", "AllowedValues": ["on", ""]}, "`on`, empty"),
        ({"Type": "Number", "MinValue": 1, "MaxValue": 10000}, "1 to 10,000"),
        ({"Type": "Number", "MinValue": 1}, "from 1 on"),
        ({"Type": "String", "AllowedPattern": "a|b", "ConstraintDescription": "a or b"}, "a or b"),
        ({"Type": "String", "AllowedPattern": "a+"}, "`a+`"),
        ({"Type": "Number"}, "a number"),
        ({"Type": "String"}, "text"),
    ],
)
def test_what_a_parameter_takes_is_said(parameter: dict[str, Any], takes: str) -> None:
    """By its values, its range or its constraint, in this order."""
    assert parameters.describe_values(parameter) == takes
