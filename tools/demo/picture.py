"""The terminal after ``make demo`` as a picture: a recorded run's records, shown by the code that shows them.

``records.jsonl`` holds lines of the run's ``predictions.jsonl.gz`` as the function wrote them.
"""

import io
import json
import re
from pathlib import Path

from rich.console import Console
from rich.text import Text

from lambda_setup import functions

PICTURE = "docs/images/demo.svg"
RECORDS = Path(__file__).with_name("records.jsonl")
RESULT = "prediction_outputs/cc84ef48-336e-4727-9243-67e5a86aad5f"
"""Key of the recorded run's result, without the file's name."""
FILES = {
    "predictions": f".demo/{RESULT}/predictions.jsonl.gz",
    "attention": f".demo/{RESULT}/attention-402831c36f7b63dc.npz",
    "picture": f".demo/{RESULT}/attention-0.png",
    "response": ".demo/response.json",
}
COLUMNS = 106
_FONTS = re.compile(r"\s*@font-face \{.*?\}", re.DOTALL)


def draw_demo() -> str:
    """Return the picture as SVG; it loads no font and nothing else."""
    records = [json.loads(line) for line in RECORDS.read_text(encoding="utf-8").splitlines()]
    show = functions.load_module(functions.get("translation"), "show")
    console = Console(
        record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, legacy_windows=False
    )
    console.print(Text("$ make demo", style="bold"))
    console.print(show.table(records) if show else None)
    console.print("…")
    for name, path in FILES.items():
        console.print(Text(f"{name:<12} {path}"), soft_wrap=True)
    svg = console.export_svg(title="make demo", unique_id="demo")
    lines = _FONTS.sub("", svg).replace("\xa0", "&#160;").splitlines()
    return "\n".join(line.rstrip() for line in lines) + "\n"
