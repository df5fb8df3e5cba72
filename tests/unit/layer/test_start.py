"""The list of what a start reads: files that are opened, and pieces of split libraries."""

import struct

import pytest
from support.libraries import make_library

from layer.builder.pack import start as lists
from layer.builder.slim.split import start
from layer.builder.slim.split.layout import PAGE, parse
from layer.builder.slim.split.restore import read_index
from layer.builder.slim.split.write import split

EH_FRAME = 0x6474E550


def test_list(tmp_path):
    """Bytecode stands for its source; large, empty and missing files are left out; split ones come last."""
    for name, size in {
        "a.pyc": 5,
        "a.py": 6,
        "b.py": 7,
        "x/large.so": lists.WHOLE + 1,
        "x/small.so": lists.WHOLE,
        "x/empty.pyc": 0,
        "x/split.so": 9,
        "unopened.pyc": 3,
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(bytes(size))
    opened = ["x/split.so", "x/small.so", "b.py", "a.py", "x/large.so", "x/empty.py", "missing.py", "a.pyc"]
    lists.write(tmp_path, opened, {"x/split.so": [(0, 2), (5, 4)]})

    assert (tmp_path / lists.NAME).read_text().splitlines() == [
        f"0+{lists.WHOLE} x/small.so",
        "0+7 b.py",
        "0+5 a.pyc",
        "0+2,5+4 x/split.so",
    ]


def make_split(version=1, encoding=0x1B, distance=-104, place=100):
    """Return a split library whose header of unwinding tables is at a place of its first segment."""
    data = bytearray(split(parse(make_library()), [(0, 3)]))
    [table] = struct.unpack_from("<Q", data, 32)
    for number in range(struct.unpack_from("<H", data, 56)[0]):
        kind = struct.unpack_from("<I", data, table + number * 56)[0]
        if kind == 6:  # PT_PHDR, which nothing here needs
            entry = (EH_FRAME, 4, place, place, place, 50, 50, 4)
            struct.pack_into("<IIQQQQQQ", data, table + number * 56, *entry)
    struct.pack_into("<BBBBi", data, place, version, encoding, 3, 0x3B, distance)
    return bytes(data)


def test_pieces():
    """All but packed code is read, and not the tables, which begin where their header says."""
    data = make_split(distance=-(4 + 40))
    end = read_index(data).blocks[0][0]

    assert end < len(data)
    assert start.list_pieces(data) == [(0, 60), (150, end - 150)]
    assert start.list_pieces(make_split(distance=-104)) == [(150, end - 150)]


@pytest.mark.parametrize(
    "damage", [{"version": 2}, {"encoding": 0x3B}, {"distance": 8}, {"distance": -(1 << 20)}]
)
def test_tables_that_are_not_understood(damage):
    """They are read as well."""
    data = make_split(**damage)
    assert start.list_pieces(data) == [(0, read_index(data).blocks[0][0])]


def test_all_hot():
    """A library without packed code is read whole."""
    library = parse(make_library())
    data = split(library, [(0, library.pages)])
    assert start.list_pieces(data) == [(0, len(data))]
    assert library.pages * PAGE < len(data)
