"""What sentence-transformers puts behind a network: pooling, layers, scaling, and settings of its own."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lambda_setup.errors import CommandError
from lambda_setup.scaffold.huggingface.checks import read_json

FILE = "modules.json"
POOLINGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
}
"""Settings that choose how token vectors become one, and the names of sentence-transformers 6, in the order
in which several are joined."""
_SETTINGS = tuple(
    f"sentence_{kind}_config.json"
    for kind in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
_ACTIVATIONS = {"Sigmoid", "Identity"}


@dataclass(frozen=True)
class Modules:
    """The modules of a folder behind its network.

    Attributes:
        pooling: how token vectors become one, one or more joined.
        dense: folders of the layers behind it.
        normalize: whether vectors have length 1.
        longest: tokens that a text is cut to; None where the network's own limit holds.
        lowercase: whether texts are made lower-case first.
        prompt: what stands in front of every text.

    """

    pooling: tuple[str, ...]
    dense: tuple[Path, ...]
    normalize: bool
    longest: int | None
    lowercase: bool
    prompt: str


def list_types(folder: Path) -> list[str]:
    """Return the names of a folder's modules, none if sentence-transformers did not save it."""
    return [module["type"].rpartition(".")[2] for module in read_json(folder / FILE) or []]


def find_network(folder: Path) -> Path:
    """Return the folder of the network itself, which was ``0_Transformer`` in early releases."""
    modules = read_json(folder / FILE) or [{"path": ""}]
    return folder / str(modules[0]["path"])


def read_modules(folder: Path) -> Modules:
    """Return what is behind the network of a folder that sentence-transformers saved.

    Raises:
        CommandError: a module, its order or one of its settings is not exported.

    """
    modules, types = read_json(folder / FILE), list_types(folder)
    behind = types[2:]
    if types[:2] != ["Transformer", "Pooling"] or set(behind) - {"Dense", "Normalize"}:
        raise CommandError(
            f"{folder}/{FILE} names {', '.join(types)}; expected Transformer and Pooling, then Dense "
            "and Normalize at most. Export this one yourself, and begin with --from onnx"
        )
    if "Dense" in behind[behind.index("Normalize") :] if "Normalize" in behind else False:
        raise CommandError(
            f"{folder}/{FILE} has a Dense behind Normalize, which is not exported. Export it yourself, and "
            "begin with --from onnx"
        )
    paths = [folder / module["path"] for module in modules]
    pooling = read_json(paths[1] / "config.json") or {}
    prompt = read_prompt(folder)
    if prompt and pooling.get("include_prompt") is False:
        raise CommandError(
            f"{folder} leaves its prompt {prompt!r} out of the pooling, which is not exported. Export it "
            "yourself, and begin with --from onnx"
        )
    dense = tuple(path for path, one in zip(paths, types, strict=True) if one == "Dense")
    for path in dense:
        _check_dense(folder, path)
    settings: dict[str, Any] = next(filter(None, (read_json(paths[0] / name) for name in _SETTINGS)), {})
    text = (settings.get("processing_kwargs") or {}).get("text") or {}  # of sentence-transformers 6
    longest = settings.get("max_seq_length") or text.get("max_length")
    return Modules(
        pooling=_read_poolings(paths[1], pooling),
        dense=dense,
        normalize="Normalize" in types,
        longest=int(longest) if longest else None,
        lowercase=bool(settings.get("do_lower_case")),
        prompt=prompt,
    )


def _read_poolings(path: Path, pooling: dict[str, Any]) -> tuple[str, ...]:
    """Return how vectors are pooled, several in the order in which they are joined."""
    if "pooling_mode" in pooling:  # of sentence-transformers 6
        modes = pooling["pooling_mode"]
        chosen = [modes] if isinstance(modes, str) else list(modes)
    else:
        named = [key for key, value in pooling.items() if key.startswith("pooling_mode_") and value is True]
        chosen = sorted((POOLINGS.get(key, key) for key in named), key=[*POOLINGS.values(), *named].index)
    if unknown := set(chosen) - set(POOLINGS.values()):
        raise CommandError(
            f"{path} pools by {', '.join(sorted(unknown))}, which is not exported; these are: "
            f"{', '.join(POOLINGS.values())}"
        )
    return tuple(chosen) or ("mean",)


def _check_dense(folder: Path, path: Path) -> None:
    """Refuse a layer whose weights are pickled, or which does more than one layer does."""
    config = read_json(path / "config.json") or {}
    if not (path / "model.safetensors").is_file():
        raise CommandError(
            f"{path} has no model.safetensors; save the model with safetensors: "
            f"SentenceTransformer({str(folder)!r}).save_pretrained(FOLDER) in sentence_transformers"
        )
    names = {config.get("module_input_name"), config.get("module_output_name")} - {None}
    if config.get("use_residual") or names - {"sentence_embedding"}:
        raise CommandError(
            f"{path} is not a plain layer behind the pooling (use_residual, module_input_name or "
            "module_output_name). Export the model yourself, and begin with --from onnx"
        )


def read_prompts(folder: Path) -> dict[str, str]:
    """Return a folder's prompts by their names, without empty ones."""
    settings = read_json(folder / "config_sentence_transformers.json") or {}
    return {name: text for name, text in (settings.get("prompts") or {}).items() if text}


def read_prompt(folder: Path) -> str:
    """Return the prompt that stands in front of every text, by the folder's own default."""
    settings = read_json(folder / "config_sentence_transformers.json") or {}
    return read_prompts(folder).get(settings.get("default_prompt_name") or "", "")


def read_activation(folder: Path, config: dict[str, Any]) -> str:
    """Return what makes a cross-encoder's score of its one number: Sigmoid or Identity.

    Raises:
        CommandError: it is something else.

    """
    saved = read_json(folder / "config_sentence_transformers.json") or {}
    named = (
        saved.get("activation_fn")
        or (config.get("sentence_transformers") or {}).get("activation_fn")
        or config.get("sbert_ce_default_activation_function")
        or ("Identity" if config.get("problem_type") == "regression" else "Sigmoid")
    )
    activation = str(named).rpartition(".")[2]
    if activation not in _ACTIVATIONS:
        raise CommandError(
            f"{folder} scores pairs by {named}, which is not exported; these are: "
            f"{', '.join(sorted(_ACTIVATIONS))}"
        )
    return activation
