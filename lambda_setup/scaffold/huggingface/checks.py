"""Folders that are not a whole model, or are not exported: refused with the way to one that is."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lambda_setup.errors import CommandError

_TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")
"""Files that transformers makes a tokenizer of."""
_POINTER = b"version https://git-lfs"
_SETTINGS_OF_MODULES = "modules.json"


def read_json(path: Path) -> Any:
    """Return what a JSON file holds, None if it cannot be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def check_folder(folder: Path) -> None:
    """Refuse a path that is not a model's folder.

    Raises:
        CommandError: it is not a folder, a cache's, or an adapter's.

    """
    if not folder.is_dir():
        raise CommandError(
            f"{folder} is not a folder. Download the model, such as by `hf download ORGANISATION/NAME "
            "--local-dir FOLDER`, and name that folder; or name a package that holds one, as NAME==VERSION"
        )
    if snapshots := sorted((folder / "snapshots").glob("*/config.json")):
        raise CommandError(f"{folder} is a cache's folder; name the one inside: {snapshots[-1].parent}")
    if (adapter := read_json(folder / "adapter_config.json")) is not None:
        raise CommandError(
            f"{folder} holds an adapter ({adapter.get('peft_type', 'of peft')}) for "
            f"{adapter.get('base_model_name_or_path') or 'another network'}, and no network. Put it into the "
            f"network's weights, and name that folder: AutoPeftModel….from_pretrained({str(folder)!r})"
            ".merge_and_unload().save_pretrained(FOLDER) in peft, with the tokenizer beside it"
        )


def check_config(folder: Path, config: dict[str, Any]) -> None:
    """Refuse a network that is not the one of its type in transformers.

    Raises:
        CommandError: it comes with code of its own, is quantised, or has positions that transformers 5 lacks.

    """
    if config.get("auto_map"):
        raise CommandError(
            f"{folder}/config.json names code of its own (auto_map), which is not run, and without which the "
            "network answers otherwise. Export it yourself, and begin with --from onnx"
        )
    if quantization := config.get("quantization_config"):
        method = quantization.get("quant_method", "another library") if isinstance(quantization, dict) else ""
        raise CommandError(
            f"{folder} holds weights that {method or 'another library'} quantised; name the folder of the "
            "model before that. --int8 makes its weights small"
        )
    if (positions := config.get("position_embedding_type", "absolute")) not in {"absolute", None}:
        raise CommandError(
            f"{folder} has positions of the type {positions}, which transformers 5 does not compute. Export "
            "it yourself, by an earlier transformers, and begin with --from onnx"
        )


def check_weights(folder: Path, architecture: str) -> None:
    """Refuse a folder whose weights are missing, pickled, or there in part.

    Raises:
        CommandError: they are; the message has the way to weights in safetensors.

    """
    _check_pointers(folder)
    index = read_json(folder / "model.safetensors.index.json") or {}
    parts = set((index.get("weight_map") or {}).values())
    if missing := sorted(name for name in parts if not (folder / name).is_file()):
        raise CommandError(f"{folder} lacks {', '.join(missing)} of its weights; download the folder again")
    if parts or (folder / "model.safetensors").is_file():
        return
    raise CommandError("; ".join(_describe_weights(folder, architecture)))


def _describe_weights(folder: Path, architecture: str) -> Iterator[str]:
    """Yield what is there in place of weights in safetensors, and the ways on."""
    others = [path.name for path in folder.glob("*.safetensors")]
    if any(folder.glob("pytorch_model*.bin")):
        yield f"{folder} has pickled weights alone, which could run code"
    elif others:
        yield f"{folder} has no model.safetensors, but {', '.join(sorted(others))}"
    else:
        yield f"{folder} has no weights"
    if graphs := sorted(folder.rglob("*.onnx")):
        yield f"its network in ONNX may do: --from onnx {graphs[0]}"
    name, kind = ("sentence_transformers", "SentenceTransformer({folder!r})")
    if not (folder / _SETTINGS_OF_MODULES).is_file():
        name, kind = "transformers", (architecture or "AutoModel") + ".from_pretrained({folder!r})"
    save = kind.format(folder=str(folder))
    yield f"save it with safetensors, and its tokenizer beside it: {save}.save_pretrained(FOLDER) in {name}"


def _check_pointers(folder: Path) -> None:
    """Refuse files that git cloned without their content."""
    for path in sorted([*folder.glob("*.safetensors"), *folder.glob("tokenizer.json")]):
        with path.open("rb") as file:
            if file.read(len(_POINTER)) == _POINTER:
                raise CommandError(
                    f"{path} is a pointer of Git LFS, not the file; run git lfs pull in {folder}"
                )


def check_tokenizer(folder: Path, architecture: str) -> None:
    """Refuse a folder without a tokenizer, in whose place transformers makes an empty one.

    Raises:
        CommandError: there is none.

    """
    if not any(path for name in _TOKENIZERS for path in folder.glob(name)):
        raise CommandError(
            f"{folder} has no tokenizer, such as tokenizer.json; save the one that "
            f"{architecture or 'it'} was trained with, by transformers: "
            f"AutoTokenizer.from_pretrained(…).save_pretrained({str(folder)!r})"
        )
