"""Which pieces of a split library's file a start reads: all but packed code and the tables for unwinding."""

import struct

from layer.builder.slim.elf import parse_segments, to_file_offset
from layer.builder.slim.split import restore

_PT_GNU_EH_FRAME = 0x6474E550
_HEADER = struct.Struct("<BBBBi")
"""Version, encodings of three values, and the first: where the tables begin, from the field's own place."""
_FIELD = 4
_VERSION, _RELATIVE = 1, 0x1B
"""DW_EH_PE_pcrel | DW_EH_PE_sdata4, which linkers write (Linux Standard Base, "Exception Frames")."""


def list_pieces(data: bytes) -> list[tuple[int, int]]:
    """Return the first byte and the length of each piece of a split library; ElfError if it is another file.

    The tables are read when an exception is thrown. They are a quarter of what is left of torch's library.
    """
    blocks = restore.read_index(data).blocks
    end = blocks[0][0] if blocks else len(data)
    first, last = _find_tables(data)
    pieces = [(0, first), (last, end - last)] if 0 <= first < last <= end else [(0, end)]
    return [(place, length) for place, length in pieces if length]


def _find_tables(data: bytes) -> tuple[int, int]:
    """Return where the tables begin and end in the file; (0, 0) if that is not known."""
    segments = list(parse_segments(data))
    header = next((one for one in segments if one.kind == _PT_GNU_EH_FRAME), None)
    if header is None or header.file_size < _HEADER.size:
        return 0, 0
    version, encoding, _, _, distance = _HEADER.unpack_from(data, header.offset)
    if version != _VERSION or encoding != _RELATIVE or distance >= 0:
        return 0, 0
    try:
        return to_file_offset(segments, header.address + _FIELD + distance), header.offset + header.file_size
    except ValueError:  # it is in no segment
        return 0, 0
