"""The format of a split library, as the handler reads it (hotcold.h).

::

    the original's segments, but for the pages of code
    a segment with the program headers, the index, and names for the dynamic loader
    hot pages, as they are
    blocks of cold pages, each packed alone

One PT_LOAD without rights and without bytes of the file covers all pages of code; the handler maps hot pages
there, and fills in blocks. ``PT_HOTCOLD`` says where the index is::

    HEADER, HOT for each run of hot pages, BLOCK for each block, RUN for each run of cold pages
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from layer.builder.errors import ElfError
from layer.builder.slim.elf import DAMAGES, Segment, parse_segments, to_file_offset

PAGE = 4096
MAGIC = b"HOTCOLD1"
PT_LOAD, PT_DYNAMIC, PT_PHDR, PT_HOTCOLD = 1, 2, 6, 0x6C634C44
ZSTD = 1
HEADER = struct.Struct("<8sQQIIIIIIQ")
"""Magic, low and high address of the code, page, codec, blocks, runs, hot runs, largest block, file size."""
HOT = struct.Struct("<IIQ")
"""First page from the low address, pages, offset in the file."""
BLOCK = struct.Struct("<QIIII")
"""Offset in the file, bytes there, bytes unpacked, first run, runs."""
RUN = struct.Struct("<IIII")
"""First page from the low address, pages, block, first page in the block."""

DT_FLAGS_1 = 0x6FFFFFFB
_DT_STRTAB, _DT_RPATH, _DT_RUNPATH = 5, 15, 29
_DT_INIT, _DT_FINI, _DT_DEBUG, _DT_RELACOUNT = 12, 13, 21, 0x6FFFFFF9
_DT_RELA, _DT_RELASZ, _DT_JMPREL, _DT_PLTRELSZ = 7, 8, 23, 2
_DT_SYMENT, _DT_TEXTREL, _DT_FLAGS = 11, 22, 30
_TEXTREL = 4
_RELOCATION = struct.Struct("<QQq")
_IRELATIVE = {37, 1032}
"""The type of a relocation by a resolver, on x86_64 and arm64."""

_EXECUTABLE = 1


@dataclass(frozen=True)
class Library:
    """A shared library whose code between ``low`` and ``high``, addresses of whole pages, can be split.

    ``code`` is the segment that holds it; ``tags`` is the dynamic section, in its order.
    """

    data: bytes
    segments: tuple[Segment, ...]
    code: Segment
    dynamic: Segment
    tags: tuple[tuple[int, int], ...]
    low: int
    high: int

    @property
    def first(self) -> int:
        """The number of the first page that can be split: its address by the size of a page."""
        return self.low // PAGE

    @property
    def pages(self) -> int:
        """The number of pages that can be split."""
        return (self.high - self.low) // PAGE

    def read(self, page: int, count: int) -> bytes:
        """Return the bytes of pages, counted from the first that can be split."""
        start = self.low + page * PAGE - self.code.address + self.code.offset
        return self.data[start : start + count * PAGE]


def parse(data: bytes) -> Library:
    """Return a library that can be split; why another cannot is an ElfError."""
    try:
        segments = tuple(parse_segments(data))
        dynamic = next((one for one in segments if one.kind == PT_DYNAMIC), None)
        if dynamic is None:
            raise ElfError("it is linked to nothing, as a program is")
        entries = range(dynamic.offset, dynamic.offset + dynamic.file_size, 16)
        tags = tuple(struct.unpack_from("<qQ", data, place) for place in entries)
        ranges = list(_list_code(segments, dict(tags)))
    except DAMAGES as error:
        raise ElfError(f"the library is damaged: {error!r}") from None
    if _DT_DEBUG in dict(tags):  # linkers write it into programs, and into nothing else
        raise ElfError("it is a program")
    low, high, code = max(ranges, key=lambda one: one[1] - one[0], default=(0, 0, dynamic))
    if low >= high:
        raise ElfError("no whole page of it is code alone")
    library = Library(data, segments, code, dynamic, tags, low, high)
    if len(list_spare_tags(library)) < 1 + (DT_FLAGS_1 not in dict(tags)):
        raise ElfError("its dynamic section has no room for the handler's name")
    _refuse_relocations(library)
    return library


def _list_code(segments: tuple[Segment, ...], tags: dict[int, int]) -> Iterator[tuple[int, int, Segment]]:
    """Yield ranges of whole pages of nothing but code: a kernel that reads a cold page fails."""
    start, end = tags.get(_DT_INIT, 0), tags.get(_DT_FINI, 0)
    used = {one.address for one in segments if one.kind != PT_LOAD and one.file_size}
    used |= {value for tag, value in tags.items() if tag not in {_DT_INIT, _DT_FINI}}
    for one in segments:
        if one.kind != PT_LOAD or not one.flags & _EXECUTABLE:
            continue
        stop = one.address + one.file_size
        alone = one.offset and not any(one.address <= address < stop for address in used)
        for first, last in [(start, end), *([(one.address, stop)] if alone else [])]:
            if one.address <= first < last <= stop:
                alignment = max(PAGE, one.alignment)
                yield -(-first // alignment) * alignment, last // alignment * alignment, one


def _refuse_relocations(library: Library) -> None:
    """Refuse a library whose code is written to or called while it is loaded: no handler is there yet."""
    tags = dict(library.tags)
    if _DT_TEXTREL in tags or tags.get(_DT_FLAGS, 0) & _TEXTREL:
        raise ElfError("its code is changed while it is loaded (TEXTREL)")
    for table, size in ((_DT_RELA, _DT_RELASZ), (_DT_JMPREL, _DT_PLTRELSZ)):
        if table in tags:
            start = to_file_offset(library.segments, tags[table])
            content = library.data[start : start + tags[size]]
            if any(kind & 0xFFFFFFFF in _IRELATIVE for _, kind, _ in _RELOCATION.iter_unpack(content)):
                raise ElfError("it chooses functions while it is loaded (IRELATIVE)")


def leads_beside(library: Library) -> bool:
    """Return whether the loader looks in the library's own folder for what it is linked to ($ORIGIN)."""
    tags = dict(library.tags)
    place = tags.get(_DT_RUNPATH, tags.get(_DT_RPATH))
    if place is None:
        return False
    start = to_file_offset(library.segments, tags[_DT_STRTAB] + place)
    return b"$ORIGIN" in library.data[start : library.data.index(b"\0", start)].split(b":")


def list_spare_tags(library: Library) -> list[int]:
    """Return the numbers of the entries of the dynamic section that can be others."""
    numbers = [tag for tag, _ in library.tags]
    # No loader reads the size of a symbol; without the second one, a hint, relocating is a little slower.
    unneeded = [numbers.index(tag) for tag in (_DT_SYMENT, _DT_RELACOUNT) if tag in numbers]
    return [*range(numbers.index(0), len(numbers) - 1), *unneeded]
