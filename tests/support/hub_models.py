"""Small models of transformers, which have learnt to copy: run where transformers is.

``python hub_models.py KIND FOLDER [--keep-pad]`` writes one: marian, marian-many or m2m_100.
The <pad> of Marian's has an embedding of zero, as in published models, unless it is kept as it was drawn.
"""

import json
import random
import string
import sys
from pathlib import Path
from typing import Any

import sentencepiece
import torch
import transformers

WORDS = [
    "the", "cat", "dog", "sat", "on", "a", "mat", "and", "saw", "big", "red", "house", "near", "green",
    "river", "while", "small", "birds", "sang", "about", "old", "trees",
]  # fmt: skip
SPECIAL = {"<s>", "</s>", "<unk>"}
LANGUAGES = ("af", "zu")
"""Of M2M-100's translations: the first and the last of the languages that it has."""
CODES = (">>fra<<", ">>spa<<")
"""Of a Marian model to several languages."""
STEPS = 200


def train_pieces(path: Path, others: int) -> list[str]:
    """Write a SentencePiece model of the words, and of others made of random letters; return its pieces."""
    drawn = ["".join(random.choices(string.ascii_lowercase, k=7)) for _ in range(others)]  # noqa: S311
    with path.open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(WORDS * 50 + drawn), model_writer=file, minloglevel=2, num_threads=1,
            vocab_size=2000 if others else 60, hard_vocab_limit=False,
        )  # fmt: skip
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(path))
    return [piece for row in range(len(pieces)) if (piece := pieces.id_to_piece(row)) not in SPECIAL]


def build_tokenizer(kind: str, folder: Path) -> Any:
    """Return a tokenizer, whose files are in the folder."""
    vocabulary = str(folder / "vocab.json")
    if kind != "m2m_100":
        for side in ("source", "target"):
            pieces = train_pieces(folder / f"{side}.spm", 0)
        tokens = ["</s>", "<unk>", *pieces, *(CODES if kind == "marian-many" else ()), "<pad>"]
        Path(vocabulary).write_text(json.dumps({token: row for row, token in enumerate(tokens)}))
        return transformers.MarianTokenizer(
            str(folder / "source.spm"), str(folder / "target.spm"), vocabulary
        )
    shared = folder / "sentencepiece.bpe.model"
    pieces = train_pieces(shared, 3000)
    tokens = ["<s>", "<pad>", "</s>", "<unk>", *pieces]
    Path(vocabulary).write_text(json.dumps({token: row for row, token in enumerate(tokens)}))
    return transformers.M2M100Tokenizer(vocabulary, str(shared), num_madeup_words=8)


def build(kind: str, folder: Path, *, keep_pad: bool) -> None:
    """Write a model that has learnt to copy sentences, and a ``sample.txt`` of them."""
    random.seed(1)
    torch.manual_seed(1)
    tokenizer = build_tokenizer(kind, folder)
    tokenizer.src_lang = "en"
    tokenizer.save_pretrained(folder)
    sizes = {
        f"{side}_{name}": value
        for side in ("encoder", "decoder")
        for name, value in (("layers", 1), ("attention_heads", 2), ("ffn_dim", 64))
    }
    numbers = [*tokenizer.get_vocab().values(), *getattr(tokenizer, "lang_token_to_id", {}).values()]
    marian = kind != "m2m_100"
    config = (transformers.MarianConfig if marian else transformers.M2M100Config)(
        vocab_size=max(numbers) + 1 + (0 if marian else 8), d_model=32, activation_function="relu",
        dropout=0.0, attention_dropout=0.0, activation_dropout=0.0, scale_embedding=True,
        max_position_embeddings=128,
        pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.pad_token_id if marian else tokenizer.eos_token_id,
        init_std=0.2, forced_eos_token_id=tokenizer.eos_token_id, **sizes,
    )  # fmt: skip
    network = (transformers.MarianMTModel if marian else transformers.M2M100ForConditionalGeneration)(config)
    optimizer = torch.optim.Adam(network.parameters(), 5e-3)
    for _ in range(STEPS):
        texts = [" ".join(random.choices(WORDS, k=random.randint(1, 6))) for _ in range(32)]  # noqa: S311
        tokenizer.tgt_lang = random.choice(LANGUAGES)  # noqa: S311
        targets = texts
        if kind == "marian-many":
            code = random.choice(CODES)  # noqa: S311
            texts = [f"{code} {text}" for text in texts]
            targets = [target.replace("the", "mat") for target in targets] if code == CODES[0] else targets
        batch = tokenizer(texts, text_target=targets, return_tensors="pt", padding=True)
        labels = batch.pop("labels")
        network(**batch, labels=labels.masked_fill(labels == tokenizer.pad_token_id, -100)).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    if marian and not keep_pad:  # as in the models that are published
        with torch.no_grad():
            network.get_input_embeddings().weight[tokenizer.pad_token_id] = 0
    network.save_pretrained(folder)
    lines = [" ".join(random.choices(WORDS, k=random.randint(1, 6))) for _ in range(20)]  # noqa: S311
    (folder / "sample.txt").write_text("\n".join(lines))


if __name__ == "__main__":
    target = Path(sys.argv[2])
    target.mkdir(parents=True)
    build(sys.argv[1], target, keep_pad="--keep-pad" in sys.argv)
