"""Folders of other toolkits, recognised by their files, and what to do with each."""

import json
import tomllib
from pathlib import Path
from typing import Any

from lambda_setup.errors import CommandError

TOOLKITS = ("opennmt", "transformers")
MODEL_TYPES = ("marian", "m2m_100")
"""Types of transformers' models that are converted: OPUS-MT and M2M-100."""


def check_toolkit(folder: Path, toolkit: str) -> None:
    """Check that a folder holds a model of the toolkit.

    Raises:
        CommandError: it is another toolkit's; the message names the way.

    """
    description = folder / "model.toml"
    if toolkit == "opennmt" and description.exists() and "engine" in tomllib.loads(description.read_text()):
        return  # a fork's function may serve any files
    config = _read_config(folder)
    if "model_type" in config:
        if toolkit != "transformers":
            raise CommandError(f"{folder} holds a model of transformers; publish it with --from transformers")
        if config["model_type"] not in MODEL_TYPES:
            raise CommandError(
                f"{folder} holds a {config['model_type']} model; transformers' models of type "
                f"{' and '.join(MODEL_TYPES)} are converted, which are OPUS-MT and M2M-100"
            )
    elif reason := _describe_foreign(folder, config):
        raise CommandError(f"{folder} holds {reason}")
    elif toolkit == "transformers":
        raise CommandError(
            f"{folder} has no config.json with a model_type, as transformers' save_pretrained() writes it; "
            "publish an OpenNMT-py checkpoint without --from"
        )


def _describe_foreign(folder: Path, config: dict[str, Any]) -> str:
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
    if {"model", "training"} <= config.keys():
        return "Eole's model, and those are not converted; publish an OpenNMT-py checkpoint"
    return ""


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}
