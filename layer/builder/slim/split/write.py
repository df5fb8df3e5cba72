"""Write a split library."""

import struct
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from os import cpu_count
from threading import local

from layer.builder.errors import ElfError
from layer.builder.slim.elf import SEGMENT, Segment, to_file_offset
from layer.builder.slim.split import layout
from layer.builder.slim.split.layout import PAGE, Library
from layer.builder.slim.split.pages import Run, cut, invert

HANDLER = "libhotcold.so"
HOOKS = (b"sigaction", b"sigprocmask", b"pthread_sigmask")
"""Functions that a split library calls in the handler instead, which passes on what does not concern it."""

LEVEL = 9
BLOCK = 64
"""Pages in a block of cold code."""

_DT_NEEDED, _DT_STRTAB, _DT_SYMTAB, _DT_VERSYM = 1, 5, 6, 0x6FFFFFF0
_NODELETE = 8
"""Unloaded, a library would leave its range of addresses with the handler."""

_SYMBOL = struct.Struct("<IBBHQQ")
_GLOBAL = 1
_HEADER_OFFSETS, _HEADER_COUNT, _HEADER_SECTIONS = 32, 56, 60


@dataclass
class _Image:
    """The file as it grows; ``moves`` are (old start, old end, shift) of what came from the original."""

    data: bytearray = field(default_factory=bytearray)
    loads: list[Segment] = field(default_factory=list)
    moves: list[tuple[int, int, int]] = field(default_factory=list)

    def pad(self, alignment: int) -> int:
        self.data += bytes(-len(self.data) % alignment)
        return len(self.data)

    def add_segment(self, source: bytes, one: Segment) -> None:
        self.data += bytes((one.address - len(self.data)) % max(one.alignment, 1))
        end = one.offset + one.file_size
        self.moves.append((one.offset, end, len(self.data) - one.offset))
        self.loads.append(one._replace(offset=len(self.data)))
        self.data += source[one.offset : end]

    def translate(self, offset: int) -> int:
        for start, end, shift in self.moves:
            if start <= offset < end:
                return offset + shift
        raise ElfError(f"byte {offset} is in use, but not in a loaded segment")


