"""Mutations that keep a format: bytes at random would not come past a checksum or a bracket."""

import copy
import gzip
import io
import json
import random
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

from soak.fuzz.documents import ODD_VALUES, list_places

Mutate = Callable[[bytes], bytes]

_DAMAGED = (
    ArithmeticError, EOFError, LookupError, OSError, RuntimeError, ValueError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def mutate(data: bytes, chance: random.Random, change: Mutate) -> bytes:
    """Return an input that differs in a part: in what is compressed, in a place of a document, in a line.

    Args:
        data: the input.
        chance: what chooses the part.
        change: changes bytes that are not understood, or are not to be.

    """
    if chance.random() < 0.3:
        return change(data)
    try:
        if data[:2] == b"\x1f\x8b":
            plain = zlib.decompressobj(wbits=31).decompress(data, 1 << 20)
            return gzip.compress(mutate(plain, chance, change), mtime=0)
        if data[:2] == b"PK":
            return _mutate_zip(data, chance, change)
        if b"\n" in data.strip():
            lines = data.split(b"\n")
            place = chance.randrange(len(lines))
            lines[place] = mutate(lines[place], chance, change)
            return b"\n".join(lines)
        return json.dumps(_mutate_document(json.loads(data), chance, change)).encode()
    except _DAMAGED:
        return change(data)


def _mutate_zip(data: bytes, chance: random.Random, change: Mutate) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(file, "w") as new:
        names = old.namelist()
        new.comment = old.comment
        chosen = chance.randrange(len(names))
        for number, name in enumerate(names):
            content = old.read(name)
            new.writestr(name, mutate(content, chance, change) if number == chosen else content)
    return file.getvalue()


def _mutate_document(document: Any, chance: random.Random, change: Mutate) -> Any:
    whole = [document]
    for _ in range(chance.randint(1, 3)):
        holder, key = chance.choice(list_places(whole))
        value = holder[key]
        match chance.choice(["inside", "inside", "odd", "copy", "add", "remove"]):
            case "inside" if isinstance(value, str):
                changed = mutate(value.encode("utf-8", "surrogatepass"), chance, change)
                holder[key] = changed.decode("utf-8", "replace")
            case "copy":
                other, place = chance.choice(list_places(whole))
                holder[key] = copy.deepcopy(other[place])
            case "add" if isinstance(value, list):
                value.insert(chance.randint(0, len(value)), copy.deepcopy(chance.choice(ODD_VALUES)))
            case "add" if isinstance(value, dict):
                names = [one for _, one in list_places(whole) if isinstance(one, str)]
                value[chance.choice([*names, "", "a"])] = copy.deepcopy(chance.choice(ODD_VALUES))
            case "remove" if holder is not whole:
                del holder[key]
            case _:
                holder[key] = copy.deepcopy(chance.choice(ODD_VALUES))
    return whole[0]
