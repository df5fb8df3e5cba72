"""Small models of transformers, which have learnt to copy: run where transformers is.

``python hub_models.py FOLDER KIND [--keep-pad]`` writes one: marian, marian-many, m2m_100, nllb, nllb-legacy,
mbart, mbart-25, bart, pegasus, t5, t5-json, t5-v1_1, mt5 or umt5.
The <pad> of Marian's has an embedding of zero, as in published models, unless it is kept as it was drawn.
"""

import json
import random
import sys
from pathlib import Path
from typing import Any

import torch
import transformers
from copy_task import WORDS, draw_sentence, train_pieces
from tokenizers import ByteLevelBPETokenizer

NAMES = {
    "marian": "Marian", "m2m_100": "M2M100", "nllb": "M2M100", "mbart": "MBart", "bart": "Bart",
    "pegasus": "Pegasus", "t5": "T5", "mt5": "MT5", "umt5": "UMT5",
}  # fmt: skip
"""What classes of a family begin with."""
LANGUAGES = {
    "m2m_100": ("en", "af", "zu"),
    "nllb": ("eng_Latn", "fra_Latn", "zho_Hant"),
    "mbart": ("en_XX", "af_ZA", "zh_CN"),
}
"""English, and the first and the last of the other languages that a model has."""
CODES = (">>fra<<", ">>spa<<")
"""Of a Marian model to several languages."""
STEPS = 200
T5_IDS = {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1}
"""The special pieces of T5's SentencePiece models, and of PEGASUS'."""


def build_tokenizer(kind: str, folder: Path) -> Any:
    """Return a tokenizer, whose files are in the folder."""
    vocabulary = str(folder / "vocab.json")
    shared = folder / "sentencepiece.bpe.model"
    if kind.partition("-")[0] in {"bart", "mbart", "pegasus", "t5", "mt5", "umt5"}:
        return build_newer_tokenizer(kind, folder)
    if kind.startswith("nllb"):
        train_pieces(shared, 0, model_type="bpe", vocab_size=90)
        tokenizer_class, languages = "NllbTokenizer", [*LANGUAGES["nllb"]]
        options = {"tokenizer_class": tokenizer_class, "extra_special_tokens": languages}
        options["legacy_behaviour"] = kind == "nllb-legacy"
        (folder / "tokenizer_config.json").write_text(json.dumps(options))
        return transformers.NllbTokenizer.from_pretrained(folder)
    if kind != "m2m_100":
        for side in ("source", "target"):
            pieces = train_pieces(folder / f"{side}.spm", 0)
        tokens = ["</s>", "<unk>", *pieces, *(CODES if kind == "marian-many" else ()), "<pad>"]
        Path(vocabulary).write_text(json.dumps({token: row for row, token in enumerate(tokens)}))
        return transformers.MarianTokenizer(
            str(folder / "source.spm"), str(folder / "target.spm"), vocabulary
        )
    pieces = train_pieces(shared, 3000)
    tokens = ["<s>", "<pad>", "</s>", "<unk>", *pieces]
    Path(vocabulary).write_text(json.dumps({token: row for row, token in enumerate(tokens)}))
    return transformers.M2M100Tokenizer(vocabulary, str(shared), num_madeup_words=8)


