"""OpenNMT-py models on their way into a bucket: recognised without a ``model.toml``, and converted.

``model publish`` loads this module on the operator's machine; it is not deployed.
"""

import argparse
import copy
import importlib.metadata
import shutil
import tempfile
from pathlib import Path
from typing import Any

from lambda_inference import Manifest


def describe(folder: Path) -> dict[str, Any] | None:
    """Describe a folder with one ``*.pt`` and one SentencePiece ``*.model``, or return None for any other."""
    files = [path.name for suffix in ("*.pt", "*.model") for path in sorted(folder.glob(suffix))]
    if [Path(name).suffix for name in files] != [".pt", ".model"]:
        return None
    return {"engine": "opennmt", "precision": "unstated", "libraries": {}, "files": files}


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
    """Convert an OpenNMT-py checkpoint to CTranslate2; ValueError if it is none.

    The converter's steps are taken one by one for two reasons. It supports ``scaled-dot-flash`` attention
    only under the name ``scaled-dot``. And half-precision weights stay in half precision, which halves the
    bytes to fetch at a cold start, except position encodings, which the checkpoint has in single precision.
    """
    import torch
    from ctranslate2.converters import OpenNMTPyConverter

    weights, pieces = (_find_file(source, suffix) for suffix in (".pt", ".model"))
    with tempfile.TemporaryDirectory() as name, torch.serialization.safe_globals([argparse.Namespace]):
        checkpoint = torch.load(folder / weights, map_location="cpu", weights_only=True)
        renamed = Path(name) / "model.pt"
        try:
            tensors = [*checkpoint["model"].items(), *checkpoint["generator"].items()]
            half = all(tensor.dtype == torch.float16 for key, tensor in tensors if not key.endswith(".pe"))
            # "int8" alone would leave the rest in half precision, which CPUs do not compute in.
            stored = "int8_float32" if quantization == "int8" else "float16" if half else "float32"
            checkpoint["opt"].self_attn_type = "scaled-dot"
            torch.save(checkpoint, renamed)
            spec = OpenNMTPyConverter(str(renamed))._load()  # noqa: SLF001 - the public method does all steps
            spec.validate()
            positions = [(part, copy.copy(part.encodings)) for part in _position_encodings(spec)]
            spec.optimize(quantization=stored)
            for part, encodings in positions:
                if not isinstance(part.encodings, str):  # a string is an alias of the other side's encodings
                    part.encodings = encodings
            spec.save(str(target))
        except (LookupError, TypeError, AttributeError) as error:
            raise ValueError(f"{weights} is not an OpenNMT-py checkpoint: {error!r}") from None
    shutil.copyfile(folder / pieces, target / pieces)
    precision = quantization if quantization == "int8" else stored
    return precision, {"ctranslate2": importlib.metadata.version("ctranslate2")}


def _position_encodings(spec: Any) -> list[Any]:
    parts = [getattr(side, "position_encodings", None) for side in (spec.encoder, spec.decoder)]
    return [part for part in parts if part is not None]


def _find_file(source: Manifest, suffix: str) -> str:
    names = [file.name for file in source.files if file.name.endswith(suffix)]
    if len(names) != 1:
        raise ValueError(f"{source.name} has {len(names)} files *{suffix}; expected exactly one")
    return names[0]


CONVERTERS = {
    ("opennmt", "ctranslate2"): convert_to_ctranslate2,
    ("opennmt", "opennmt"): copy_for_opennmt,
}
"""Converters by the model's engine and the engine to convert it for."""
