"""Faults of libraries that are mended here: still there, or the mend can go."""

import re
import subprocess
import sys

from conftest import ROOT

DECISIONS = ROOT / "docs" / "decisions"


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
