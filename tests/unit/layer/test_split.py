"""Split libraries: hot code lies in the file, cold code is packed, and nothing is lost."""

import struct

import pytest
from support.libraries import make_library

from layer.builder.errors import ElfError
from layer.builder.recipe import parse as parse_recipe
from layer.builder.slim.elf import parse_segments, read_needs
from layer.builder.slim.split import record
from layer.builder.slim.split.layout import PAGE, leads_beside, parse
from layer.builder.slim.split.pages import cut, format_runs, group, invert, parse_runs
from layer.builder.slim.split.restore import check_whole, read_index, whole
from layer.builder.slim.split.write import HOOKS, list_edits, split
from layer.builder.target import get_target


@pytest.mark.parametrize("alignment", [PAGE, 0x10000], ids=hex)
@pytest.mark.parametrize("hot", [[], [(0, 5)], [(1, 1), (9, 3)], "all"], ids=str)
@pytest.mark.parametrize("block", [1, 4, 64])
def test_whole(alignment, hot, block):
    """Whatever is hot, and however large the blocks are, every segment has its bytes."""
    original = parse(make_library(alignment))
    runs = [(0, original.pages)] if hot == "all" else hot
    data = split(original, runs, block=block)

    check_whole(original, data)
    assert whole(data) == original.read(0, original.pages)
    assert original.pages >= 15


def test_code_behind_other_things():
    """What lies before the code in its segment stays as it is, and is loaded where it was."""
    original = parse(make_library(init=5000))
    assert original.low == original.code.address + 2 * PAGE
    data = split(original, [(1, 2)], block=4)

    check_whole(original, data)
    assert whole(data) == original.read(0, original.pages)
    [before] = [one for one in parse_segments(data) if (one.kind, one.address) == (1, original.code.address)]
    place = original.code.offset
    assert before.file_size == before.memory_size == 2 * PAGE
    assert data[before.offset :][: 2 * PAGE] == original.data[place : place + 2 * PAGE]


def test_damage():
    """A byte of hot code that differs is found."""
    original = parse(make_library())
    data = split(original, [(3, 2)])
    place = data.index(original.read(3, 2))
    damaged = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]

    with pytest.raises(ElfError, match="has other bytes"):
        check_whole(original, damaged)


def test_handler(tmp_path):
    """A split library is linked to the handler, which takes its calls about signals, and stays loaded."""
    path = tmp_path / "libx.so"
    path.write_bytes(split(parse(make_library()), []))
    data = path.read_bytes()

    assert read_needs(path).libraries == ("libhotcold.so",)
    assert data.count(b"hotcold_sigaction\0") == 1
    assert struct.pack("<qQ", 0x6FFFFFFB, 8) in data
    assert struct.pack("<4H", 0, 1, 1, 0) in data, "its symbol has no version"


@pytest.mark.parametrize("flags", [[], [(0x6FFFFFFB, 1)]], ids=["no flags", "flags"])
def test_a_full_dynamic_section(flags):
    """Where nothing is spare, the size of a symbol and a hint make room; a library with flags needs one."""
    more = [(0x6FFFFFF9, 1), (11, 24), *flags]
    data = split(parse(make_library(spare=1, more=more)), [])

    dynamic = next(one for one in parse_segments(data) if one.kind == 2)
    entries = struct.iter_unpack("<qQ", data[dynamic.offset :][: dynamic.file_size])
    tags = [number for number, _ in entries]
    assert (tags.count(1), tags.count(0x6FFFFFFB), tags.count(11)) == (1, 1, 0)
    assert tags.count(0x6FFFFFF9) == len(flags)
    check_whole(parse(make_library(spare=1, more=more)), data)


def test_what_is_no_split_library():
    """An ordinary library, one that lost its end, and other bytes are refused by what they are."""
    whole_one = split(parse(make_library()), [(0, 5)])
    assert read_index(whole_one).pages == parse(make_library()).pages
    with pytest.raises(ElfError, match=r"^it is not a split library$"):
        read_index(make_library())
    with pytest.raises(ElfError, match=r"it has [\d,]+ bytes and pages of 4096; [\d,]+ and 4096 are due"):
        read_index(whole_one + b"x")


@pytest.mark.parametrize("place", ["program headers", "index"])
def test_a_place_beyond_all_files(place):
    """The damage is named, although no file could be so long."""
    data = bytearray(split(parse(make_library()), [(0, 5)]))
    [table] = struct.unpack_from("<Q", data, 32)
    count, field = struct.unpack_from("<H", data, 56)[0], 32
    if place == "index":
        kinds = [struct.unpack_from("<I", data, table + number * 56)[0] for number in range(count)]
        field = table + kinds.index(0x6C634C44) * 56 + 8
    struct.pack_into("<Q", data, field, (1 << 63) + 64)
    with pytest.raises(ElfError, match="not a split library"):
        read_index(bytes(data))


def test_calls_of_the_handler():
    """The entry of a function that the handler takes has the handler's name for it; others stay."""
    library, names = parse(make_library()), 1 << 20
    tags = dict(library.tags)
    edits = dict(list_edits(library, names))
    symbols = {place: content for place, content in edits.items() if tags[6] <= place < tags[5]}
    [(entry, name), (version, is_global)] = sorted(symbols.items())
    assert entry == tags[6] + 24, "the second symbol is sigaction"
    before = b"libhotcold.so\0" + b"".join(b"hotcold_" + one + b"\0" for one in HOOKS)
    place = names + before.index(b"hotcold_sigaction\0")
    assert struct.unpack("<I", name) == (place - tags[5],)
    assert (version, is_global) == (tags[0x6FFFFFF0] + 2, b"\1\0")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"spare": 2}, "no room for the handler's name"),
        ({"relocation": 37}, "chooses functions while it is loaded"),
        ({"more": [(22, 0)]}, "its code is changed while it is loaded"),
        ({"more": [(30, 2 | 4)]}, "its code is changed while it is loaded"),
        ({"alignment": 0x40000}, "no whole page of it is code alone"),
        ({"program": True}, "it is a program"),
    ],
)
def test_refusals(options, reason):
    """A library that cannot be split says why."""
    with pytest.raises(ElfError, match=reason):
        parse(make_library(**options))


@pytest.mark.parametrize(
    ("run_path", "beside"),
    [(b"$ORIGIN", True), (b"/x:$ORIGIN", True), (b"/x", False), (b"$ORIGIN/../x", False)],
)
def test_run_path(run_path, beside):
    """The loader looks in a library's own folder where its run path names that."""
    assert leads_beside(parse(make_library(run_path=run_path))) is beside


def test_a_library_without_init():
    """A segment of nothing but code can be split from its first page on."""
    with_init, without = parse(make_library()), parse(make_library(init=None))
    assert (without.low, without.pages) == (with_init.low, with_init.pages)


def test_runs():
    """Small gaps between hot pages stay hot, and blocks take cold pages in their order."""
    runs = group([1, 2, 9, 30], gap=6)

    assert runs == [(1, 9 - 1 + 1), (30, 1)]
    assert invert(runs, 40) == [(0, 1), (10, 20), (31, 9)]
    assert invert([(0, 2), (2, 1)], 5) == [(3, 2)], "no run is empty"
    assert invert([], 0) == []
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
