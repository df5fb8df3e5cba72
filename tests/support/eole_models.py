"""Small models of Eole, which have learnt to copy: run where Eole is.

``python eole_models.py FOLDER KIND`` writes one, of a kind in ``KINDS``.
"""

import json
import random
import sys
from pathlib import Path
from typing import Any

import pyonmttok
import sentencepiece
import torch
from copy_task import WORDS, draw_sentence, train_pieces
from eole.config.models import build_model_config
from eole.inputters.inputter import dict_to_vocabs
from eole.models.model import get_model_class
from safetensors.torch import save_file
from subword_nmt.apply_bpe import BPE
from subword_nmt.learn_bpe import learn_bpe

SPECIALS = {"unk_token": "<unk>", "pad_token": "<blank>", "bos_token": "<s>", "eos_token": "</s>"}
EMBEDDINGS: dict[str, Any] = {"word_vec_size": 32}
KINDS: dict[str, dict[str, Any]] = {
    "transformer": {},
    "relative": {"embeddings": EMBEDDINGS | {"position_encoding_type": "Relative", "n_positions": 4}},
    "rms": {"layer_norm": "rms", "mlp_activation_fn": "gated-silu", "norm_eps": 1e-3},
    "bpe": {},
    "onmt_tokenize": {},
    "spaces": {},
    "language model": {"architecture": "transformer_lm"},
    "rnn": {"architecture": "rnn"},
    "alibi": {"embeddings": EMBEDDINGS | {"position_encoding_type": "Alibi"}},
    "experts": {"num_experts": 2},
    "prefix": {},
    "alphabet": {},
}
"""Each with the options of its model beside a transformer's."""
UNCHECKED = {"language model", "rnn", "relative", "alibi", "experts"}
"""Kinds that are refused by their options, and need no weights."""
STEPS = 300


def build_tokenizer(kind: str, folder: Path) -> tuple[Any, dict[str, Any]]:
    """Return a function from a text to tokens, and what config.json says of it."""
    if kind == "spaces":
        return str.split, {}
    if kind in {"bpe", "onmt_tokenize", "alphabet"}:
        with (folder / "codes").open("w") as file:
            learn_bpe(iter(WORDS * 50), file, 40)
    table: dict[str, Any] = {f"{side}_subword_model": "${MODEL_PATH}/codes" for side in ("src", "tgt")}
    if kind == "bpe":
        bpe = BPE((folder / "codes").open())
        return lambda text: bpe.segment_tokens(text.split()), {"bpe": table}
    if kind in {"onmt_tokenize", "alphabet"}:
        options = {"mode": "aggressive", "joiner_annotate": True, "case_markup": True}
        options |= {"segment_alphabet": ["Han"]} if kind == "alphabet" else {}
        for side in ("src", "tgt"):
            table |= {f"{side}_subword_type": "bpe", f"{side}_onmttok_kwargs": options}
        tokenizer = pyonmttok.Tokenizer(**options, bpe_model_path=str(folder / "codes"))
        return tokenizer, {"onmt_tokenize": table}
    train_pieces(folder / "codes", 0)
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(folder / "codes"))
    transforms = {"sentencepiece": table} | ({"prefix": {"src_prefix": "a"}} if kind == "prefix" else {})
    return lambda text: pieces.encode(text, out_type=str), transforms


def train(network: Any, tokenize: Any, tokens: list[str]) -> None:
    """Teach a network to copy sentences."""
    ids = {token: number for number, token in enumerate(tokens)}
    optimizer = torch.optim.Adam(network.parameters(), 5e-3)
    for _ in range(STEPS):
        rows = [[ids[token] for token in tokenize(draw_sentence())] for _ in range(32)]
        lengths = [len(row) for row in rows]
        padding = [[ids["<blank>"]] * (max(lengths) - length) for length in lengths]
        source = torch.tensor([row + more for row, more in zip(rows, padding, strict=True)])
        target = torch.tensor([[2, *row, 3, *more] for row, more in zip(rows, padding, strict=True)])
        logits = network.generator(network(source, target, torch.tensor(lengths)).dec_out)
        wanted = target[:, 1:].flatten()
        torch.nn.functional.cross_entropy(logits.flatten(0, 1), wanted, ignore_index=1).backward()
        optimizer.step()
        optimizer.zero_grad()


def save_network(folder: Path, model: dict[str, Any], vocabulary: dict[str, Any], tokenize: Any) -> None:
    """Train a network, and save its weights."""
    config = build_model_config(model)
    network = get_model_class(config).build(config, dict_to_vocabs(vocabulary), None)
    for name, parameter in network.named_parameters():
        if "norm" not in name:
            torch.nn.init.uniform_(parameter, -0.3, 0.3)
        elif name.endswith("weight"):
            torch.nn.init.ones_(parameter)  # RMSNorm's are left as they lie in memory
    train(network, tokenize, vocabulary["src"])
    weights = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    save_file(weights, folder / "model.00.safetensors")


def build(kind: str, folder: Path) -> None:
    """Write a model, and a ``sample.txt`` of sentences."""
    random.seed(1)
    torch.manual_seed(1)
    tokenize, transforms = build_tokenizer(kind, folder)
    words = sorted({token for _ in range(200) for token in tokenize(draw_sentence())})
    tokens = ["<unk>", "<blank>", "<s>", "</s>", *words]
    vocabulary = {"src": tokens, "tgt": tokens, "decoder_start_token": "<s>", "specials": SPECIALS}
    model = {
        "architecture": "transformer", "layers": 1, "hidden_size": 32, "heads": 2, "transformer_ff": 64,
        "embeddings": EMBEDDINGS | {"position_encoding_type": "SinusoidalInterleaved"},
    } | KINDS[kind]  # fmt: skip
    if model["architecture"] == "rnn":
        del model["heads"], model["transformer_ff"]
    if kind not in UNCHECKED:
        save_network(folder, model, vocabulary, tokenize)
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    described = {
        "model": model, "training": {}, "transforms": list(transforms), "transforms_configs": transforms,
        "share_vocab": True, "src_vocab": "none", "tgt_vocab": "none",
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(described))
    (folder / "sample.txt").write_text("\n".join(draw_sentence() for _ in range(20)))


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True)
    build(sys.argv[2], target)
