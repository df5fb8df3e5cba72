"""A network of transformers: exported to ONNX, and asked what the exported one has to answer.

Run as ``python export_runner.py FOLDER TARGET`` in an environment with transformers, with the network's
settings, the ``request`` of the smoke test and ``samples`` as JSON on standard input. Writes into TARGET
``network.onnx``, ``network.onnx.data``, ``tokenizer.json`` and ``settings.json``, and to standard output
JSON: ``predictions`` of the request by the original network; ``loss``, the worst of the samples; and
``libraries``. For a network that cannot be exported it is ``reason`` alone.
"""

import base64
import hashlib
import json
import os
import shutil
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

# By -I, Python does not look here.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error", "ORT_DISABLE_TELEMETRY": "1"}

import numpy as np
import onnx
import tokenizers
import torch
import transformers
from safetensors.torch import load_file
from transformers import AutoTokenizer

from lambda_setup.scaffold.export_original import ask
from lambda_setup.scaffold.optimise import GRAPH, WEIGHTS, open_session, optimise

CLASSES = {
    "embedding": "AutoModel",
    "classification": "AutoModelForSequenceClassification",
    "entailment": "AutoModelForSequenceClassification",
    "pairs": "AutoModelForSequenceClassification",
    "tokens": "AutoModelForTokenClassification",
    "answers": "AutoModelForQuestionAnswering",
}
TOLERANCE = 1e-4
"""Between an exported float32 network's numbers and the original's."""
CONSTANT = 16_384
"""Bytes of the largest constant that is stored as it is."""
LISTED = 3
"""Names of weights in a message."""
INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class Exported(torch.nn.Module):
    """A network with what its task puts behind it: pooling, or the probabilities of its classes."""

    def __init__(self, folder: Path, asked: dict[str, Any]) -> None:
        super().__init__()
        kind = getattr(transformers, CLASSES[asked["task"]])
        # The plain attention is what exports to one graph for any length.
        model, report = kind.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
        )
        check_weights(report)
        self.model, self.asked = model.eval(), asked
        self.dense = torch.nn.Sequential(*(load_dense(folder / name) for name in asked["dense"]))
        self.outputs = {"embedding": ["vector"], "answers": ["start", "end"]}.get(asked["task"], ["scores"])

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        token_type_ids: torch.Tensor | None = None,
    ) -> Any:
        """Return the outputs that the function reads, a tuple of tensors."""
        types = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        found = self.model(input_ids=input_ids, attention_mask=attention_mask, **types)
        task = self.asked["task"]
        if task == "embedding":
            pooled = torch.cat(
                [pool(mode, found.last_hidden_state, attention_mask) for mode in self.asked["pooling"]], 1
            )
            vector = self.dense(pooled)
            return (torch.nn.functional.normalize(vector, dim=1) if self.asked["normalize"] else vector,)
        if task == "answers":
            return found.start_logits, found.end_logits
        if task == "tokens":
            return (found.logits.softmax(-1),)
        return (self.activate(found.logits),)

    def activate(self, logits: torch.Tensor) -> torch.Tensor:
        """Return what transformers' pipelines make of the logits of a text."""
        config = self.model.config
        if self.asked["task"] == "entailment":
            return logits
        if self.asked["task"] == "pairs":
            return logits if self.asked["activation"] == "Identity" else logits.sigmoid()
        if config.problem_type == "regression":
            return logits
        return logits.sigmoid() if config.problem_type == "multi_label_classification" else logits.softmax(-1)


def check_weights(report: dict[str, Any]) -> None:
    """Refuse weights that leave parts of the network to chance, or have no place in it.

    A pooler is not part of any answer here, and what is above the layers is another task's head. ValueError
    names some of them.
    """
    missing = sorted(name for name in report["missing_keys"] if "pooler." not in name)
    if missing:
        raise ValueError(f"its weights lack {shorten(missing)}, which would be random")
    if strange := sorted(name for name in report["unexpected_keys"] if ".layer." in name):
        raise ValueError(f"its weights hold {shorten(strange)}, for which transformers' network has no place")