def build_newer_tokenizer(kind: str, folder: Path) -> Any:
    """Return a tokenizer of BART's or T5's kinds, whose files are in the folder."""
    if kind == "bart":
        trained = ByteLevelBPETokenizer()
        special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
        trained.train_from_iterator(WORDS * 50, vocab_size=300, special_tokens=special)
        trained.save_model(str(folder))
        return transformers.BartTokenizer.from_pretrained(folder)
    if kind.startswith("mbart"):
        train_pieces(folder / "sentencepiece.bpe.model", 3000)
        name = "MBartTokenizer" if kind == "mbart-25" else "MBart50Tokenizer"
        return getattr(transformers, name).from_pretrained(folder)
    pieces = folder / "spiece.model"
    train_pieces(pieces, 0, pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
    if kind == "pegasus":
        return transformers.PegasusTokenizer.from_pretrained(folder)
    tokenizer = transformers.T5Tokenizer.from_pretrained(folder, extra_ids=8)
    if kind == "t5-json":  # as transformers 5 saves it
        pieces.unlink()
    return tokenizer


def build_config(kind: str, tokenizer: Any) -> Any:
    """Return the settings of a small network."""
    family = kind.partition("-")[0]
    numbers = [*tokenizer.get_vocab().values(), *getattr(tokenizer, "lang_token_to_id", {}).values()]
    # Some rows have no token, as in published models.
    rows = max(numbers) + 1 + (8 if kind == "m2m_100" or "t5" in kind else 0)
    make: Any = getattr(transformers, f"{NAMES[family]}Config")
    ends = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id}
    if "t5" in kind:
        newer = {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False, "d_kv": 12}
        return make(
            vocab_size=rows, d_model=32, d_ff=64, num_layers=2, num_heads=2, dropout_rate=0.0,
            decoder_start_token_id=tokenizer.pad_token_id, **ends,
            **(newer if kind not in {"t5", "t5-json"} else {"d_kv": 16}),
        )  # fmt: skip
    sizes = {
        f"{side}_{name}": value
        for side in ("encoder", "decoder")
        for name, value in (("layers", 1), ("attention_heads", 2), ("ffn_dim", 64))
    }
    start = tokenizer.pad_token_id if family in {"marian", "pegasus"} else tokenizer.eos_token_id
    if kind == "mbart-25":
        start = tokenizer.convert_tokens_to_ids("ro_RO")
    return make(
        vocab_size=rows, d_model=32, activation_function="relu", dropout=0.0, attention_dropout=0.0,
        activation_dropout=0.0, scale_embedding=True, max_position_embeddings=128, init_std=0.2,
        decoder_start_token_id=start, forced_eos_token_id=tokenizer.eos_token_id, **ends, **sizes,
    )  # fmt: skip


def build(kind: str, folder: Path, *, keep_pad: bool) -> None:
    """Write a model that has learnt to copy sentences, and a ``sample.txt`` of them."""
    random.seed(1)
    torch.manual_seed(1)
    tokenizer = build_tokenizer(kind, folder)
    marian, family = kind.startswith("marian"), kind.partition("-")[0]
    english, *others = LANGUAGES.get(family, [""])
    if others:
        tokenizer.src_lang = english
    tokenizer.save_pretrained(folder)
    name = f"{NAMES[family]}{'MTModel' if marian else 'ForConditionalGeneration'}"
    network = getattr(transformers, name)(build_config(kind, tokenizer))
    if kind == "bart":
        network.generation_config.forced_bos_token_id = tokenizer.bos_token_id
    optimizer = torch.optim.Adam(network.parameters(), 5e-3)
    for _ in range(STEPS):
        texts = [draw_sentence() for _ in range(32)]
        if others:
            tokenizer.tgt_lang = "ro_RO" if kind == "mbart-25" else random.choice(others)  # noqa: S311
        targets = texts
        if kind == "marian-many":
            code = random.choice(CODES)  # noqa: S311
            texts = [f"{code} {text}" for text in texts]
            targets = [target.replace("the", "mat") for target in targets] if code == CODES[0] else targets
        batch = tokenizer(texts, text_target=targets, return_tensors="pt", padding=True)
        labels = batch.pop("labels")
        if kind == "nllb-legacy":  # its targets begin with their language all the same, as NLLB was trained
            labels = torch.cat([labels[:, -1:].clone(), labels], 1)
            for row in labels:
                end = int((row == tokenizer.eos_token_id).nonzero()[-1])
                row[0], row[end + 1 :] = row[end + 1].item(), tokenizer.pad_token_id
        network(**batch, labels=labels.masked_fill(labels == tokenizer.pad_token_id, -100)).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    if marian and not keep_pad:  # as in the models that are published
        with torch.no_grad():
            network.get_input_embeddings().weight[tokenizer.pad_token_id] = 0
    network.save_pretrained(folder)
    (folder / "sample.txt").write_text("\n".join(draw_sentence() for _ in range(20)))


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True)
    build(sys.argv[2], target, keep_pad="--keep-pad" in sys.argv)
