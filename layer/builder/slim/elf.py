"""Shared libraries (ELF, 64 bit, little-endian): their requirements, and stripping them.

Only the parts that a dynamic loader uses are read: program headers and the tables they point to (System V
ABI, chapter 5; symbol versions: Linux Standard Base, "Symbol Versioning"). So libraries of every
architecture are handled on any machine, with the same bytes everywhere.
"""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from layer.builder.errors import ElfError

MACHINES = {62: "x86_64", 183: "aarch64"}

_MAGIC = b"\x7fELF"
_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
SEGMENT = struct.Struct("<IIQQQQQQ")
_LOAD, _DYNAMIC, _PROGRAM_HEADERS = 1, 2, 6
_DT_NULL, _DT_NEEDED, _DT_STRTAB = 0, 1, 5
_DT_VERNEED, _DT_VERNEEDNUM = 0x6FFFFFFE, 0x6FFFFFFF
_OFFSETS = struct.Struct("<QQ")  # e_phoff and e_shoff
_OFFSETS_AT = 32
_SECTION_COUNTS = struct.Struct("<HH")  # e_shnum and e_shstrndx
_SECTION_COUNTS_AT = 60
DAMAGES = (struct.error, LookupError, ValueError, OverflowError)
"""The errors of following a damaged file's own offsets."""


class Segment(NamedTuple):
    """A program header: where bytes of the file go in memory."""

    kind: int
    flags: int
    offset: int
    address: int
    physical: int
    file_size: int
    memory_size: int
    alignment: int


@dataclass(frozen=True)
class Needs:
    """The requirements of a shared library: Linux's name of the machine, and the libraries it is linked to.

    ``versions`` are the symbol versions it needs of each of them, such as ``GLIBC_2.28`` of ``libc.so.6``.
    """

    machine: str
    libraries: tuple[str, ...]
    versions: dict[str, tuple[str, ...]]


def is_elf(path: Path) -> bool:
    """Return whether a file is an executable or a shared library of Linux."""
    with path.open("rb") as file:
        return file.read(4) == _MAGIC


def read_needs(path: Path) -> Needs:
    """Read the requirements of a shared library; a damaged one, or one not for Lambda, is an ElfError."""
    try:
        return _parse_needs(path.read_bytes())
    except DAMAGES as error:
        raise ElfError(f"{path} is damaged: {error}") from None


def strip(data: bytes) -> bytes:
    """Return a library without symbol tables, debug information and section headers, which no loader reads.

    Segments move together in the file, and each program header gets its segment's new offset. Nothing
    moves in memory, and every segment keeps its page alignment. (binutils' strip breaks
    libraries that were rewritten before: numpy's OpenBLAS no longer loads.) A layout that does not allow it
    is an ElfError.
    """
    try:
        segments = list(parse_segments(data))
        moves = _plan_moves(data, segments)
    except DAMAGES as error:
        raise ElfError(f"the library is damaged: {error}") from None
    size = max(new + end - start for start, end, new in moves)
    if size >= len(data):
        return data
    stripped = bytearray(size)
    for start, end, new in moves:
        stripped[new : new + end - start] = data[start:end]
    table = _translate(moves, _parse_header(data)[5])
    for number, segment in enumerate(segments):
        offset = _translate(moves, segment.offset) if segment.file_size else 0
        SEGMENT.pack_into(stripped, table + number * SEGMENT.size, *segment._replace(offset=offset))
    _OFFSETS.pack_into(stripped, _OFFSETS_AT, table, 0)
    _SECTION_COUNTS.pack_into(stripped, _SECTION_COUNTS_AT, 0, 0)
    return bytes(stripped)


def check_loadable(before: bytes, after: bytes) -> None:
    """Compare a library before and after stripping, as a loader sees it: segments, their bytes and pages."""
    try:
        old, new = list(parse_segments(before)), list(parse_segments(after))
    except DAMAGES as error:
        raise ElfError(f"the library is damaged: {error}") from None
    if before[:_OFFSETS_AT] != after[:_OFFSETS_AT]:
        raise ElfError("its header has changed")
    if [one._replace(offset=0) for one in old] != [one._replace(offset=0) for one in new]:
        raise ElfError("its segments have changed")
    for one, other in zip(old, new, strict=True):
        if other.offset + other.file_size > len(after):
            raise ElfError(f"the segment at byte {other.offset} is cut off")
        if one.kind == _LOAD and one.alignment > 1 and (other.offset - other.address) % other.alignment:
            raise ElfError(f"the segment at byte {other.offset} is not aligned to its page")
        if one.kind == _PROGRAM_HEADERS or _get_content(before, one) == _get_content(after, other):
            continue
        # The first segment holds the headers, the only ones that may differ.
        if one.kind != _LOAD or not _differ_only_in_headers(before, one, after, other):
            raise ElfError(f"the segment at byte {other.offset} has other bytes")


