"""The models that are served: architectures and tokenizers, as each release saved them, on both engines."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import tomlkit

import engine_ctranslate2
import engine_opennmt
from lambda_inference import Deadline, Fault, Model
from lambda_setup.errors import CommandError
from lambda_setup.models.convert import convert
from lambda_setup.models.describe import describe
from support import reference, tiny_models
from support.project import MODEL, ROOT
from support.tiny_models import ARCHITECTURES, SENTENCES, SPECIAL, TOKENS
from tokenizer import load
from translator import TranslationRequest, Translator

CODES = json.loads((ROOT / "tests" / "unit" / "functions" / "subword_nmt.json").read_text())["codes"]
TEXTS = ["The table of 12 selections.", "Una  opción\u0301 más: ｟a｠ ÉL", "▁x ￭ 👩‍🔬"]
SMILES = ["".join(tokens) for tokens in SENTENCES]
TOKENIZERS: dict[str, tuple[dict[str, Any], dict[str, bytes], list[str]]] = {
    "space": ({}, {}, [" ".join(tokens) for tokens in SENTENCES]),
    "sentencepiece": ({}, {"source.spm": (MODEL / "enes.model").read_bytes(),
                           "target.spm": (MODEL / "enes.model").read_bytes()}, TEXTS),
    "bpe": ({}, {"x.codes": CODES.encode()}, TEXTS),
    "pyonmttok": ({"kind": "pyonmttok",
                   "options": {"mode": "aggressive", "joiner_annotate": True, "case_markup": True}},
                  {"x.codes": CODES.encode()}, TEXTS),
    "characters": ({"kind": "characters"}, {}, TEXTS),
    "regex": ({"kind": "regex", "pattern": r"\[[^\]]+\]|Cl|[A-Za-z0-9()=]"}, {}, SMILES),
}  # fmt: skip
"""Kinds of tokenizers: ``[tokenizer]``, files, and texts."""
ENGINES = {"opennmt": engine_opennmt, "ctranslate2": engine_ctranslate2}
SAVERS = {
    "3.0": lambda checkpoint, folder: tiny_models.save(tiny_models.age(checkpoint), folder),
    "3.5": tiny_models.save,
    "3.5, safetensors": tiny_models.save_safetensors,
}
NEWER = {
    "multi-query", "parallel residual", "rotary, RMSNorm, gated SiLU", "relative buckets", "grouped keys",
    "experts", "larger norm_eps", "sliding window",
}  # fmt: skip
"""Architectures that releases 3.0 did not have."""
BEAM, N_BEST, TOLERANCE = 5, 3, 1e-4


Row = tuple[str, str]
"""An architecture and a kind of tokenizer."""
ROWS: list[Row] = [
    *((architecture, "space") for architecture in ARCHITECTURES),
    *(
        (architecture, kind)
        for architecture in ("transformer", "LSTM")
        for kind in TOKENIZERS
        if kind != "space"
    ),
]
"""Every architecture, and every tokenizer with a transformer and a recurrent model."""


def tokenize(kind: str) -> list[list[str]]:
    """Return the tokens of a kind's texts."""
    table, files, texts = TOKENIZERS[kind]
    source = load(table, {name: memoryview(data) for name, data in files.items()}).source
    return [source.encode(text) for text in texts]


@cache
def build(row: Row) -> dict[str, Any]:
    """Return the checkpoint of a row, whose vocabulary lacks one of the texts' tokens."""
    architecture, kind = row
    tokens = sorted({token for sentence in tokenize(kind) for token in sentence})[1:]
    return tiny_models.build(
        TOKENS if kind == "space" else [*SPECIAL, *tokens], **ARCHITECTURES[architecture]
    )


def expect(rows: list[Row], folder: Path) -> list[list[reference.Reference]]:
    """Return what OpenNMT-py's own command answers, from today's checkpoints."""
    options = {"beam_size": BEAM, "n_best": N_BEST}
    saved = [tiny_models.save(build(row), folder / "-".join(row)) for row in rows]
    runs = [(place / "model.pt", tokenize(row[1]), options) for place, row in zip(saved, rows, strict=True)]
    return reference.translate_each(runs, folder)


def try_cell(row: Row, vintage: str, engine: str, folder: Path, expected: list[reference.Reference]) -> str:
    """Return "equal", what differs, or the beginning of a refusal."""
    table, tokenizers, texts = TOKENIZERS[row[1]]
    made = SAVERS[vintage](build(row) | {"opt": build(row)["opt"]}, folder / "saved")
    for name, data in tokenizers.items():
        (made / name).write_bytes(data)
    if table:
        (made / "model.toml").write_text(tomlkit.dumps({"tokenizer": table}))
    try:
        if engine == "ctranslate2":
            target = folder / "converted"
            target.mkdir()
            convert(made, describe(made), target, engine, "float32")
            made = target
        predictor = load_predictor(made, engine)
    except (CommandError, Fault) as error:
        return str(error).partition(";")[0]
    asked = TranslationRequest(data=texts, beam=BEAM, n_best=N_BEST, return_attention=True)
    predictions = list(predictor.predict(asked, Deadline.after(600)))
    for found, right in zip(predictions, expected, strict=True):
        hypotheses = found.record["hypotheses"]
        if [one["tokens"] for one in hypotheses] != [tokens for tokens, _ in right.hypotheses]:
            return "tokens differ"
        pairs = zip(hypotheses, right.hypotheses, strict=True)
        if any(abs(one["score"] - score) > TOLERANCE for one, (_, score) in pairs):
            return "scores differ"
        if any(
            abs(total - 1) > TOLERANCE for array in found.arrays["attention"] for total in sum_rows(array)
        ):
            return "attention differs"
    return "equal"


def load_predictor(folder: Path, engine: str) -> Translator:
    """Return the function's predictor with a folder's model, which it has checked."""
    predictor = Translator.__new__(Translator)
    predictor._engine_module = ENGINES[engine]
    manifest = describe(folder)
    files = {file.name: memoryview((folder / file.name).read_bytes()) for file in manifest.files}
    predictor.load(Model(manifest, manifest.version, files))
    predictor.check()
    return predictor


def sum_rows(array: Any) -> list[float]:
    """Return the sums of an attention map's rows."""
    rows, columns = array.shape
    weights = memoryview(array.data).cast("f").tolist()
    return [sum(weights[row * columns : (row + 1) * columns]) for row in range(rows)]


def list_cells() -> list[tuple[Row, str, str]]:
    """Return every row, vintage and engine."""
    return [
        (row, vintage, engine)
        for row in ROWS
        for vintage in SAVERS
        for engine in ENGINES
        if not (vintage == "3.0" and row[0] in NEWER)
    ]


def write_table(results: dict[tuple[Row, str, str], str]) -> str:
    """Return the table of docs/how-to/models.md."""
    columns = [(vintage, engine) for engine in ENGINES for vintage in SAVERS]
    lines = [
        "| architecture | tokenizer | "
        + " | ".join(f"{engine}, {vintage}" for vintage, engine in columns)
        + " |",
        "|---" * (len(columns) + 2) + "|",
    ]
    for row in ROWS:
        cells = [results.get((row, *column), "not in 3.0") for column in columns]
        lines.append(f"| {' | '.join((*row, *cells))} |")
    return "\n".join(lines) + "\n"
