"""Template and samconfig.toml of a new function: one text of each, filled with the function's names."""

from pathlib import Path
from string import Template

from lambda_setup.functions import ROOT
from lambda_setup.scaffold.files import Files
from lambda_setup.scaffold.places import Places

SOURCES = Path(__file__).parent / "code" / "shared"
"""The texts, in which ``$name`` stands for a function's name, and ``$$`` for the sign itself."""


def plan_deployment(places: Places) -> Files:
    """Return the template and the samconfig.toml of a new function."""
    code = places.code.relative_to(ROOT)
    values = {
        "name": places.name,
        "model": places.model_name,
        "stack": places.model_name,
        "code": str(code),
        "root": "/".join([".."] * len(code.parts)),
    }
    return {
        places.code / file: Template((SOURCES / file).read_text(encoding="utf-8")).substitute(values)
        for file in ("template.yaml", "samconfig.toml")
    }
