"""Small models of transformers, which have learnt to copy: run where transformers is.

``python hub_models.py FOLDER KIND [--keep-pad]`` writes one: marian, marian-many, m2m_100, nllb or
nllb-legacy.
The <pad> of Marian's has an embedding of zero, as in published models, unless it is kept as it was drawn.
"""

import json
import random
import sys
from pathlib import Path
from typing import Any

import torch
import transformers
from copy_task import draw_sentence, train_pieces

LANGUAGES = {"m2m_100": ("af", "zu"), "nllb": ("fra_Latn", "zho_Hant")}
"""Of translations: the first and the last of the languages that the model has, beside English."""
CODES = (">>fra<<", ">>spa<<")
"""Of a Marian model to several languages."""
STEPS = 200


def build_tokenizer(kind: str, folder: Path) -> Any:
    """Return a tokenizer, whose files are in the folder."""
    vocabulary = str(folder / "vocab.json")
    shared = folder / "sentencepiece.bpe.model"
    if kind.startswith("nllb"):
        train_pieces(shared, 0, model_type="bpe", vocab_size=90)
        tokenizer_class, languages = "NllbTokenizer", ["eng_Latn", *LANGUAGES["nllb"]]
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


def build(kind: str, folder: Path, *, keep_pad: bool) -> None:
    """Write a model that has learnt to copy sentences, and a ``sample.txt`` of them."""
    random.seed(1)
    torch.manual_seed(1)
    tokenizer = build_tokenizer(kind, folder)
    marian, family = kind.startswith("marian"), kind.partition("-")[0]
    tokenizer.src_lang = "eng_Latn" if family == "nllb" else "en"
    tokenizer.save_pretrained(folder)
    sizes = {
        f"{side}_{name}": value
        for side in ("encoder", "decoder")
        for name, value in (("layers", 1), ("attention_heads", 2), ("ffn_dim", 64))
    }
    numbers = [*tokenizer.get_vocab().values(), *getattr(tokenizer, "lang_token_to_id", {}).values()]
    config = (transformers.MarianConfig if marian else transformers.M2M100Config)(
        vocab_size=max(numbers) + 1 + (8 if kind == "m2m_100" else 0), d_model=32, activation_function="relu",
        dropout=0.0, attention_dropout=0.0, activation_dropout=0.0, scale_embedding=True,
        max_position_embeddings=128,
        pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.pad_token_id if marian else tokenizer.eos_token_id,
        init_std=0.2, forced_eos_token_id=tokenizer.eos_token_id, **sizes,
    )  # fmt: skip
    network = (transformers.MarianMTModel if marian else transformers.M2M100ForConditionalGeneration)(config)
    optimizer = torch.optim.Adam(network.parameters(), 5e-3)
    for _ in range(STEPS):
        texts = [draw_sentence() for _ in range(32)]
        if not marian:
            tokenizer.tgt_lang = random.choice(LANGUAGES[family])  # noqa: S311
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