def split(library: Library, hot: Sequence[Run], *, level: int = LEVEL, block: int = BLOCK) -> bytes:
    """Return a library with hot pages as they are and cold ones in blocks of so many pages, packed by zstd.

    Pages count from the library's first that can be split.
    """
    blocks = list(cut(invert(hot, library.pages), block))
    image = _Image()
    place_of_code = _add_original(image, library)
    # The program headers and the index lie behind all other segments, in memory too.
    others = [one for one in library.segments if one.kind not in {layout.PT_LOAD, layout.PT_PHDR}]
    count = len(image.loads) + len(others) + 4
    table = -(-count * SEGMENT.size // 64) * 64
    names = b"".join(name + b"\0" for name in (HANDLER.encode(), *(b"hotcold_" + hook for hook in HOOKS)))
    runs = sum(map(len, blocks))
    size = (
        layout.HEADER.size
        + layout.HOT.size * len(hot)
        + layout.BLOCK.size * len(blocks)
        + layout.RUN.size * runs
    )
    alignment = max(PAGE, library.code.alignment)
    ends = [one.address + one.memory_size for one in image.loads]
    address = -(-max(ends) // alignment) * alignment
    offset = image.pad(alignment)
    image.data += bytes(table + size + len(names))
    index = _add_pages(image, library, hot, blocks, level)
    image.data[offset + table : offset + table + size + len(names)] = index + names
    length = table + len(index + names)
    own = Segment(layout.PT_LOAD, 4, offset, address, address, length, length, alignment)
    hole = Segment(layout.PT_LOAD, 0, 0, library.low, library.low, 0, library.high - library.low, alignment)
    headers_size, place = count * SEGMENT.size, address + table
    headers = [
        own._replace(kind=layout.PT_PHDR, file_size=headers_size, memory_size=headers_size, alignment=8),
        *image.loads[:place_of_code], hole, *image.loads[place_of_code:], own,
        *(one._replace(offset=image.translate(one.offset) if one.file_size else 0) for one in others),
        Segment(layout.PT_HOTCOLD, 4, offset + table, place, place, len(index), len(index), 8),
    ]  # fmt: skip
    for number, one in enumerate(headers):
        SEGMENT.pack_into(image.data, offset + number * SEGMENT.size, *one)
    struct.pack_into("<QQ", image.data, _HEADER_OFFSETS, offset, 0)
    struct.pack_into("<H", image.data, _HEADER_COUNT, count)
    struct.pack_into("<HH", image.data, _HEADER_SECTIONS, 0, 0)
    for edited, content in list_edits(library, place + len(index)):
        start = image.translate(edited)
        image.data[start : start + len(content)] = content
    return bytes(image.data)


def list_edits(library: Library, names: int) -> Iterator[tuple[int, bytes]]:
    """Yield what of the original changes, as (offset, bytes): it is linked to the handler, and calls it.

    ``names`` is the address of the names; the string table has no room, and a loader looks at no bounds.
    """
    tags = dict(library.tags)
    strings = tags[_DT_STRTAB]
    entries = [(_DT_NEEDED, names - strings), (layout.DT_FLAGS_1, tags.get(layout.DT_FLAGS_1, 0) | _NODELETE)]
    spare = layout.list_spare_tags(library)
    if layout.DT_FLAGS_1 in tags:
        spare[1:] = [[tag for tag, _ in library.tags].index(layout.DT_FLAGS_1)]
    for number, entry in zip(spare, entries, strict=False):
        yield library.dynamic.offset + number * 16, struct.pack("<qQ", *entry)
    first = to_file_offset(library.segments, tags[_DT_SYMTAB])
    versions = to_file_offset(library.segments, tags[_DT_VERSYM]) if _DT_VERSYM in tags else None
    # Nothing says how many symbols there are; another table follows them.
    following = min(value for value in (strings, tags.get(_DT_VERSYM, strings)) if value > tags[_DT_SYMTAB])
    place = names + len(HANDLER) + 1
    wanted = {}
    for hook in HOOKS:
        wanted[hook] = place
        place += len(b"hotcold_" + hook) + 1
    text = to_file_offset(library.segments, strings)
    for number in range((following - tags[_DT_SYMTAB]) // _SYMBOL.size):
        name, _, _, section, _, _ = _SYMBOL.unpack_from(library.data, first + number * _SYMBOL.size)
        if section or not name:
            continue
        start = text + name
        symbol = library.data[start : start + max(map(len, HOOKS)) + 1].partition(b"\0")[0]
        if symbol in wanted:
            yield first + number * _SYMBOL.size, struct.pack("<I", wanted[symbol] - strings)
            if versions is not None:
                yield versions + number * 2, struct.pack("<H", _GLOBAL)


def _add_original(image: _Image, library: Library) -> int:
    """Add the segments but for the pages that are split, and return the place of these among them."""
    place = 0
    for one in library.segments:
        if one.kind != layout.PT_LOAD:
            continue
        if one is not library.code:
            image.add_segment(library.data, one)
            continue
        before = library.low - one.address
        image.add_segment(library.data, one._replace(file_size=before, memory_size=before))
        place = len(image.loads)
        after = library.high - one.address
        rest = one._replace(
            offset=one.offset + after, address=library.high, physical=library.high,
            file_size=one.file_size - after, memory_size=one.memory_size - after,
        )  # fmt: skip
        image.add_segment(library.data, rest)
    return place


def _add_pages(
    image: _Image, library: Library, hot: Sequence[Run], blocks: Sequence[Sequence[Run]], level: int
) -> bytes:
    """Add hot pages and packed blocks to the file, and return the index."""
    image.pad(PAGE)
    index, runs = bytearray(), bytearray()
    for first, count in hot:
        index += layout.HOT.pack(first, count, len(image.data))
        image.data += library.read(first, count)
    pack = _make_packer(level)
    number = 0
    contents = (b"".join(library.read(*run) for run in block) for block in blocks)
    with ThreadPoolExecutor(cpu_count() or 1) as pool:
        for block, (raw, packed) in enumerate(pool.map(pack, contents)):
            index += layout.BLOCK.pack(len(image.data), len(packed), raw, number, len(blocks[block]))
            image.data += packed
            place = 0
            for first, count in blocks[block]:
                runs += layout.RUN.pack(first, count, block, place)
                place += count
            number += len(blocks[block])
    largest = max((sum(count for _, count in block) for block in blocks), default=0)
    header = layout.HEADER.pack(
        layout.MAGIC, library.low, library.high, PAGE, layout.ZSTD, len(blocks), number, len(hot),
        largest * PAGE, len(image.data),
    )  # fmt: skip
    return header + bytes(index + runs)


def _make_packer(level: int) -> Callable[[bytes], tuple[int, bytes]]:
    import zstandard

    own = local()

    def pack(raw: bytes) -> tuple[int, bytes]:
        if not hasattr(own, "compressor"):  # it belongs to one thread
            own.compressor = zstandard.ZstdCompressor(level=level, write_checksum=True)
        return len(raw), own.compressor.compress(raw)

    return pack
