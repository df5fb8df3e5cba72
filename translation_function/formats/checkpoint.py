"""OpenNMT-py's checkpoints, as its command ``onmt_translate`` 3.5.1 takes them, of any release since 3.0.

Both engines read them here: the function's own, and the converter's on the operator's machine. So this module
imports neither onmt nor torch.
"""

import re
from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from lambda_inference import Unavailable, tensors

_ADDED_OPTIONS: dict[str, Any] = {
    "num_kv": 0,
    "add_ffnbias": False,
    "parallel_residual": False,
    "shared_layer_norm": False,
    "use_ckpting": [],
    "relative_positions_buckets": 0,
    "parallel_mode": "data_parallel",
    "norm_eps": 1e-6,
}
"""Options that releases before 3.5 did not save, as ``onmt.models.model_saver.load_checkpoint`` sets them."""
_COMMAND_OPTIONS: dict[str, Any] = {
    "self_attn_type": "scaled-dot-flash",
    "quant_layers": [],
    "quant_type": "",
    "lora_layers": [],
    "update_vocab": False,
    "attention_dropout": 0.0,
}
"""Options of training in whose place ``onmt_translate`` puts its own defaults."""
_ENCODERS = {"transformer", "rnn", "brnn", "mean"}
_DECODERS = {"transformer", "rnn"}
_ATTENTION = {None, "scaled-dot", "scaled-dot-flash"}
_NOT_QUANTISED = {"", "bnb_8bit", "bnb_FP4", "bnb_NF4"}
"""Types of quantisation that happen when a model is loaded; its file is as it was trained."""
CONVERT_V2 = (
    "it is a checkpoint of OpenNMT-py 2; convert it by tools/convertv2_v3.py of OpenNMT-py's repository "
    "(python tools/convertv2_v3.py -v2model OLD.pt -v3model NEW.pt), and publish what that writes"
)


def read(files: Mapping[str, memoryview]) -> dict[str, Any]:
    """Return the checkpoint among a model's files: ``opt``, ``vocab``, ``model`` and ``generator``.

    Its tensors are views of the files. Weights may stand in safetensors beside it.

    Raises:
        Unavailable: there is no checkpoint, it is damaged, or holds a model that is not served.

    """
    names = [name for name in files if name.endswith(".pt")]
    if len(names) != 1:
        raise Unavailable(f"the model has {len(names)} files *.pt, and needs one; publish it again with one")
    [name] = names
    # Its options are an argparse.Namespace; no other class is allowed.
    checkpoint = tensors.load_checkpoint(files[name], [Namespace])
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("opt"), Namespace):
        raise Unavailable(
            f"{name} is not a checkpoint of OpenNMT-py, which holds opt, vocab and model; save the model by "
            "onmt_train, or publish it for another engine by a model.toml"
        )
    vocabulary, options = checkpoint.get("vocab"), vars(checkpoint["opt"])
    tokens = vocabulary.get("src") if isinstance(vocabulary, dict) else None
    if not isinstance(tokens, list) or "rnn_size" in options:
        raise Unavailable(f"{name} cannot be served: {CONVERT_V2}")
    if refusal := find_refusal(options, vocabulary):
        raise Unavailable(f"{name} cannot be served: {refusal}")
    if "model" not in checkpoint:
        checkpoint["model"] = _read_safetensors(name, files)
    checkpoint["model"] = {_rename(key): tensor for key, tensor in checkpoint["model"].items()}
    checkpoint["generator"] = {
        key.removeprefix("0."): tensor for key, tensor in (checkpoint.get("generator") or {}).items()
    }
    if not checkpoint["generator"] and "generator.weight" not in checkpoint["model"]:
        raise Unavailable(
            f"{name} cannot be served: it holds no generator, as a checkpoint of LoRA weights alone; merge "
            "them with their base model by tools/lora_weights.py of OpenNMT-py's repository"
        )
    biased = any("w_1.bias" in key for key in checkpoint["model"])
    checkpoint["opt"] = Namespace(
        **_ADDED_OPTIONS | options | _COMMAND_OPTIONS | ({"add_ffnbias": True} if biased else {})
    )
    return checkpoint


def find_refusal(options: Mapping[str, Any], vocabulary: Any) -> str:
    """Return why a model is not served, by the option's name, and what to do; empty if it is."""
    task = "lm" if "lm" in {options.get("model_task"), vocabulary.get("data_task")} else "seq2seq"
    features = len(vocabulary.get("src_feats") or ()) or options.get("n_src_feats") or 0
    for name, value, served, instead in (
        ("model_task", task, {"seq2seq"}, "only translation is served; train with -model_task seq2seq"),
        ("copy_attn", bool(options.get("copy_attn")), {False}, "train the model again without -copy_attn"),
        ("n_src_feats", features, {0}, "train the model again without source features"),
        (
            "encoder_type",
            options.get("encoder_type", "rnn"),
            _ENCODERS,
            "train with transformer, rnn or brnn",
        ),
        ("decoder_type", options.get("decoder_type", "rnn"), _DECODERS, "train with transformer or rnn"),
        ("self_attn_type", options.get("self_attn_type"), _ATTENTION, "train with scaled-dot"),
        ("rnn_type", options.get("rnn_type"), {None, "LSTM", "GRU", "RNN"}, "train with LSTM or GRU"),
        ("quant_type", options.get("quant_type") or "", _NOT_QUANTISED, "publish it as it was before AWQ"),
    ):
        if value not in served:
            return f"{name} = {value!r} is not served; {instead}"
    return ""


def _read_safetensors(name: str, files: Mapping[str, memoryview]) -> dict[str, Any]:
    """Return the weights that OpenNMT-py saved as NAME.00.safetensors and so on, beside the options."""
    stem = name.removesuffix(".pt")
    shards = sorted(shard for shard in files if shard.startswith(stem) and shard.endswith(".safetensors"))
    if not shards:
        raise Unavailable(
            f"{name} holds options and vocabularies but no weights, and there is no {stem}.*.safetensors "
            "beside it; put it there and publish them together"
        )
    return {key: tensor for shard in shards for key, tensor in tensors.load_safetensors(files[shard]).items()}


def _rename(key: str) -> str:
    """Return today's name of a tensor: layer norms of OpenNMT-py 3.0 had names of their own."""
    return re.sub(r"(\.layer_norm(?:_\d+)?)\.([ab])_2$", lambda old: old[1] + _NORMS[old[2]], key)


_NORMS = {"a": ".weight", "b": ".bias"}
