"""Models made for another engine than they were trained for."""

import argparse
import copy
import importlib.metadata
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import tomlkit

from lambda_setup.models.describe import Published

QUANTIZATIONS = ("float32", "int8")


def convert(folder: Path, source: Published, target: Path, engine: str, quantization: str) -> None:
    """Write a model, converted for an engine, into an empty folder, with its ``model.toml``.

    The same model gives the same bytes, and so the same version. The smoke request goes with float32, in
    which every engine gives the same answer. With 8 bits the answer differs a little, by processor too: what
    is promoted is then only loaded before.

    Args:
        folder: holds the files to convert.
        source: says what they are.
        target: the empty folder.
        engine: one of CONVERTERS.
        quantization: one of QUANTIZATIONS.

    Raises:
        ValueError: the model is not one that is converted for this engine.

    """
    if engine not in CONVERTERS:
        raise ValueError(f"no model is converted for {engine}; expected {', '.join(CONVERTERS)}")
    precision, libraries = CONVERTERS[engine](folder, source, target, quantization)
    stated: dict[str, Any] = {
        "name": source.name,
        "engine": engine,
        "precision": precision,
        "files": sorted(path.name for path in target.iterdir()),
        "card": f"{source.name} {source.version}, converted",
        "libraries": {**source.libraries, **libraries},
    }
    if quantization == "float32" and source.smoke:
        stated["smoke"] = msgspec.to_builtins(source.smoke)
    (target / "model.toml").write_text(tomlkit.dumps(stated), encoding="utf-8")


def _for_opennmt(
    folder: Path, source: Published, target: Path, quantization: str
) -> tuple[str, dict[str, str]]:
    """Copy the files: the engine itself makes 8-bit weights of them, when it loads them."""
    _check(source)
    for file in source.files:
        shutil.copyfile(folder / file.name, target / file.name)
    return quantization, {}


def _to_ctranslate2(
    folder: Path, source: Published, target: Path, quantization: str
) -> tuple[str, dict[str, str]]:
    """Convert an OpenNMT-py checkpoint; return the precision of its weights, and the versions of what did it.

    CTranslate2 knows the attention of ``scaled-dot-flash``, but not by this name. What the checkpoint has in
    half precision stays so, which is half the bytes to fetch at a cold start; but not positions, which are
    in single precision there. (So its converter's steps are taken here one by one.)
    """
    _check(source)
    import torch
    from ctranslate2.converters import OpenNMTPyConverter

    weights, pieces = (_only(source, suffix) for suffix in (".pt", ".model"))
    with tempfile.TemporaryDirectory() as name, torch.serialization.safe_globals([argparse.Namespace]):
        checkpoint = torch.load(folder / weights, map_location="cpu", weights_only=True)
        renamed = Path(name) / "model.pt"
        try:
            tensors = [*checkpoint["model"].items(), *checkpoint["generator"].items()]
            half = all(tensor.dtype == torch.float16 for key, tensor in tensors if not key.endswith(".pe"))
            # "int8" alone would leave the rest in half precision, which processors do not compute in.
            stored = "int8_float32" if quantization == "int8" else "float16" if half else "float32"
            checkpoint["opt"].self_attn_type = "scaled-dot"
            torch.save(checkpoint, renamed)
            spec = OpenNMTPyConverter(str(renamed))._load()  # noqa: SLF001 - public is only all steps at once
            spec.validate()
            positions = [(part, copy.copy(part.encodings)) for part in _positions(spec)]
            spec.optimize(quantization=stored)
            for part, encodings in positions:
                if not isinstance(part.encodings, str):  # which names another part that has the same
                    part.encodings = encodings
            spec.save(str(target))
        except (LookupError, TypeError, AttributeError) as error:
            raise ValueError(f"{weights} is no checkpoint of OpenNMT-py: {error!r}") from None
    shutil.copyfile(folder / pieces, target / pieces)
    precision = quantization if quantization == "int8" else stored
    return precision, {"ctranslate2": importlib.metadata.version("ctranslate2")}


def _positions(spec: Any) -> list[Any]:
    """Return the parts of a converted model that hold encodings of positions, if it has such."""
    parts = [getattr(side, "position_encodings", None) for side in (spec.encoder, spec.decoder)]
    return [part for part in parts if part is not None]


def _check(source: Published) -> None:
    if source.engine != "opennmt":
        raise ValueError(f"{source.name} is made for {source.engine}; what is converted is made for opennmt")


def _only(source: Published, suffix: str) -> str:
    names = [file.name for file in source.files if file.name.endswith(suffix)]
    if len(names) != 1:
        raise ValueError(f"{source.name} holds {len(names)} files *{suffix}; expected one")
    return names[0]


CONVERTERS: dict[str, Callable[[Path, Published, Path, str], tuple[str, dict[str, str]]]] = {
    "ctranslate2": _to_ctranslate2,
    "opennmt": _for_opennmt,
}
