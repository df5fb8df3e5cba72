"""Small encoders of transformers with random weights: run where transformers is.

``python hub_networks.py KIND HEAD FOLDER [LABEL…]`` writes one; HEAD is the end of its architecture, as
``Model``, and LABELs are its classes' in place of the usual ones.
"""

import sys
from pathlib import Path
from typing import Any

import tokenizers
import torch
import transformers
from tokenizers import models, normalizers, pre_tokenizers, processors, trainers

TEXTS = [
    "The train to the coast leaves at nine.",
    "Rain is expected in the north tomorrow, and it will be wet.",
    "She paid for the coffee with an old coin from 1950!",
]
LABELS = {"TokenClassification": ["O", "B-X", "I-X"], "SequenceClassification": ["bad", "good", "neither"]}
BERT_LIKE = {"albert", "bert", "deberta", "deberta-v2", "distilbert", "electra"}
"""Kinds whose pairs have one separator between them."""
WITHOUT_TYPES = {"camembert", "distilbert", "mpnet", "roberta", "xlm-roberta"}


def build_tokenizer(kind: str) -> Any:
    """Return a tokenizer in the style of a kind, trained on a few texts."""
    bert = kind in BERT_LIKE
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"] if bert else ["<s>", "<pad>", "</s>", "<unk>"]
    if bert:
        made = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
        made.normalizer = normalizers.BertNormalizer()
        made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        trainer: Any = trainers.WordPieceTrainer(vocab_size=160, special_tokens=special)
    else:
        made = tokenizers.Tokenizer(models.BPE(unk_token="<unk>"))
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        trainer = trainers.BpeTrainer(
            vocab_size=400, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
        )
    made.train_from_iterator(TEXTS * 20, trainer)
    start, end = ("[CLS]", "[SEP]") if bert else ("<s>", "</s>")
    ids = [(start, made.token_to_id(start)), (end, made.token_to_id(end))]
    second = f"$B:1 {end}:1" if bert else f"{end} $B {end}"
    made.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}", pair=f"{start} $A {end} {second}", special_tokens=ids
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token=special[0] if bert else "<pad>",
        unk_token="[UNK]" if bert else "<unk>",
        cls_token=start,
        sep_token=end,
        model_max_length=48,
        model_input_names=["input_ids", "attention_mask"] + ["token_type_ids"] * (kind not in WITHOUT_TYPES),
    )


def build(kind: str, head: str, folder: Path, labels: list[str]) -> None:
    """Write a network, whose weights are large enough that its answers differ."""
    tokenizer = build_tokenizer(kind)
    torch.manual_seed(1)
    sizes: dict[str, Any] = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}
    sizes["max_position_embeddings"] = 64
    layers = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    if kind == "distilbert":
        layers = {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64}
    sizes |= layers
    if kind.startswith("deberta"):  # as published ones
        sizes |= {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "type_vocab_size": 2}
    config = transformers.AutoConfig.for_model(kind, **sizes)
    labels = labels or LABELS.get(head.removeprefix("For"), [])
    if labels:
        config.id2label = dict(enumerate(labels))
        config.label2id = {label: number for number, label in enumerate(labels)}
    auto = {"Model": "AutoModel"}.get(head, f"AutoModel{head}")
    model = getattr(transformers, auto).from_config(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() > 1 and "embedding" not in name.lower():
                weight.normal_(0, 0.3)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    build(sys.argv[1], sys.argv[2], Path(sys.argv[3]), sys.argv[4:])
