"""What CTranslate2's files say that its library does not tell."""

import struct
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

UNLIMITED = 1_000_000
"""Positions of a model whose attention is relative, or whose encodings are computed as they are needed."""


VOCABULARY = "_vocabulary."
"""Part of the names of a model's vocabularies."""


class Facts(NamedTuple):
    """What a search has to know of a model.

    Attributes:
        positions: tokens of the longest source, and of the longest hypothesis.
        tokens: size of the target's vocabulary.
        unknown: the token that stands for what the vocabulary lacks.
        end: the token that ends a sentence.

    """

    positions: int
    tokens: int
    unknown: str
    end: str


def read_facts(files: Mapping[str, memoryview]) -> Facts:
    """Return the facts of a converted model in memory."""
    config: dict[str, Any] = msgspec.json.decode(files["config.json"]) if "config.json" in files else {}
    shapes = dict(read_shapes(files["model.bin"]))
    rows = [shape[0] for name, shape in shapes.items() if name.endswith("position_encodings/encodings")]
    added = sum(bool(config.get(name)) for name in ("add_source_bos", "add_source_eos"))
    return Facts(
        positions=min(rows, default=UNLIMITED) - added,
        tokens=max(shape[0] for name, shape in shapes.items() if "embeddings" in name and shape),
        unknown=config.get("unk_token", "<unk>"),
        end=config.get("eos_token", "</s>"),
    )


def is_own(name: str) -> bool:
    """Return whether a file is CTranslate2's own, not the tokenizer's."""
    return name in {"model.bin", "config.json"} or VOCABULARY in name


def read_vocabularies(files: Mapping[str, memoryview]) -> tuple[list[str], list[str]]:
    """Return the tokens of the source and the target, special ones included."""
    by_side = {name.partition("_")[0]: name for name in files}
    names = [by_side.get(side) or by_side["shared"] for side in ("source", "target")]
    source, target = (
        msgspec.json.decode(files[name], type=list[str])
        if name.endswith(".json")
        else bytes(files[name]).decode().splitlines()
        for name in names
    )
    return source, target


def read_shapes(data: memoryview) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield name and shape of each variable of a ``model.bin``.

    https://github.com/OpenNMT/CTranslate2/blob/v4.8.5/python/ctranslate2/specs/model_spec.py, ``_serialize``.
    """
    _, length = struct.unpack_from("<IH", data)
    place = 6 + length
    _, count = struct.unpack_from("<II", data, place)
    place += 8
    for _ in range(count):
        (length,) = struct.unpack_from("<H", data, place)
        name = bytes(data[place + 2 : place + 1 + length]).decode()
        place += 2 + length
        rank = data[place]
        shape = struct.unpack_from(f"<{rank}I", data, place + 1)
        _, size = struct.unpack_from("<BI", data, place + 1 + 4 * rank)
        place += 6 + 4 * rank + size
        yield name, shape
