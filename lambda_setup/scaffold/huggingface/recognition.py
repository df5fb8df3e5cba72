"""Folders of Hugging Face models: what task they are for, and what their settings say."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lambda_setup.errors import CommandError
from lambda_setup.models.toolkits.recognition import is_converted
from lambda_setup.scaffold.huggingface import checks, modules

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
_LONGEST = 512
_NO_LIMIT = 1_000_000
"""From here on, a tokenizer's ``model_max_length`` says that there is no limit."""
_BEHIND_PADDING = {"camembert", "mpnet", "roberta", "xlm-roberta"}
"""Types whose positions begin behind the padding's."""


@dataclass(frozen=True)
class Network:
    """A model's folder, and what its settings say.

    Attributes:
        folder: of the network's own files.
        task: embedding, classification, entailment, pairs, tokens or answers.
        kind: the network's type, as ``bert``.
        longest: tokens that a text is cut to.
        lowercase: whether texts are made lower-case first.
        labels: of the network's classes, in their order.
        pooling: how token vectors become one, one or more joined.
        dense: folders of the layers behind it, relative to ``folder``.
        normalize: whether vectors have length 1.
        prompt: what stands in front of every text.
        activation: of a cross-encoder's score, Sigmoid or Identity.

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
    prompt: str = ""
    activation: str = ""


def recognize(folder: Path) -> Network:
    """Return what a folder holds, by its settings alone.

    Raises:
        CommandError: it is not such a folder, not a whole one, or the network's kind is not exported.

    """
    checks.check_folder(folder)
    home = modules.find_network(folder)
    config = checks.read_json(home / "config.json")
    if not isinstance(config, dict) or "model_type" not in config:
        raise CommandError(
            f"{home} has no config.json with a model_type, as transformers' save_pretrained() writes it; "
            "name the folder that has"
        )
    kind = config["model_type"]
    architecture = next(iter(config.get("architectures") or []), "")
    if kind not in KINDS:
        raise CommandError(
            f"{folder} holds a network of type {kind}, which is not exported; these are: "
            f"{', '.join(sorted(KINDS))}{_name_way(folder, config)}"
        )
    checks.check_config(home, config)
    found = _read_task(folder, home, config, architecture)
    checks.check_weights(home, architecture)
    checks.check_tokenizer(home, architecture)
    return found


def _read_task(folder: Path, home: Path, config: dict[str, Any], architecture: str) -> Network:
    """Return what a folder is for, by its modules and its network's head."""
    kind = config["model_type"]
    positions = _find_positions(config)
    limit = (checks.read_json(home / "tokenizer_config.json") or {}).get("model_max_length") or _NO_LIMIT
    longest = int(min(positions, limit if limit < _NO_LIMIT else positions))
    if modules.list_types(folder) not in ([], ["Transformer"]):  # the latter is a cross-encoder's
        behind = modules.read_modules(folder)
        return Network(
            home,
            "embedding",
            kind,
            # DeBERTa's positions are relative, and have no end.
            min(behind.longest or longest, *([] if kind.startswith("deberta") else [positions])),
            lowercase=behind.lowercase,
            pooling=behind.pooling,
            dense=tuple(os.path.relpath(path, home) for path in behind.dense),
            normalize=behind.normalize,
            prompt=behind.prompt,
        )
    head = next((end for end in HEADS if architecture.endswith(end)), "")
    if head:
        return _read_head(folder, kind, longest, config, HEADS[head])
    if architecture.endswith("Model") and not architecture.endswith("LMHeadModel"):
        # What sentence-transformers does with a folder that it did not save.
        return Network(home, "embedding", kind, longest, pooling=("mean",))
    raise CommandError(
        f"{folder} holds a {architecture or 'network of no architecture'}, whose task is not exported; these "
        f"are: …Model and sentence-transformers' (embeddings), {', '.join('…' + head for head in HEADS)}"
    )


def _name_way(folder: Path, config: dict[str, Any]) -> str:
    """Return the way to serve a network that writes texts, or nothing."""
    if is_converted(config):
        return (
            "; this one writes texts, and the translator answers with it: "
            f"python -m lambda_setup model publish {folder} --from transformers --local"
        )
    return ""


def _find_positions(config: dict[str, Any]) -> int:
    """Return the most tokens that a network has positions for."""
    positions = int(config.get("max_position_embeddings") or _LONGEST)
    if config["model_type"] in _BEHIND_PADDING:
        padding = config.get("pad_token_id")
        positions -= (1 if padding is None else padding) + 1
    return positions


def _read_head(folder: Path, kind: str, longest: int, config: dict[str, Any], task: str) -> Network:
    """Return a network with a head of transformers."""
    names = config.get("id2label") or {"0": "LABEL_0", "1": "LABEL_1"}
    try:
        labels = tuple(str(names[key]) for key in sorted(names, key=int))
    except ValueError:
        raise CommandError(f"{folder}/config.json has an id2label whose keys are not numbers") from None
    if prompt := modules.read_prompt(folder):
        raise CommandError(
            f"{folder} puts the prompt {prompt!r} in front of texts, which is exported for embeddings alone. "
            "Remove its default_prompt_name from config_sentence_transformers.json, and send the prompt"
        )
    if task == "classification" and len(labels) == 1:
        activation = modules.read_activation(folder, config)
        return Network(folder, "pairs", kind, longest, labels=labels, activation=activation)
    if task == "classification" and any(one.lower().startswith("entail") for one in labels):
        task = "entailment"
    return Network(folder, task, kind, longest, labels=labels)
