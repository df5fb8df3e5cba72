"""Models made for another engine than they were trained for."""

import argparse
import importlib.metadata
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import tomlkit

from lambda_setup.models import Published

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
    libraries = CONVERTERS[engine](folder, source, target, quantization)
    stated: dict[str, Any] = {
        "name": source.name,
        "engine": engine,
        "precision": quantization,
        "files": sorted(path.name for path in target.iterdir()),
        "card": f"{source.name} {source.version}, converted",
        "libraries": {**source.libraries, **libraries},
    }
    if quantization == "float32" and source.smoke:
        stated["smoke"] = msgspec.to_builtins(source.smoke)
    (target / "model.toml").write_text(tomlkit.dumps(stated), encoding="utf-8")


def _for_opennmt(folder: Path, source: Published, target: Path, _: str) -> dict[str, str]:
    """Copy the files: the engine itself makes 8-bit weights of them, when it loads them."""
    _check(source)
    for file in source.files:
        shutil.copyfile(folder / file.name, target / file.name)
    return {}


def _to_ctranslate2(folder: Path, source: Published, target: Path, quantization: str) -> dict[str, str]:
    """Convert an OpenNMT-py checkpoint, and return the versions of what did it.

    CTranslate2 knows the attention of ``scaled-dot-flash``, but not by this name.
    """
    _check(source)
    import torch
    from ctranslate2.converters import OpenNMTPyConverter

    # "int8" alone would leave in half precision what is not quantised, which processors do not compute in.
    stored = {"int8": "int8_float32"}.get(quantization, quantization)
    weights, pieces = (_only(source, suffix) for suffix in (".pt", ".model"))
    with tempfile.TemporaryDirectory() as name, torch.serialization.safe_globals([argparse.Namespace]):
        checkpoint = torch.load(folder / weights, map_location="cpu", weights_only=True)
        renamed = Path(name) / "model.pt"
        try:
            checkpoint["opt"].self_attn_type = "scaled-dot"
            torch.save(checkpoint, renamed)
            OpenNMTPyConverter(str(renamed)).convert(str(target), quantization=stored, force=True)
        except (LookupError, TypeError, AttributeError) as error:
            raise ValueError(f"{weights} is no checkpoint of OpenNMT-py: {error!r}") from None
    shutil.copyfile(folder / pieces, target / pieces)
    return {"ctranslate2": importlib.metadata.version("ctranslate2")}


def _check(source: Published) -> None:
    if source.engine != "opennmt":
        raise ValueError(f"{source.name} is made for {source.engine}; what is converted is made for opennmt")


def _only(source: Published, suffix: str) -> str:
    names = [file.name for file in source.files if file.name.endswith(suffix)]
    if len(names) != 1:
        raise ValueError(f"{source.name} holds {len(names)} files *{suffix}; expected one")
    return names[0]


CONVERTERS: dict[str, Callable[[Path, Published, Path, str], dict[str, str]]] = {
    "ctranslate2": _to_ctranslate2,
    "opennmt": _for_opennmt,
}
