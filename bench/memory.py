"""The memory that a request takes: the peak of a fresh process that answers it, after others or alone.

Run: ``.venv/bin/python -m bench.memory``. Each number is of a process of its own that loads the shipped
model, converted for its engine, and answers the requests in their order. The peak is the kernel's
(VmHWM: ru_maxrss would count the process that this one was forked from).
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.row import MODEL, ROOT, function_environment
from bench.worker import sentences, status

LONG = "Select the cell range. " * 434  # 9,982 characters
DENSE = "%$#@ " * 999  # 3,996 tokens
WIDEST = {"beam": 20, "n_best": 20, "return_attention": True}


def rows() -> dict[str, list[dict[str, Any]]]:
    """Return the requests of each row."""
    return {
        "the model alone": [],
        "620 sentences": [{"data": sentences()}],
        "620 sentences, n_best 5, attention": [{"data": sentences(), "n_best": 5, "return_attention": True}],
        "100 sentences, beam and n_best 20, attention": [{"data": sentences(100), **WIDEST}],
        "one item of 10,000 characters": [{"data": [LONG]}],
        "one item of 4,000 tokens": [{"data": [DENSE]}],
        "10,000 characters, beam and n_best 20, attention": [{"data": [LONG], **WIDEST}],
        "the last, then 100 sentences as above": [
            {"data": [LONG], **WIDEST},
            {"data": sentences(100), **WIDEST},
        ],
    }


def load_translator(model: Path) -> Any:
    """Return a Translator with the model in a folder."""
    from lambda_inference import Model
    from lambda_setup.models.describe import describe
    from translator import Translator

    manifest = describe(model)
    os.environ["ENGINE"] = manifest.engine
    files = {file.name: memoryview((model / file.name).read_bytes()) for file in manifest.files}
    translator = Translator()
    translator.load(Model(manifest, manifest.version, files))
    return translator


def answer(model: Path, requests: list[dict[str, Any]]) -> int:
    """Answer requests in this process with the model in a folder, and return its peak in MB."""
    from lambda_inference import Deadline
    from translator import TranslationRequest

    translator = load_translator(model)
    for request in requests:
        list(translator.predict(TranslationRequest(**request), Deadline.after(900)))
    return status("VmHWM") // 2**20


def main() -> None:
    """Print a row a sequence of requests, a column an engine."""
    from lambda_setup.models.convert import convert
    from lambda_setup.models.describe import describe

    with tempfile.TemporaryDirectory() as scratch:
        models = [MODEL]
        for precision in ("float32", "int8"):
            models.append(Path(scratch, precision))
            models[-1].mkdir()
            convert(MODEL, describe(MODEL), models[-1], "ctranslate2", precision)
        for name, requests in rows().items():
            peaks = []
            for model in models:
                command = [sys.executable, "-m", "bench.memory", str(model), json.dumps(requests)]
                done = subprocess.run(
                    command, capture_output=True, text=True, check=True, cwd=ROOT, env=function_environment()
                )
                peaks.append(f"{int(done.stdout):,}")
            print(f"| {name} | {' | '.join(peaks)} |", flush=True)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(answer(Path(sys.argv[1]), json.loads(sys.argv[2])))
    else:
        main()
