"""OpenNMT-py models of a few thousand random weights, of every architecture: their answers mean nothing."""

import functools
from argparse import Namespace
from pathlib import Path
from typing import Any

import torch

import onmt_compat  # noqa: F401 - first: onmt imports what it changes

# isort: split
from onmt import opts
from onmt.inputters.inputter import dict_to_vocabs
from onmt.model_builder import build_base_model
from onmt.utils.parse import ArgumentParser

SPECIAL = ["<unk>", "<blank>", "<s>", "</s>"]
TOKENS = [*SPECIAL, "C", "c", "N", "O", "(", ")", "=", "1", "Cl", "[nH]"]
SENTENCES = [line.split() for line in ("C ( = O ) N c 1", "Cl", "N [nH] c 1 C C O C", "C C x C")]

TRANSFORMER: dict[str, Any] = {
    "encoder_type": "transformer", "decoder_type": "transformer", "heads": 2, "transformer_ff": 16,
    "position_encoding": True,
}  # fmt: skip
RELATIVE = TRANSFORMER | {"position_encoding": False}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "transformer": TRANSFORMER,
    "relative positions": RELATIVE | {"max_relative_positions": 4},
    "rotary": RELATIVE | {"max_relative_positions": -1},
    "ALiBi": RELATIVE | {"max_relative_positions": -2},
    "multi-query": TRANSFORMER | {"multiquery": True, "num_kv": 1},
    "shared embeddings": TRANSFORMER | {"share_embeddings": True, "share_decoder_embeddings": True},
    "parallel residual": TRANSFORMER | {"parallel_residual": True, "shared_layer_norm": True},
    "rotary, RMSNorm, gated SiLU": RELATIVE
    | {"max_relative_positions": -1, "layer_norm": "rms", "pos_ffn_activation_fn": "silu"},
    "relative buckets": RELATIVE | {"max_relative_positions": 8, "relative_positions_buckets": 4},
    "grouped keys": TRANSFORMER | {"num_kv": 1},
    "experts": TRANSFORMER | {"num_experts": 2, "num_experts_per_tok": 1},
    "trained with alignments": TRANSFORMER
    | {"lambda_align": 0.1, "alignment_layer": 1, "alignment_heads": 1},
    "larger norm_eps": TRANSFORMER | {"norm_eps": 0.1},
    "biases": TRANSFORMER | {"add_qkvbias": True, "add_ffnbias": True},
    "LSTM": {"encoder_type": "brnn", "decoder_type": "rnn", "rnn_type": "LSTM"},
    "GRU": {"encoder_type": "rnn", "decoder_type": "rnn", "rnn_type": "GRU"},
    "coverage": {"encoder_type": "rnn", "decoder_type": "rnn", "coverage_attn": True},
    "sliding window": TRANSFORMER | {"sliding_window": 3},
    "no input feeding": {"encoder_type": "brnn", "decoder_type": "rnn", "input_feed": 0,
                         "global_attention": "mlp"},
    "mean encoder": {"encoder_type": "mean", "decoder_type": "rnn"},
    "mean encoder, transformer": TRANSFORMER | {"encoder_type": "mean"},
}  # fmt: skip
REFUSED: dict[str, tuple[str, dict[str, Any]]] = {
    "copy attention": ("copy_attn = True", {"copy_attn": True}),
    "CNN": ("encoder_type = 'cnn'", {"encoder_type": "cnn", "decoder_type": "cnn"}),
    "language model": ("model_task = 'lm'", {"model_task": "lm", "decoder_type": "transformer_lm"}),
    "average attention": ("self_attn_type = 'average'", {"self_attn_type": "average"}),
    "SRU": ("rnn_type = 'SRU'", {"rnn_type": "SRU"}),
    "source features": ("n_src_feats = 1", {"n_src_feats": 1}),
}
"""Models that are not served: what the refusal names, and the options."""


TRAINING = {
    "dropout": [0.0], "attention_dropout": [0.0], "optim": "sgd", "gpu_ranks": [],
    "freeze_word_vecs_enc": False, "freeze_word_vecs_dec": False,
    "parallel_mode": "data_parallel", "use_ckpting": [], "world_size": 1,
}  # fmt: skip
"""Options of training that building a network reads, too."""


@functools.cache
def _defaults() -> dict[str, Any]:
    return vars(ArgumentParser.defaults(opts.model_opts)) | TRAINING


def build(tokens: list[str] = TOKENS, **options: Any) -> dict[str, Any]:
    """Return a checkpoint as onmt_train saves it."""
    chosen = Namespace(
        **_defaults() | {"update_vocab": False, "layers": 2, "hidden_size": 8, "word_vec_size": 8} | options
    )
    ArgumentParser.update_model_opts(chosen)
    ArgumentParser.validate_model_opts(chosen)
    vocabulary = {"src": tokens, "tgt": tokens, "data_task": "seq2seq", "decoder_start_token": "<s>"}
    torch.manual_seed(7)
    network = build_base_model(chosen, dict_to_vocabs(vocabulary))
    for parameter in network.parameters():
        torch.nn.init.uniform_(parameter, -0.7, 0.7)
    weights = {name: tensor for name, tensor in network.state_dict().items() if "generator" not in name}
    return {
        "model": weights,
        "generator": network.generator.state_dict(),
        "vocab": vocabulary,
        "opt": chosen,
        "optim": None,
    }


def age(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """Return a checkpoint as OpenNMT-py 3.0 saved it: fewer options, layer norms of its own."""
    added = [
        "num_kv", "add_ffnbias", "parallel_residual", "shared_layer_norm", "use_ckpting", "norm_eps",
        "relative_positions_buckets", "parallel_mode", "multiquery", "rotary_interleave", "rotary_theta",
        "rotary_dim", "sliding_window", "num_experts", "quant_type", "w_bit", "group_size", "save_format",
    ]  # fmt: skip
    options = {name: value for name, value in vars(checkpoint["opt"]).items() if name not in added}
    weights = {}
    for name, tensor in checkpoint["model"].items():
        parent, _, last = name.rpartition(".")
        is_norm = parent.rpartition(".")[2].startswith("layer_norm") and "feed_forward" not in parent
        weights[f"{parent}.{ {'weight': 'a_2', 'bias': 'b_2'}[last] }" if is_norm else name] = tensor
    generator = {f"0.{name}": tensor for name, tensor in checkpoint["generator"].items()}
    return checkpoint | {"opt": Namespace(**options), "model": weights, "generator": generator}


def save(checkpoint: dict[str, Any], folder: Path, name: str = "model.pt") -> Path:
    """Save a checkpoint into a folder of its own, which is a model then."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(checkpoint, folder / name)
    return folder


def save_safetensors(checkpoint: dict[str, Any], folder: Path) -> Path:
    """Save options and vocabulary as ``model.pt``, and the weights beside them as OpenNMT-py does."""
    import json

    folder.mkdir(parents=True, exist_ok=True)
    weights = checkpoint["model"] | {
        f"generator.{name}": one for name, one in checkpoint["generator"].items()
    }
    header, data = {}, b""
    for name, tensor in weights.items():
        content = tensor.contiguous().numpy().tobytes()
        offsets = [len(data), len(data) + len(content)]
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": offsets}
        data += content
    start = json.dumps(header).encode()
    (folder / "model.00.safetensors").write_bytes(len(start).to_bytes(8, "little") + start + data)
    return save({name: checkpoint[name] for name in ("vocab", "opt")}, folder)
