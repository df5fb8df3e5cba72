"""Read a split library as a loader and the handler see it, and compare it with the original."""

from typing import NamedTuple

from layer.builder.errors import ElfError
from layer.builder.slim.elf import DAMAGES, Segment, parse_segments
from layer.builder.slim.split import layout
from layer.builder.slim.split.layout import PAGE, Library
from layer.builder.slim.split.pages import Run
from layer.builder.slim.split.write import list_edits

_HEADER = range(32, 64)
"""The bytes of an ELF header that hold places and numbers of tables."""


def check_whole(library: Library, data: bytes) -> None:
    """Compare a library's segments with those of its split form; a difference is an ElfError."""
    loads = {one.address: one for one in parse_segments(data) if one.kind == layout.PT_LOAD}
    index = next(one for one in parse_segments(data) if one.kind == layout.PT_HOTCOLD)
    expected = bytearray(library.data)
    for place, content in list_edits(library, index.address + index.file_size):
        expected[place : place + len(content)] = content
    code = whole(data)
    for one in (one for one in library.segments if one.kind == layout.PT_LOAD):
        content = _read(data, loads, one.address, library)
        if one is library.code:
            content += code + _read(data, loads, library.high, library)
        original = expected[one.offset : one.offset + one.file_size]
        if not one.offset:
            content = (
                content[: _HEADER.start] + original[_HEADER.start : _HEADER.stop] + content[_HEADER.stop :]
            )
        if content != original:
            raise ElfError(f"split, its segment at address {one.address:#x} has other bytes")


def _read(data: bytes, loads: dict[int, Segment], address: int, library: Library) -> bytes:
    one = loads.get(address)
    if one is None or (address - one.offset) % max(one.alignment, 1):
        raise ElfError(f"split, it has no segment at address {address:#x}, or one that is not aligned")
    if one.address == library.low:  # nothing lies before its first page of code
        return b""
    return data[one.offset : one.offset + one.file_size]


def whole(data: bytes) -> bytes:
    """Return all code of a split library, hot and cold, in its order in memory."""
    import zstandard

    index = read_index(data)
    code = bytearray(index.pages * PAGE)
    unpack = zstandard.ZstdDecompressor().decompress
    for first, count, offset in index.hot:
        code[first * PAGE : (first + count) * PAGE] = data[offset : offset + count * PAGE]
    for offset, packed, runs in index.blocks:
        raw, place = unpack(data[offset : offset + packed]), 0
        for first, pages in runs:
            code[first * PAGE : (first + pages) * PAGE] = raw[place : place + pages * PAGE]
            place += pages * PAGE
    return bytes(code)


class Index(NamedTuple):
    """A split library's code: ``hot`` as (first page, pages, offset), ``blocks`` as (offset, size, runs)."""

    pages: int
    hot: list[tuple[int, int, int]]
    blocks: list[tuple[int, int, list[Run]]]


def read_index(data: bytes) -> Index:
    """Return where the code of a split library is; ElfError if it is not one, is damaged, or not whole."""
    try:
        return _parse_index(data)
    except DAMAGES as error:
        raise ElfError(f"it is not a split library: {error}") from None


def _parse_index(data: bytes) -> Index:
    start = next((one.offset for one in parse_segments(data) if one.kind == layout.PT_HOTCOLD), None)
    if start is None:
        raise ElfError("it is not a split library")
    _, low, high, page, _, blocks, _, hots, _, size = layout.HEADER.unpack_from(data, start)
    if page != PAGE or size != len(data):
        raise ElfError(f"split, it has {len(data):,} bytes and pages of {page}; {size:,} and {PAGE} are due")
    place = start + layout.HEADER.size
    hot = [layout.HOT.unpack_from(data, place + number * layout.HOT.size) for number in range(hots)]
    place += hots * layout.HOT.size
    table, found = place + blocks * layout.BLOCK.size, []
    for number in range(blocks):
        offset, packed, _, first, count = layout.BLOCK.unpack_from(data, place + number * layout.BLOCK.size)
        runs = [
            layout.RUN.unpack_from(data, table + run * layout.RUN.size) for run in range(first, first + count)
        ]
        found.append((offset, packed, [(page, pages) for page, pages, _, _ in runs]))
    return Index((high - low) // PAGE, hot, found)
