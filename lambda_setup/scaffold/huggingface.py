"""Folders of Hugging Face models: what task they are for, and what their settings say."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lambda_setup.errors import CommandError
from lambda_setup.models.toolkits.recognition import is_converted

KINDS = {
    "albert", "bert", "camembert", "deberta", "deberta-v2", "distilbert", "electra", "mpnet", "roberta",
    "xlm-roberta",
}  # fmt: skip
"""Types of networks that are exported: encoders of texts."""
HEADS = {
    "ForSequenceClassification": "classification",
    "ForTokenClassification": "tokens",
    "ForQuestionAnswering": "answers",
}
"""Ends of the names of architectures, and the task of each."""
POOLINGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len",
}
_LONGEST = 512
_NO_LIMIT = 1_000_000
"""From here on, a tokenizer's ``model_max_length`` says that there is no limit."""


@dataclass(frozen=True)
class Network:
    """A model's folder, and what its settings say.

    Attributes:
        task: embedding, classification, entailment, pairs, tokens or answers.
        kind: the network's type, as ``bert``.
        longest: tokens that a text is cut to.
        lowercase: whether texts are made lower-case first.
        labels: of the network's classes, in their order.
        pooling: how token vectors become one, one or more joined.
        dense: folders of the layers behind it.
        normalize: whether vectors have length 1.

    """

    folder: Path
    task: str
    kind: str
    longest: int
    lowercase: bool = False
    labels: tuple[str, ...] = ()
    pooling: tuple[str, ...] = ()
    dense: tuple[str, ...] = ()
    normalize: bool = False


def recognize(folder: Path) -> Network:
    """Return what a folder holds, by its settings alone.

    Raises:
        CommandError: it is no such folder, or the network is of a kind that is not exported.

    """
    config = _read(folder / "config.json")
    if not isinstance(config, dict) or "model_type" not in config:
        raise CommandError(
            f"{folder} has no config.json with a model_type, as transformers' save_pretrained() writes it; "
            "name the folder that has"
        )
    _check_weights(folder)
    kind = config["model_type"]
    modules = _read(folder / "modules.json") or []
    architecture = next(iter(config.get("architectures") or []), "")
    if kind not in KINDS:
        raise CommandError(
            f"{folder} holds a network of type {kind}, which is not exported; these are: "
            f"{', '.join(sorted(KINDS))}{_name_way(folder, config)}"
        )
    longest = _find_longest(folder, config)
    if modules:
        return _read_sentence_transformer(folder, kind, longest, modules)
    head = next((end for end in HEADS if architecture.endswith(end)), "")
    if head:
        return _read_head(folder, kind, longest, config, HEADS[head])
    if architecture.endswith("Model") and not architecture.endswith("LMHeadModel"):
        # What sentence-transformers does with a folder that it did not save.
        return Network(folder, "embedding", kind, longest, pooling=("mean",))
    raise CommandError(
        f"{folder} holds a {architecture or 'network of no architecture'}, whose task is not exported; these "
        f"are: …Model and sentence-transformers' (embeddings), {', '.join('…' + head for head in HEADS)}"
    )


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _check_weights(folder: Path) -> None:
    """Refuse a folder whose weights are missing or pickled."""
    if any(folder.glob("*.safetensors")):
        return
    found = "pickled weights alone, which could run code" if any(folder.glob("*.bin")) else "no weights"
    raise CommandError(
        f"{folder} has {found}; save it with safetensors: "
        "AutoModel.from_pretrained(…).save_pretrained(FOLDER) in transformers 5"
    )


def _name_way(folder: Path, config: dict[str, Any]) -> str:
    """Return the way to serve a network that writes texts, or nothing."""
    if is_converted(config):
        return (
            "; this one writes texts, and the translator answers with it: "
            f"python -m lambda_setup model publish {folder} --from transformers --local"
        )
    return ""


def _find_longest(folder: Path, config: dict[str, Any]) -> int:
    """Return the most tokens that a text may have, by the positions and the tokenizer's own limit."""
    positions = config.get("max_position_embeddings", _LONGEST)
    if config["model_type"] in {"camembert", "mpnet", "roberta", "xlm-roberta"}:
        # Their positions begin behind the padding's.
        positions -= config.get("pad_token_id", 1) + 1
    limit = (_read(folder / "tokenizer_config.json") or {}).get("model_max_length", _NO_LIMIT)
    return int(min(positions, limit if limit < _NO_LIMIT else positions))


def _read_sentence_transformer(folder: Path, kind: str, longest: int, modules: list[Any]) -> Network:
    """Return the network of a folder that sentence-transformers saved."""
    types = [module["type"].rpartition(".")[2] for module in modules]
    paths = [folder / module["path"] for module in modules]
    if types[:2] != ["Transformer", "Pooling"] or set(types[2:]) - {"Dense", "Normalize"}:
        raise CommandError(
            f"{folder}/modules.json names {', '.join(types)}; expected Transformer and Pooling, then Dense "
            "and Normalize at most. Export this one yourself, and begin with --from onnx"
        )
    settings = _read(folder / "sentence_bert_config.json") or {}
    pooling = _read(paths[1] / "config.json") or {}
    if "pooling_mode" in pooling:  # of sentence-transformers 6
        modes = pooling["pooling_mode"]
        chosen = [modes] if isinstance(modes, str) else list(modes)
    else:
        chosen = [key for key, value in pooling.items() if key.startswith("pooling_mode_") and value is True]
    if unknown := set(chosen) - POOLINGS.keys() - set(POOLINGS.values()):
        raise CommandError(
            f"{paths[1]} pools by {', '.join(sorted(unknown))}, which is not exported; these are: "
            f"{', '.join(POOLINGS)}"
        )
    return Network(
        folder,
        "embedding",
        kind,
        int(settings.get("max_seq_length") or longest),
        lowercase=bool(settings.get("do_lower_case")),
        # sentence-transformers joins them in this order.
        pooling=tuple(mode for key, mode in POOLINGS.items() if {key, mode} & set(chosen)) or ("mean",),
        dense=tuple(str(path.name) for path, one in zip(paths, types, strict=True) if one == "Dense"),
        normalize="Normalize" in types,
    )


def _read_head(folder: Path, kind: str, longest: int, config: dict[str, Any], task: str) -> Network:
    """Return a network with a head of transformers."""
    names = config.get("id2label") or {"0": "LABEL_0", "1": "LABEL_1"}
    labels = tuple(str(names[key]) for key in sorted(names, key=int))
    if task == "classification" and len(labels) == 1:
        task = "pairs"
    elif task == "classification" and any(one.lower().startswith("entail") for one in labels):
        task = "entailment"
    return Network(folder, task, kind, longest, labels=labels)
