"""Faults of libraries that are mended here: still there, or the mend can go."""

import json
import re
import subprocess
import sys

import pytest
from support.project import ROOT

DECISIONS = ROOT / "docs" / "decisions"


@pytest.mark.check
def test_ctranslate2_still_confuses_first_rows():
    """The reproduction prints row 0 of some sentences, and nothing else."""
    text = (DECISIONS / "008-ctranslate2-answers.md").read_text()
    [script] = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, text=True
    )
    rows = re.findall(r"^\S+ row (\d+) is off by 0\.\d+$", done.stdout, flags=re.MULTILINE)
    assert rows == ["0", "0"], (
        f"row 0 is right now, and engine_ctranslate2 need not ask for it: {done.stdout}"
    )


def test_quality_is_what_was_measured():
    """Each engine's BLEU and chrF in the decision are those of the last run."""
    text = (DECISIONS / "008-ctranslate2-answers.md").read_text()
    stated = re.findall(r"^\| (\w+) \| (float32|int8) \| ([\d.]+) \| ([\d.]+) \|$", text, re.MULTILINE)
    engines = json.loads((ROOT / "bench" / "engines.json").read_text())["engines"]
    assert stated == [
        (one["engine"], one["precision"], f"{one['bleu']:.1f}", f"{one['chrf']:.1f}") for one in engines
    ]
