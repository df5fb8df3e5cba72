"""OpenNMT-py's own translate command, batch size 1: what every answer is compared with."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

# Importing onmt.transforms imports these, and they need packages that inference does not.
UNUSED_TRANSFORMS = ("terminology.py", "inlinetags.py", "fuzzymatch.py", "clean.py")

# The command, with its -with_score mended: beam search has returned plain floats since 3.5, and the
# option calls item() on them.
COMMAND = """
import torch
from onmt.bin.translate import main
from onmt.translate.beam_search import BeamSearch

initialise = BeamSearch.__init__

def with_tensors(self, *args, **kwargs):
    initialise(self, *args, **kwargs)
    class Scores(list):
        def append(self, score):
            super().append(torch.tensor(score))
    self.scores = [Scores() for _ in self.scores]

BeamSearch.__init__ = with_tensors
main()
"""


@dataclass(frozen=True)
class Reference:
    """What the command says of one sentence: hypotheses as (tokens, score), and the best one's attention."""

    hypotheses: list[tuple[list[str], float]]
    attention: np.ndarray


def translate(
    model: Path, sentences: list[list[str]], beam: int, n_best: int, folder: Path
) -> list[Reference]:
    """Run ``onmt_translate`` on tokenised sentences.

    The command's own code is untouched: only the four transforms are left out of the copy it
    runs from.
    """
    package = folder / "onmt"
    if not package.exists():
        _copy_without_transforms(package)
    source, output, log = folder / "source.txt", folder / "output.txt", folder / "log.txt"
    source.write_text("".join(" ".join(tokens) + "\n" for tokens in sentences))
    command = [
        sys.executable, "-c", COMMAND, "-model", model, "-src", source, "-output", output,
        "-log_file", log, "-beam_size", str(beam), "-n_best", str(n_best), "-batch_size", "1",
        "-batch_type", "sents", "-with_score", "-attn_debug", "-gpu", "-1",
    ]  # fmt: skip
    # The command loads checkpoints as torch did before 2.6; this one is our own.
    environment = os.environ | {
        "PYTHONPATH": str(folder),
        "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1",
        "OMP_NUM_THREADS": "1",
    }
    subprocess.run(command, check=True, cwd=folder, env=environment, capture_output=True)
    lines = [line.rpartition("\t") for line in output.read_text().splitlines()]
    hypotheses = [(tokens.split(" ") if tokens else [], float(score)) for tokens, _, score in lines]
    return [
        Reference(hypotheses[number * n_best : (number + 1) * n_best], attention)
        for number, attention in enumerate(_attention(log.read_text()))
    ]


def _copy_without_transforms(package: Path) -> None:
    original = Path(find_spec("onmt").submodule_search_locations[0])
    for path in sorted(original.rglob("*.py")):
        relative = path.relative_to(original)
        if relative.parts[0] == "transforms" and relative.name in UNUSED_TRANSFORMS:
            continue
        (package / relative).parent.mkdir(parents=True, exist_ok=True)
        (package / relative).symlink_to(path)


def _attention(log: str) -> list[np.ndarray]:
    """Return the matrices that ``-attn_debug`` logs: a row a target token, the end of the sentence last."""
    matrices: list[list[list[float]]] = []
    inside = False
    for line in log.splitlines():
        numbers = line[11:].split()  # report_matrix: a label of ten characters, then the row
        if not numbers or not all(re.fullmatch(r"\d\.\d{7}", number) for number in numbers):
            inside = False
            continue
        if not inside:
            matrices.append([])
            inside = True
        matrices[-1].append([float(number) for number in numbers])
    return [np.array(matrix) for matrix in matrices]