def _plan_moves(data: bytes, segments: list[Segment]) -> list[tuple[int, int, int]]:
    """Return the ranges of the file to keep, as (start, end, new start), in their old order."""
    loads = sorted(
        (one for one in segments if one.kind == _LOAD and one.file_size), key=lambda one: one.offset
    )
    if not loads or loads[0].offset:
        raise ValueError("the first segment does not begin with the file")
    moves: list[tuple[int, int, int]] = []
    cursor = 0
    for load in loads:
        end = load.offset + load.file_size
        if end > len(data):
            raise ValueError(f"the file ends at byte {len(data)}, a segment at byte {end}")
        if moves and load.offset < moves[-1][1]:  # they share a page: they move as one
            start, shared, new = moves[-1]
            moves[-1] = (start, max(end, shared), new)
            if (new + load.offset - start - load.address) % max(load.alignment, 1):
                raise ValueError("overlapping segments are aligned differently")
        else:
            cursor += (load.address - cursor) % max(load.alignment, 1)
            moves.append((load.offset, end, cursor))
        cursor = moves[-1][2] + moves[-1][1] - moves[-1][0]
    for segment in segments:
        if segment.file_size:
            _translate(moves, segment.offset)
            _translate(moves, segment.offset + segment.file_size - 1)
    table, last = _parse_header(data)[5], _find_program_headers_end(data) - 1
    if moves[0][1] < _HEADER.size or _translate(moves, last) - _translate(moves, table) != last - table:
        raise ValueError("headers and first segment are apart")
    return moves


def _translate(moves: list[tuple[int, int, int]], offset: int) -> int:
    for start, end, new in moves:
        if start <= offset < end:
            return offset - start + new
    raise ValueError(f"byte {offset} is in use, but not in a loaded segment")


def _get_content(data: bytes, segment: Segment) -> bytes:
    return data[segment.offset : segment.offset + segment.file_size]


def _differ_only_in_headers(before: bytes, one: Segment, after: bytes, other: Segment) -> bool:
    left, right = bytearray(_get_content(before, one)), bytearray(_get_content(after, other))
    for data, segment, content in ((before, one, left), (after, other, right)):
        table, end = _parse_header(data)[5], _find_program_headers_end(data)
        for start, stop in ((0, _HEADER.size), (table, end)):
            low, high = max(start, segment.offset), min(stop, segment.offset + segment.file_size)
            if low < high:
                content[low - segment.offset : high - segment.offset] = bytes(high - low)
    return left == right


def _parse_needs(data: bytes) -> Needs:
    header = _parse_header(data)
    machine = MACHINES.get(header[2])
    if machine is None:
        raise ValueError(f"machine {header[2]}")
    segments = list(parse_segments(data))
    end = max((one.offset + one.file_size for one in segments if one.kind == _LOAD), default=0)
    if end > len(data):
        raise ValueError(f"the file ends at byte {len(data)}, a segment at byte {end}")
    dynamic = next((segment for segment in segments if segment.kind == _DYNAMIC), None)
    if dynamic is None:
        return Needs(machine, (), {})
    entries: list[tuple[int, int]] = []
    for offset in range(dynamic.offset, dynamic.offset + dynamic.file_size, 16):
        tag, value = struct.unpack_from("<qQ", data, offset)
        if tag == _DT_NULL:
            break
        entries.append((tag, value))
    table = dict(entries)

    def read_string(index: int) -> str:
        start = to_file_offset(segments, table[_DT_STRTAB] + index)  # a split library has names elsewhere
        return data[start : data.index(b"\0", start)].decode()

    libraries = tuple(read_string(value) for tag, value in entries if tag == _DT_NEEDED)
    versions: dict[str, tuple[str, ...]] = {}
    if _DT_VERNEED in table:
        start = to_file_offset(segments, table[_DT_VERNEED])
        for offset in _iterate_chain(data, start, table[_DT_VERNEEDNUM]):
            _, count, file_name, first = struct.unpack_from("<HHII", data, offset)
            places = _iterate_chain(data, offset + first, count)
            names = [read_string(struct.unpack_from("<I", data, place + 8)[0]) for place in places]
            library = read_string(file_name)
            versions[library] = (*versions.get(library, ()), *names)
    return Needs(machine, libraries, versions)


def _iterate_chain(data: bytes, offset: int, count: int) -> Iterator[int]:
    """Yield the offsets of a linked table's entries; byte 12 of each holds the distance to the next one."""
    for _ in range(count):
        yield offset
        (step,) = struct.unpack_from("<I", data, offset + 12)
        if not step:
            return
        offset += step


def _parse_header(data: bytes) -> tuple[int, ...]:
    identity, *fields = _HEADER.unpack_from(data)
    if identity[:4] != _MAGIC or identity[4] != 2 or identity[5] != 1:  # noqa: PLR2004 - 64 bit, little-endian
        raise ValueError("it is not 64 bit, or not little-endian")
    return (identity[4], *fields)


def _find_program_headers_end(data: bytes) -> int:
    header = _parse_header(data)
    return header[5] + header[9] * header[10]


def parse_segments(data: bytes) -> Iterator[Segment]:
    """Yield the program headers of a library; of a damaged one the error is one of DAMAGES."""
    header = _parse_header(data)
    offset, size, count = header[5], header[9], header[10]
    if count and size != SEGMENT.size:
        raise ValueError(f"program headers of {size} bytes")
    for number in range(count):
        yield Segment(*SEGMENT.unpack_from(data, offset + number * size))


def to_file_offset(segments: Iterable[Segment], address: int) -> int:
    """Return the offset in the file of an address of the loaded library."""
    for segment in segments:
        if segment.kind == _LOAD and segment.address <= address < segment.address + segment.file_size:
            return address - segment.address + segment.offset
    raise ValueError(f"address {address:#x} is outside of the file")
