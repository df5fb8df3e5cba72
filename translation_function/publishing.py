"""OpenNMT-py models on their way into a bucket: recognised without a ``model.toml``, and converted.

``model publish`` loads this module on the operator's machine; it is not deployed.
"""

import copy
import importlib.metadata
import shutil
import tempfile
import tomllib
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tokenizer
from formats import checkpoint
from lambda_inference import Manifest

REMEDIES = {
    "torchtext": checkpoint.CONVERT_V2,
    "onmt.inputters": checkpoint.CONVERT_V2,
}
"""What to do about a pickle, by the modules that it names."""
NORM_EPS = 1e-6
"""OpenNMT-py's default, which CTranslate2's own 1e-5 stands in for: answers are the same."""


def describe(folder: Path) -> dict[str, Any] | None:
    """Describe a folder with one ``*.pt``, its safetensors and tokenizers, or return None for any other.

    Raises:
        ValueError: the model is known and not served.

    """
    names = sorted(path.name for path in folder.iterdir() if path.is_file())
    weights = [name for name in names if name.endswith(".pt")]
    if not weights and {"model.bin", "config.json"} <= set(names):
        raise ValueError(
            f"{folder} holds a converted model of CTranslate2, whose answers nothing is known of; publish "
            "the checkpoint that it was converted from, with --engine ctranslate2 --name NAME"
        )
    if len(weights) > 1:
        raise ValueError(
            f"{folder} holds {len(weights)} checkpoints, {', '.join(weights)}, and a model has one; put the "
            "one to publish into a folder of its own, with its tokenizer's files"
        )
    if not weights:
        return None
    shards = [name for name in names if name.endswith(".safetensors")]
    tokenizers = tokenizer.find_files(names, lambda name: _read_start(folder / name), _read_table(folder))
    files = [*weights, *shards, *(name for name in tokenizers if name not in {*weights, *shards})]
    return {"engine": "opennmt", "precision": "unstated", "libraries": {}, "files": files}


def _read_table(folder: Path) -> dict[str, Any]:
    """Return ``[tokenizer]`` of a folder's ``model.toml``, empty if it has none."""
    path = folder / "model.toml"
    table = tomllib.loads(path.read_text(encoding="utf-8")).get("tokenizer") if path.exists() else None
    return table if isinstance(table, dict) else {}


def _read_start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(10)


def copy_for_opennmt(
    folder: Path, source: Manifest, target: Path, quantization: str
) -> tuple[str, dict[str, str]]:
    """Copy the files unchanged: the engine quantizes the weights when it loads them."""
    for file in source.files:
        shutil.copyfile(folder / file.name, target / file.name)
    return quantization, {}


def convert_to_ctranslate2(
    folder: Path, source: Manifest, target: Path, quantization: str
) -> tuple[str, dict[str, str]]:
    """Convert an OpenNMT-py checkpoint to CTranslate2; ValueError or Unavailable if it cannot be.

    The converter's steps are taken one by one for two reasons. It supports ``scaled-dot-flash`` attention
    only under the name ``scaled-dot``. And half-precision weights stay in half precision, which halves the
    bytes to fetch at a cold start, except position encodings, which the checkpoint has in single precision.
    """
    import torch
    from ctranslate2.converters import OpenNMTPyConverter

    files = {file.name: memoryview((folder / file.name).read_bytes()) for file in source.files}
    parts = checkpoint.read(files)
    if reason := _find_unconvertible(vars(parts["opt"])):
        raise ValueError(f"CTranslate2 has no {reason}; publish {source.name} without --engine")
    with tempfile.TemporaryDirectory() as name, torch.serialization.safe_globals([Namespace]):
        renamed = Path(name) / "model.pt"
        try:
            tensors = [*parts["model"].items(), *parts["generator"].items()]
            half = all(tensor.dtype == torch.float16 for key, tensor in tensors if not key.endswith(".pe"))
            # "int8" alone would leave the rest in half precision, which CPUs do not compute in.
            stored = "int8_float32" if quantization == "int8" else "float16" if half else "float32"
            parts["opt"].self_attn_type = "scaled-dot"
            # OpenNMT-py takes it from the vocabulary, the converter from the options.
            parts["opt"].decoder_start_token = parts["vocab"].get("decoder_start_token", "<s>")
            torch.save(parts, renamed)
            spec = OpenNMTPyConverter(str(renamed))._load()  # noqa: SLF001 - the public method does all steps
            if parts["opt"].norm_eps != NORM_EPS:
                # The converter of CTranslate2 4.8.5 takes it over from language models alone.
                spec.config.layer_norm_epsilon = parts["opt"].norm_eps
            spec.validate()
            positions = [(part, copy.copy(part.encodings)) for part in _position_encodings(spec)]
            spec.optimize(quantization=stored)
            for part, encodings in positions:
                if not isinstance(part.encodings, str):  # a string is an alias of the other side's encodings
                    part.encodings = encodings
            spec.save(str(target))
        except (LookupError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(
                f"{source.name} cannot be converted for CTranslate2: {' '.join(str(error).split())}; "
                "publish it without --engine"
            ) from None
    for file in source.files:
        if not file.name.endswith((".pt", ".safetensors")):
            shutil.copyfile(folder / file.name, target / file.name)
    precision = quantization if quantization == "int8" else stored
    return precision, {"ctranslate2": importlib.metadata.version("ctranslate2")}


def _find_unconvertible(options: Mapping[str, Any]) -> str:
    """Return an option that the converter cannot convert, or ignores; empty if there is none."""
    for name, served in (
        ("encoder_type", {"transformer"}),
        ("decoder_type", {"transformer"}),
        ("max_relative_positions", range(1_000_000)),
        ("relative_positions_buckets", {0}),
        ("sliding_window", {0}),
        ("parallel_residual", {False}),
        ("layer_norm", {"standard"}),
        ("pos_ffn_activation_fn", {"relu", "gelu", "fast_gelu"}),
        ("num_experts", {0}),
        ("num_kv", {0, 1} if options.get("multiquery") else {0, options.get("heads")}),
    ):
        if name in options and options[name] not in served:
            return f"{name} = {options[name]!r}"
    return ""


def _position_encodings(spec: Any) -> list[Any]:
    parts = [getattr(side, "position_encodings", None) for side in (spec.encoder, spec.decoder)]
    return [part for part in parts if part is not None]


CONVERTERS = {
    ("opennmt", "ctranslate2"): convert_to_ctranslate2,
    ("opennmt", "opennmt"): copy_for_opennmt,
}
"""Converters by the model's engine and the engine to convert it for."""
