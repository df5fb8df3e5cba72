"""Turn training checkpoints into the one file that is shipped."""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path
from typing import Any

import torch

Checkpoint = dict[str, Any]
Tensors = dict[str, torch.Tensor]

PARTS = ("model", "generator")
POSITIONS = ".pe.pe"
SAME_TRAINING = "average checkpoints of one training"

# What says how and where the training ran, not what the model is: emptied, so that the file names no machine.
# CTranslate2's converter refuses `scaled-dot-flash`; the weights are the same for both.
NEUTRAL: dict[str, Any] = {
    "config": "",
    "save_config": None,
    "data": {},
    "transforms": [],
    "_all_transform": set(),
    "save_data": "",
    "save_model": "",
    "src_vocab": "",
    "tgt_vocab": "",
    "src_subword_model": None,
    "tgt_subword_model": None,
    "src_subword_nbest": 1,
    "src_subword_alpha": 0,
    "train_from": "",
    "log_file": "",
    "tensorboard_log_dir": "",
    "self_attn_type": "scaled-dot",
}


def release(checkpoints: list[Path], out: Path) -> int:
    """Write the average of checkpoints as one small file that OpenNMT-py's own commands load.

    Weights are averaged in float32 and stored in float16. The positional encodings stay in float32, because
    OpenNMT-py refuses a file without them and float16 would change every score; encoder and decoder share
    them, as the embeddings and the generator share theirs. The optimiser's state stays behind. The same
    checkpoints give the same bytes.

    Args:
        checkpoints: files written by one training, all of the same architecture and vocabulary.
        out: where the result goes; it appears whole or not at all.

    Returns:
        The size of the written file in bytes.

    Raises:
        ValueError: no checkpoint is given, or they do not belong together.

    """
    loaded = [load(path) for path in checkpoints]
    check_alike(loaded, checkpoints)
    buffer = io.BytesIO()  # a path would put the file's name into its bytes
    torch.save(assemble(loaded), buffer)
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(out.name + ".part")
    part.write_bytes(buffer.getvalue())
    part.replace(out)
    return out.stat().st_size


def load(path: Path) -> Checkpoint:
    """Read a checkpoint to the CPU, tensors and options only."""
    # Options are the one class beside tensors in a checkpoint.
    with torch.serialization.safe_globals([argparse.Namespace]):
        checkpoint: Checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    return checkpoint


def check_alike(loaded: list[Checkpoint], paths: list[Path]) -> None:
    """Raise ValueError unless all hold the same vocabulary, and tensors of the same names and shapes."""
    if not loaded:
        raise ValueError("no checkpoint given: name at least one .pt file that the training wrote")
    first = loaded[0]
    for checkpoint, path in zip(loaded[1:], paths[1:], strict=True):
        if checkpoint["vocab"] != first["vocab"]:
            raise ValueError(f"{path} has another vocabulary than {paths[0]}: {SAME_TRAINING}")
        if shapes(checkpoint) != shapes(first):
            raise ValueError(f"{path} has other tensors than {paths[0]}: {SAME_TRAINING}")


def shapes(checkpoint: Checkpoint) -> dict[tuple[str, str], torch.Size]:
    """Return the shape of each tensor by its part and name."""
    return {(part, name): tensor.shape for part in PARTS for name, tensor in checkpoint[part].items()}


def assemble(loaded: list[Checkpoint]) -> Checkpoint:
    """Build the released checkpoint from loaded ones, each shared tensor once."""
    first = loaded[0]
    done: dict[tuple[int, torch.Size], torch.Tensor] = {}
    positions: list[torch.Tensor] = []
    parts: dict[str, Tensors] = {part: {} for part in PARTS}
    for part in PARTS:
        for name, tensor in first[part].items():
            if name.endswith(POSITIONS):  # computed, not trained, and by encoder and decoder apart
                parts[part][name] = share(tensor, positions)
                continue
            key = (tensor.data_ptr(), tensor.shape)
            if key not in done:
                done[key] = average([checkpoint[part][name] for checkpoint in loaded])
            parts[part][name] = done[key]
    return {**parts, "vocab": shared_vocab(canonical(first["vocab"])), "opt": neutral(first["opt"])}


def share(tensor: torch.Tensor, known: list[torch.Tensor]) -> torch.Tensor:
    """Return the known tensor that equals this one, or a copy of it that is known from then on."""
    for other in known:
        if torch.equal(tensor, other):
            return other
    known.append(tensor.clone())
    return known[-1]


def average(tensors: list[torch.Tensor]) -> torch.Tensor:
    """Return the mean of tensors, taken in float32, in half precision."""
    return torch.stack([tensor.float() for tensor in tensors]).mean(dim=0).half()


def shared_vocab(vocab: dict[str, Any]) -> dict[str, Any]:
    """Make equal source and target vocabularies one list, which is then written once."""
    return {**vocab, "tgt": vocab["src"]} if vocab["src"] == vocab["tgt"] else dict(vocab)


def neutral(options: argparse.Namespace) -> argparse.Namespace:
    """Return a copy of the options without paths and what only the training needed."""
    known = vars(options)
    kept = {name: NEUTRAL.get(name, value) for name, value in known.items()}
    return argparse.Namespace(**canonical(kept))


def canonical(value: Any) -> Any:
    """Copy plain data so that equal strings are one object.

    Pickle writes a string once for each object it meets; without this the bytes would depend on which equal
    strings the interpreter happens to share.
    """
    if isinstance(value, str):
        return sys.intern(value)
    if isinstance(value, dict):
        return {canonical(key): canonical(item) for key, item in value.items()}
    if isinstance(value, list):
        return [canonical(item) for item in value]
    return value