def shorten(names: list[str]) -> str:
    """Return the first names of a list, and how many more there are."""
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more


def load_dense(folder: Path) -> torch.nn.Sequential:
    """Return a layer that sentence-transformers puts behind the pooling."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    linear = torch.nn.Linear(config["in_features"], config["out_features"], bias=config["bias"])
    weights = load_file(folder / "model.safetensors")
    linear.load_state_dict({name.removeprefix("linear."): tensor for name, tensor in weights.items()})
    activation = getattr(torch.nn, config["activation_function"].rpartition(".")[2])()
    return torch.nn.Sequential(linear, activation).eval()


def pool(mode: str, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return one vector a text of those of its tokens, as sentence-transformers does."""
    weights = mask.unsqueeze(-1).to(hidden.dtype)
    if mode == "cls":
        return hidden[:, 0]
    if mode == "max":
        return hidden.masked_fill(weights == 0, -1e9).max(1)[0]
    total, count = (hidden * weights).sum(1), weights.sum(1).clamp(min=1e-9)
    return total / (count.sqrt() if mode == "mean_sqrt_len_tokens" else count)


def encode(tokenizer: Any, asked: dict[str, Any], items: list[Any]) -> dict[str, torch.Tensor]:
    """Return the network's inputs for texts, or pairs of them, as transformers makes them."""
    pairs = [item if isinstance(item, list) else [asked["prompt"] + item, None] for item in items]
    if asked["lowercase"]:
        pairs = [[one and one.lower() for one in pair] for pair in pairs]
    first, second = zip(*pairs, strict=True)
    options = {"padding": True, "truncation": True, "max_length": asked["longest"], "return_tensors": "pt"}
    found = tokenizer(list(first), list(second) if second[0] is not None else None, **options)
    return {name: found[name] for name in INPUTS if name in found}


def export(network: Exported, example: dict[str, torch.Tensor], target: Path, *, int8: bool) -> None:
    """Write ``network.onnx`` and its weights, optimised for every processor alike."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "exported.onnx"
        sizes = {0: torch.export.Dim("texts"), 1: torch.export.Dim("tokens")}
        torch.onnx.export(
            network, (), path, kwargs=example, input_names=list(example), output_names=network.outputs,
            dynamic_shapes=dict.fromkeys(example, sizes), dynamo=True, opset_version=18, verbose=False,
        )  # fmt: skip
        if int8:
            from onnxruntime.quantization import quantize_dynamic

            quantized = path.with_name("quantized.onnx")
            # 7 bits: without them, processors that lack VNNI add up to more than fits, and say nothing.
            quantize_dynamic(
                path, quantized, per_channel=True, reduce_range=True, use_external_data_format=True
            )
            path = quantized
        optimise(path, target)


def write_tokenizer(tokenizer: Any, asked: dict[str, Any], folder: Path, target: Path) -> bool:
    """Write ``tokenizer.json``: the folder's own, unless transformers makes other tokens of a sample.

    Returns whether it is the folder's own.
    """
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    if asked["lowercase"]:
        first = tokenizers.normalizers.Lowercase()
        rest = [backend.normalizer] if backend.normalizer else []
        backend.normalizer = tokenizers.normalizers.Sequence([first, *rest])
    path = folder / "tokenizer.json"
    if path.is_file():
        own = tokenizers.Tokenizer.from_file(str(path))
        own.no_truncation()
        own.no_padding()
        texts = [[one] if isinstance(one, str) else one for one in asked["samples"]]
        if all(own.encode(*text).ids == backend.encode(*text).ids for text in texts):
            shutil.copyfile(path, target / path.name)
            return True
    backend.save(str(target / path.name))
    return False


def map_weights(target: Path, folder: Path) -> dict[str, Any] | None:
    """Return how the exported weights are made of the folder's tensors; None if they are not."""
    if not (folder / "model.safetensors").is_file():
        return None
    places: dict[bytes, tuple[str, bool]] = {}
    for name, tensor in load_file(folder / "model.safetensors").items():
        array = tensor.float().numpy()
        for transposed in (True, False):
            laid = array.T if transposed else array
            places[hashlib.sha256(laid.tobytes()).digest()] = (name, transposed)
    data = (target / WEIGHTS).read_bytes()
    weights: dict[str, Any] = {"file": WEIGHTS, "size": len(data), "tensors": [], "constants": []}
    for one in onnx.load(target / GRAPH, load_external_data=False).graph.initializer:
        entry = {pair.key: pair.value for pair in one.external_data}
        if not entry:
            continue
        offset = int(entry["offset"])
        part = data[offset : offset + int(entry["length"])]
        if found := places.get(hashlib.sha256(part).digest()):
            weights["tensors"].append([offset, *found])
        elif len(part) <= CONSTANT:
            weights["constants"].append([offset, base64.b64encode(part).decode()])
        else:
            return None
    return weights


