"""Folders of other toolkits, recognised by their files, and what to do with each."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lambda_setup.errors import CommandError
from lambda_setup.models.describe import read_description

TOOLKITS = ("opennmt", "transformers", "eole")
MODEL_TYPES = ("marian", "m2m_100", "mbart", "bart", "pegasus", "t5", "mt5", "umt5")
"""Types of transformers' models that are converted: OPUS-MT, M2M-100 and NLLB, and kinds of BART and T5."""
_HEADS = ("ForConditionalGeneration", "MTModel", "WithLMHeadModel")
"""Ends of the names of architectures that write texts."""
_EVALUATED = {
    "model", "training", "data", "encoder", "decoder", "embeddings", "src_onmttok_kwargs",
    "tgt_onmttok_kwargs",
}  # fmt: skip
"""Parts of Eole's config.json that Eole runs as Python where they are strings."""


def check_toolkit(folder: Path, toolkit: str) -> None:
    """Check that a folder holds a model of the toolkit.

    Raises:
        CommandError: it is another toolkit's; the message names the way.

    """
    if not folder.is_dir():
        raise CommandError(f"{folder} is not a folder; name the one that holds the model's files")
    if toolkit == "opennmt" and "engine" in read_description(folder / "model.toml"):
        return  # a fork's function may serve any files
    config = _read_config(folder)
    found = _recognise(config)
    if found and found != toolkit:
        raise CommandError(f"{folder} holds a model of {found}; publish it with --from {found}")
    if found == "transformers" and not is_converted(config):
        raise CommandError(
            f"{folder} holds a {config['model_type']} model "
            f"({', '.join(config.get('architectures') or ['of no architecture'])}); of transformers' models "
            f"those that write texts are converted, of the types {', '.join(MODEL_TYPES)}"
        )
    if found == "eole" and (names := sorted(_find_evaluated(config))):
        raise CommandError(
            f"{', '.join(names)} in {folder}/config.json is a string, which Eole would run as Python; write "
            "it as JSON"
        )
    if found:
        return
    if reason := _describe_foreign(folder):
        raise CommandError(f"{folder} holds {reason}")
    if toolkit != "opennmt":
        expected = {
            "transformers": "model_type, as transformers' save_pretrained() writes it",
            "eole": "model and training, as Eole's training writes it",
        }[toolkit]
        raise CommandError(
            f"{folder} has no config.json with {expected}; publish an OpenNMT-py checkpoint without --from"
        )


def is_converted(config: Mapping[str, Any]) -> bool:
    """Return whether a network of transformers translates, and is converted for CTranslate2."""
    names = config.get("architectures") or [_HEADS[0]]
    return config["model_type"] in MODEL_TYPES and str(names[0]).endswith(_HEADS)


def _recognise(config: dict[str, Any]) -> str:
    if "model_type" in config:
        return "transformers"
    return "eole" if {"model", "training"} <= config.keys() else ""


def _find_evaluated(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from _find_evaluated(item)
    if isinstance(value, dict):
        yield from (name for name in _EVALUATED & value.keys() if isinstance(value[name], str))
        for item in value.values():
            yield from _find_evaluated(item)


def _describe_foreign(folder: Path) -> str:
    """Return what a folder of a toolkit that is not converted holds, and the way; empty for others."""
    if any(folder.glob("*.npz")) and any(folder.glob("*.yml")):
        return (
            "Marian's own model; convert it by transformers' models/marian/convert_marian_to_pytorch.py, and "
            "publish what that writes with --from transformers"
        )
    if any(folder.glob("dict.*.txt")) and any(folder.glob("*.pt")):
        return (
            "fairseq's own model; convert it by the script of its family in transformers, such as "
            "models/m2m_100/convert_m2m100_original_checkpoint_to_pytorch.py, and publish what that writes "
            "with --from transformers"
        )
    return ""


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return config if isinstance(config, dict) else {}
