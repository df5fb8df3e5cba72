"""Folders of other toolkits, recognised by their files, and what to do with each."""

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lambda_setup.errors import CommandError

TOOLKITS = ("opennmt", "transformers", "eole")
MODEL_TYPES = ("marian", "m2m_100")
"""Types of transformers' models that are converted: OPUS-MT, M2M-100 and NLLB."""
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
    description = folder / "model.toml"
    if toolkit == "opennmt" and description.exists() and "engine" in tomllib.loads(description.read_text()):
        return  # a fork's function may serve any files
    config = _read_config(folder)
    found = _recognise(config)
    if found and found != toolkit:
        raise CommandError(f"{folder} holds a model of {found}; publish it with --from {found}")
    if found == "transformers" and config["model_type"] not in MODEL_TYPES:
        raise CommandError(
            f"{folder} holds a {config['model_type']} model; transformers' models of type "
            f"{' and '.join(MODEL_TYPES)} are converted, which are OPUS-MT, M2M-100 and NLLB"
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
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}
