"""OpenNMT-py's own translate command, batch size 1: what every answer is compared with."""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

# Importing onmt.transforms imports these, and they need packages that inference does not.
UNUSED_TRANSFORMS = ("terminology.py", "inlinetags.py", "fuzzymatch.py", "clean.py")

# The command, once for each list of arguments, with two mends: beam search has returned plain floats since
# 3.5, and -with_score calls item() on them; and decoders that feed their input back have the beams of
# attention on the second axis.
COMMAND = """
import json
import sys

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
advance = BeamSearch.advance

def with_beams_first(self, log_probs, attn):
    if attn is not None and len(attn) != len(log_probs):
        attn = attn.transpose(0, 1)
    advance(self, log_probs, attn)

BeamSearch.advance = with_beams_first
for arguments in json.loads(sys.argv[1]):
    sys.argv[1:] = arguments
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
    [found] = translate_all(model, sentences, [{"beam_size": beam, "n_best": n_best}], folder)
    return found


def translate_all(
    model: Path, sentences: list[list[str]], runs: list[dict[str, Any]], folder: Path
) -> list[list[Reference]]:
    """Run the command once for each set of options; ``tgt`` is a list of the tokens to begin with."""
    return translate_each([(model, sentences, options) for options in runs], folder)


def translate_each(
    runs: list[tuple[Path, list[list[str]], dict[str, Any]]], folder: Path
) -> list[list[Reference]]:
    """Run the command once for each model, its tokenised sentences and its options, in one process."""
    package = folder / "onmt"
    if not package.exists():
        _copy_without_transforms(package)
    commands = []
    for number, (model, sentences, options) in enumerate(runs):
        _write_lines(folder / f"{number}.src", sentences)
        commands.append(
            ["-model", str(model), "-src", str(folder / f"{number}.src"),
             "-output", str(folder / f"{number}.txt"), "-log_file", str(folder / f"{number}.log"),
             "-batch_size", "1", "-batch_type", "sents", "-with_score", "-attn_debug", "-gpu", "-1",
             *_arguments(options, folder / f"{number}.tgt")]
        )  # fmt: skip
    # The command loads checkpoints as torch did before 2.6; these are our own.
    environment = os.environ | {
        "PYTHONPATH": str(folder),
        "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1",
        "OMP_NUM_THREADS": "1",
    }
    subprocess.run(
        [sys.executable, "-c", COMMAND, json.dumps(commands)],
        check=True, cwd=folder, env=environment, capture_output=True,
    )  # fmt: skip
    return [_read(folder, number, options["n_best"]) for number, (_, _, options) in enumerate(runs)]


def _write_lines(path: Path, sentences: list[list[str]]) -> None:
    path.write_text("".join(" ".join(tokens) + "\n" for tokens in sentences))


def _arguments(options: dict[str, Any], prefixes: Path) -> list[str]:
    """Return options as the command takes them."""
    arguments = []
    for name, value in options.items():
        if name == "tgt":
            _write_lines(prefixes, value)
            arguments += ["-tgt", str(prefixes), "-tgt_file_prefix"]
        else:
            arguments += [f"-{name}"] if value is True else [f"-{name}", str(value)]
    return arguments


def _read(folder: Path, number: int, n_best: int) -> list[Reference]:
    """Return what a run of the command has written."""
    lines = [line.rpartition("\t") for line in (folder / f"{number}.txt").read_text().splitlines()]
    hypotheses = [(tokens.split(" ") if tokens else [], float(score)) for tokens, _, score in lines]
    return [
        Reference(hypotheses[place * n_best : (place + 1) * n_best], attention)
        for place, attention in enumerate(_attention((folder / f"{number}.log").read_text()))
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
