"""Split libraries: hot code lies in the file, cold code is packed, and nothing is lost."""

import random
import struct

import pytest

from layer.builder.errors import ElfError
from layer.builder.recipe import parse as parse_recipe
from layer.builder.slim.elf import read_needs
from layer.builder.slim.split import record
from layer.builder.slim.split.layout import PAGE, parse
from layer.builder.slim.split.pages import cut, format_runs, group, invert, parse_runs
from layer.builder.slim.split.restore import check_whole, whole
from layer.builder.slim.split.write import split
from layer.builder.target import get_target

CODE = random.Random(7).randbytes(PAGE * 37)  # noqa: S311 - the same at every run


def library(alignment: int = PAGE, *, spare: int = 3, relocation: int = 0) -> bytes:
    """Return a library with 37 pages and a bit of code, which calls ``sigaction``."""
    names = b"\0sigaction\0other\0"
    symbols = (
        bytes(24) + struct.pack("<IBBHQQ", 1, 18, 0, 0, 0, 0) + struct.pack("<IBBHQQ", 11, 18, 0, 0, 0, 0)
    )
    table = struct.pack("<QQq", 0, relocation, 0)
    start = 64 + 4 * 56
    places = {6: start, 0x6FFFFFF0: start + len(symbols), 7: start + len(symbols) + 8}
    places[5] = places[7] + len(table)
    head_size = places[5] + len(names)
    code = -(-head_size // alignment) * alignment
    content = b"init" + CODE + b"fini" * 9
    data = -(-(code + len(content)) // alignment) * alignment
    tags = [*places.items(), (8, len(table)), (12, code), (13, code + len(content) - 1), *[(0, 0)] * spare]
    dynamic = b"".join(struct.pack("<qQ", *tag) for tag in tags)
    head = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", 3, 62, 1, 0, 64, 0, 0, 64, 56, 4, 64, 0, 0)
    for kind, flags, place, size in (
        (1, 4, 0, head_size), (1, 5, code, len(content)),
        (1, 6, data, len(dynamic)), (2, 6, data, len(dynamic)),
    ):  # fmt: skip
        head += struct.pack("<IIQQQQQQ", kind, flags, place, place, place, size, size, alignment)
    file = head + symbols + struct.pack("<4H", 0, 2, 1, 0) + table + names
    return (file.ljust(code, b"\0") + content).ljust(data, b"\0") + dynamic


@pytest.mark.parametrize("alignment", [PAGE, 0x10000], ids=hex)
@pytest.mark.parametrize("hot", [[], [(0, 5)], [(1, 1), (9, 3)], "all"], ids=str)
@pytest.mark.parametrize("block", [1, 4, 64])
def test_whole(alignment, hot, block):
    """Whatever is hot, and however large the blocks are, every segment has its bytes."""
    original = parse(library(alignment))
    runs = [(0, original.pages)] if hot == "all" else hot
    data = split(original, runs, block=block)

    check_whole(original, data)
    assert whole(data) == original.read(0, original.pages)
    assert original.pages >= 15


def test_damage():
    """A byte of hot code that differs is found."""
    original = parse(library())
    data = split(original, [(3, 2)])
    place = data.index(original.read(3, 2))
    damaged = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]

    with pytest.raises(ElfError, match="has other bytes"):
        check_whole(original, damaged)


def test_handler(tmp_path):
    """A split library is linked to the handler, which takes its calls about signals, and stays loaded."""
    path = tmp_path / "libx.so"
    path.write_bytes(split(parse(library()), []))
    data = path.read_bytes()

    assert read_needs(path).libraries == ("libhotcold.so",)
    assert data.count(b"hotcold_sigaction\0") == 1
    assert struct.pack("<qQ", 0x6FFFFFFB, 8) in data
    assert struct.pack("<4H", 0, 1, 1, 0) in data, "its symbol has no version"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"spare": 2}, "no room for the handler's name"),
        ({"relocation": 37}, "chooses functions while it is loaded"),
        ({"alignment": 0x40000}, "no page of nothing but code"),
    ],
)
def test_refusals(options, reason):
    """A library that cannot be split says why."""
    with pytest.raises(ElfError, match=reason):
        split(parse(library(**options)), [])


def test_runs():
    """Small gaps between hot pages stay hot, and blocks take cold pages in their order."""
    runs = group([1, 2, 9, 30], gap=6)

    assert runs == [(1, 9 - 1 + 1), (30, 1)]
    assert invert(runs, 40) == [(0, 1), (10, 20), (31, 9)]
    assert list(cut([(0, 1), (10, 20)], 16)) == [[(0, 1), (10, 15)], [(25, 5)]]
    assert parse_runs(format_runs(runs)) == runs


def test_record(tmp_path):
    """A record holds for the libraries that it was made of; another build of one makes it void."""
    recipe, target = parse_recipe({"name": "x"}, tmp_path), get_target("python3.13-arm64")
    assert record.read(recipe, target, {"a.so": "12"}) is None
    record.write(recipe, target, {"a.so": "12"}, {"a.so": [(0, 3), (7, 1)]})

    assert record.read(recipe, target, {"a.so": "12"}) == {"a.so": [(0, 3), (7, 1)]}
    assert record.read(recipe, target, {"a.so": "13"}) is None
    record.path_of(recipe, target).write_text('{"a.so": []}')
    assert record.read(recipe, target, {"a.so": "12"}) is None