def measure(task: str, found: list[np.ndarray], right: list[np.ndarray]) -> float:
    """Return how far outputs are off: the largest difference, or of vectors 1 minus the smallest cosine."""
    if task != "embedding":
        return max(float(np.abs(one - two).max()) for one, two in zip(found, right, strict=True))
    one, two = found[0].astype(np.float64), right[0].astype(np.float64)
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(two, axis=1)
    return float((1 - (one * two).sum(1) / lengths).max())


def run(folder: Path, target: Path, asked: dict[str, Any]) -> dict[str, Any]:
    """Export a network, and return what the module says; ValueError for one that has no way."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    if not tokenizer.is_fast:
        raise ValueError("its tokenizer has no tokenizer.json, and transformers makes none of it")
    network = Exported(folder, asked)
    if not tokenizer("")["input_ids"]:
        raise ValueError("its tokenizer makes nothing of an empty text")
    with torch.inference_mode():
        example = encode(tokenizer, asked, asked["samples"][:3])
        export(network, example, target, int8=asked["int8"])
        inputs = encode(tokenizer, asked, asked["samples"])
        right = [one.numpy() for one in network(**inputs)]
        sent = asked["request"]["data"]
        texts = {} if isinstance(sent[0], dict) else encode(tokenizer, asked, sent)
        predictions = ask(network, tokenizer, texts, asked["request"])
    is_own = write_tokenizer(tokenizer, asked, folder, target)
    settings = {name: asked[name] for name in ("longest", "labels")}
    if asked["prompt"]:
        settings["prompt"] = asked["prompt"]
    settings["padding"] = tokenizer.pad_token_id or 0
    (target / "settings.json").write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
    session = open_session(target / GRAPH)
    names = {one.name for one in session.get_inputs()}  # not those that the network ignores
    found = session.run(None, {name: one.numpy() for name, one in inputs.items() if name in names})
    loss = measure(asked["task"], found, right)
    if not asked["int8"] and not loss < TOLERANCE:
        raise ValueError(f"the exported network's answers are off by {loss:.2g}")
    libraries = {name: version(name) for name in ("onnxruntime", "tokenizers")}
    weights = map_weights(target, folder) if is_own and not asked["int8"] else None
    return {"predictions": predictions, "loss": loss, "libraries": libraries, "weights": weights}


def main(folder: Path, target: Path) -> int:
    """Export a network; return 0, also if it cannot be."""
    asked = json.load(sys.stdin)
    output, sys.stdout = sys.stdout, sys.stderr  # the exporter's
    try:
        result = run(folder, target, asked)
    except ValueError as error:
        result = {"reason": " ".join(str(error).split())}
    except Exception as error:  # noqa: BLE001 - transformers' and the exporter's have no common base class
        result = {"reason": f"{type(error).__name__}: {' '.join(str(error).split())[:600]}"}
    print(json.dumps(result), file=output, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
