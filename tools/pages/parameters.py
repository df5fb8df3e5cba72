"""The page of the template's parameters: defaults, what they take and what they mean, from template.yaml."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from samcli.yamlhelper import yaml_parse

from bench.table import escape

DOCUMENT = "docs/reference/parameters.md"
TEMPLATE = Path(__file__).resolve().parents[2] / "template.yaml"
_TEXT = (Path(__file__).parent / "texts" / "parameters.md").read_text(encoding="utf-8").rstrip("\n")


def make_page(template: Path = TEMPLATE) -> str:
    """Return the page's text: a table for each of the template's groups."""
    content = yaml_parse(template.read_text(encoding="utf-8"))
    parameters = content["Parameters"]
    lines = [_TEXT]
    for group in content["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]:
        lines += [
            "",
            f"## {group['Label']['default']}",
            "",
            "| parameter | default | takes | meaning |",
            "|---|---|---|---|",
        ]
        lines += [_draw(name, parameters[name]) for name in group["Parameters"]]
    return "\n".join(lines) + "\n"


def _draw(name: str, parameter: Mapping[str, Any]) -> str:
    default = str(parameter["Default"])
    shown = f"`{default}`" if default else "empty"
    return (
        f"| `{name}` | {shown} | {escape(describe_values(parameter))} | {escape(parameter['Description'])} |"
    )


def describe_values(parameter: Mapping[str, Any]) -> str:
    """Return what a parameter takes: its values, its range, or its constraint in words."""
    if values := parameter.get("AllowedValues"):
        return ", ".join(f"`{value}`" if str(value) else "empty" for value in values)
    if "MinValue" in parameter:
        return (
            f"{parameter['MinValue']:,} to {parameter['MaxValue']:,}"
            if "MaxValue" in parameter
            else f"from {parameter['MinValue']:,} on"
        )
    if "ConstraintDescription" in parameter:
        return str(parameter["ConstraintDescription"])
    if "AllowedPattern" in parameter:
        return f"`{parameter['AllowedPattern']}`"
    return "a number" if parameter["Type"] == "Number" else "text"
