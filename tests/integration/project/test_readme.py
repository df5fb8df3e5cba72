"""The README and the pages say what is so: requests, results, commands."""

import json
import re
import shlex
import shutil
import subprocess
import sys

import numpy as np
import pytest
from support.events import case
from support.project import ROOT

from lambda_inference._errors import Fault
from lambda_inference._requests import BaseRequest
from lambda_setup.commands.parser import build_parser as build_setup_parser
from layer.builder.cli import build_parser
from translator import TranslationRequest

REQUESTS = (ROOT / "docs" / "reference" / "requests.md").read_text()
PAGES = [*ROOT.glob("*.md"), *sorted((ROOT / "docs").rglob("*.md"))]
LAYER_COMMANDS = re.compile(r"python -m layer ([a-z].*?) *(?:#.*|`.*)?$", re.MULTILINE)
SETUP_COMMANDS = re.compile(
    r"^(?:.*`)?python -m lambda_setup ([a-z][^`\n|&]*?) *(?:#.*|`.*|&&.*|\|\|.*)?$", re.MULTILINE
)


def test_reader_reads_results(function, stack, tmp_path):
    """The five lines that read results do, in a fresh interpreter."""
    event = case("event").event | {"id": "readme"}
    predictions, arrays = sorted(stack.save(function.invoke(event), tmp_path), key=lambda path: path.suffix)
    shutil.copy(predictions, tmp_path / "predictions.jsonl.gz")
    shutil.copy(arrays, tmp_path / "attention.npz")
    code = re.search(r"```python\n(import gzip.*?)```", REQUESTS, re.DOTALL)[1]
    show = "print(json.dumps([len(records), [each.tolist() for each in maps]]))"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{show}"], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    count, maps = json.loads(done.stdout)
    assert count == 20
    assert len(maps) == 60
    for one in maps:
        np.testing.assert_allclose(np.sum(one, axis=1), 1, atol=1e-3)


def test_tables_name_every_field_and_error():
    """Each field of a request and each error has its row, with its default or its status."""
    decoding = (ROOT / "docs" / "reference" / "decoding.md").read_text()
    rows = {
        name: row
        for row in re.findall(r"^\| (.*?) \| (.*?) \| (.*?) \|", decoding + REQUESTS, re.MULTILINE)
        for name in re.findall(r"\w+", row[0])
    }
    for name in TranslationRequest.__struct_fields__:
        assert name in rows
    for fault in _subclasses(Fault):
        if fault is not Fault:
            assert f"| {fault.status} | `{fault.code}` |" in REQUESTS
    assert set(BaseRequest.__struct_fields__) < set(rows)


@pytest.mark.parametrize(
    "command",
    sorted({found for page in PAGES for found in LAYER_COMMANDS.findall(page.read_text())}),
)
def test_layer_commands_are_understood(command):
    """Every command of the layer builder that the pages name is one."""
    assert build_parser().parse_args(shlex.split(command)).run


def test_commands_exist():
    """Every make target that a page names is in the Makefile."""
    makefile = (ROOT / "Makefile").read_text()
    for page in PAGES:
        for target in set(re.findall(r"(?:`|^)make ([a-z]\w*)", page.read_text(), re.MULTILINE)):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), (page.name, target)


def test_setup_commands_are_understood():
    """Every command of the operator that a page names parses, placeholders and all."""
    for page in PAGES:
        for command in set(SETUP_COMMANDS.findall(page.read_text())):
            try:
                build_setup_parser().parse_args(shlex.split(command))
            except SystemExit:
                pytest.fail(f"{page.name}: {command}")


def _subclasses(kind):
    return {kind} | {below for each in kind.__subclasses__() for below in _subclasses(each)}
