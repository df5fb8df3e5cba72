"""Folders of Hugging Face in the forms that people have: run where transformers is.

``python hub_forms.py FORM FOLDER`` writes one, with a small network of random weights.
"""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import hub_networks
import sentencepiece
import torch
import transformers
from safetensors.torch import load_file, save_file

WIDTH = 32
"""Of the networks' vectors."""
PROMPTS = {"query": "query: ", "passage": "passage: "}
LEGACY = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
}


def write(path: Path, document: Any) -> None:
    """Write a JSON document."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))


def edit(path: Path, **values: Any) -> None:
    """Change values of a JSON document."""
    write(path, json.loads(path.read_text()) | values)


def save_as(save: Callable[[Any, Path], None]) -> Callable[[Path], None]:
    """Return a form whose network is saved anew, beside its tokenizer."""

    def make(folder: Path) -> None:
        hub_networks.build("bert", "Model", folder, [])
        model = transformers.AutoModel.from_pretrained(folder)
        (folder / "model.safetensors").unlink()
        save(model, folder)

    return make


def make_vocabulary(folder: Path) -> None:
    """Leave a list of words in place of a tokenizer."""
    hub_networks.build("bert", "Model", folder, [])
    words = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    (folder / "vocab.txt").write_text("\n".join(sorted(words, key=words.__getitem__)) + "\n")
    (folder / "tokenizer.json").unlink()
    settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 48}
    write(folder / "tokenizer_config.json", settings)


def make_pieces(folder: Path) -> None:
    """Leave a model of sentencepiece in place of a tokenizer."""
    hub_networks.build("xlm-roberta", "Model", folder, [])
    corpus = folder / "corpus.txt"
    corpus.write_text("\n".join(hub_networks.TEXTS * 50))
    sentencepiece.SentencePieceTrainer.train(
        input=str(corpus), model_prefix=str(folder / "pieces"), vocab_size=90, hard_vocab_limit=False,
        minloglevel=2,
    )  # fmt: skip
    (folder / "pieces.model").rename(folder / "sentencepiece.bpe.model")
    (folder / "tokenizer.json").unlink()
    settings = {"tokenizer_class": "XLMRobertaTokenizer", "model_max_length": 48}
    write(folder / "tokenizer_config.json", settings)


def make_headless(folder: Path) -> None:
    """Leave out the weights of the head."""
    hub_networks.build("distilbert", "ForSequenceClassification", folder, [])
    weights = load_file(folder / "model.safetensors")
    kept = {name: value for name, value in weights.items() if not name.startswith("classifier")}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})


def make_adapted(folder: Path) -> None:
    """Leave an adapter's weights beside those that they change."""
    hub_networks.build("distilbert", "ForSequenceClassification", folder, [])
    weights = load_file(folder / "model.safetensors")
    name = next(name for name in weights if name.endswith("q_lin.weight"))
    weights[name.replace("weight", "lora_A.weight")] = torch.rand(2, WIDTH)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def make_regression(folder: Path) -> None:
    """Write a network that gives a text a number."""
    hub_networks.build("bert", "ForSequenceClassification", folder, ["LABEL_0"])
    edit(folder / "config.json", problem_type="regression")


def make_labels(folder: Path) -> None:
    """Write a network whose labels do not exclude each other."""
    hub_networks.build("bert", "ForSequenceClassification", folder, ["rude", "loud", "late"])
    edit(folder / "config.json", problem_type="multi_label_classification")


def make_modules(
    modes: Sequence[str] = ("mean",),
    kind: str = "bert",
    release: int = 3,
    *,
    dense: bool = False,
    normalize: bool = True,
    home: str = "",
    default: str | None = None,
    **settings: Any,
) -> Callable[[Path], None]:
    """Return a form of sentence-transformers.

    Args:
        modes: of pooling.
        kind: the network's type.
        release: of sentence-transformers that saved it; 6 joins several modes in their order.
        dense: whether there is a layer behind the pooling.
        normalize: whether vectors are scaled.
        home: folder of the network itself.
        default: name of the prompt in front of every text.
        settings: of the network's module.

    """

    def make(folder: Path) -> None:
        hub_networks.build(kind, "Model", folder / home, [])
        own = {"max_seq_length": 32, "do_lower_case": False} | settings
        write(folder / home / "sentence_bert_config.json", own)
        names = ["Transformer", "Pooling", *["Dense"] * dense, *["Normalize"] * normalize]
        paths = [home, *(f"{number}_{name}" for number, name in enumerate(names) if number)]
        kinds = [f"sentence_transformers.models.{name}" for name in names]
        modules = [{"path": path, "type": one} for path, one in zip(paths, kinds, strict=True)]
        numbered = [{"idx": number, "name": str(number), **one} for number, one in enumerate(modules)]
        write(folder / "modules.json", numbered)
        if release == 6:
            pooling: dict[str, Any] = {"embedding_dimension": WIDTH, "pooling_mode": list(modes)}
        else:
            chosen = {key: mode in modes for key, mode in LEGACY.items()}
            pooling = {"word_embedding_dimension": WIDTH, **chosen}
        write(folder / "1_Pooling" / "config.json", pooling)
        if dense:
            size = WIDTH * len(modes)
            activation = "torch.nn.modules.activation.Tanh"
            layer = {"in_features": size, "out_features": 10, "bias": True, "activation_function": activation}
            write(folder / "2_Dense" / "config.json", layer)
            weights = {"linear.weight": torch.randn(10, size) / 4, "linear.bias": torch.randn(10)}
            save_file(weights, folder / "2_Dense" / "model.safetensors")
        prompts = {"prompts": PROMPTS, "default_prompt_name": default}
        write(folder / "config_sentence_transformers.json", prompts)

    return make


FORMS: dict[str, Callable[[Path], None]] = {
    "sharded": save_as(lambda model, folder: model.save_pretrained(folder, max_shard_size="20kB")),
    "bfloat16": save_as(lambda model, folder: model.bfloat16().save_pretrained(folder)),
    "vocabulary": make_vocabulary,
    "pieces": make_pieces,
    "headless": make_headless,
    "adapted": make_adapted,
    "regression": make_regression,
    "labels": make_labels,
    "cls": make_modules(["cls"], dense=True),
    "max": make_modules(["max"], normalize=False),
    "mean_sqrt": make_modules(["mean_sqrt_len_tokens"], dense=True, normalize=False),
    "joined": make_modules(["mean", "cls"], dense=True),
    "joined-6": make_modules(["mean", "cls", "max"], release=6, dense=True),
    "prompt": make_modules(default="query"),
    "prompts": make_modules(),
    "lowercase": make_modules(kind="roberta", do_lower_case=True, max_seq_length=20),
    "own-folder": make_modules(["cls"], dense=True, home="0_Transformer"),
}


def main(form: str, folder: Path) -> None:
    """Write a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(2)
    FORMS[form](folder)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
