"""A shared library of Linux, made byte by byte."""

import random
import struct
from collections.abc import Sequence

CODE = random.Random(7).randbytes(4096 * 37)  # noqa: S311 - the same at every run


def make_library(
    alignment: int = 4096,
    *,
    spare: int = 3,
    relocation: int = 0,
    run_path: bytes = b"$ORIGIN",
    init: int | None = 0,
    program: bool = False,
    code: bytes = CODE,
    more: Sequence[tuple[int, int]] = (),
) -> bytes:
    """Return a library with 37 pages and a bit of code, or other ``code``, which calls ``sigaction``.

    Its function ``init`` lies so many bytes behind other things in the segment of its code, if any do.
    With None it has neither this nor ``fini``. ``more`` are entries of its dynamic section.
    """
    names = b"\0sigaction\0other\0" + run_path + b"\0"
    symbols = (
        bytes(24) + struct.pack("<IBBHQQ", 1, 18, 0, 0, 0, 0) + struct.pack("<IBBHQQ", 11, 18, 0, 0, 0, 0)
    )
    table = struct.pack("<QQq", 0, relocation, 0)
    start = 64 + 4 * 56
    places = {6: start, 0x6FFFFFF0: start + len(symbols), 7: start + len(symbols) + 8}
    places[5] = places[7] + len(table)
    head_size = places[5] + len(names)
    place_of_code = -(-head_size // alignment) * alignment
    content = b"init" + code + b"fini" * 9
    data = -(-(place_of_code + len(content)) // alignment) * alignment
    tags = [
        *places.items(),
        (29, names.index(run_path)),
        (8, len(table)),
        *[(12, place_of_code + (init or 0))] * (init is not None),
        *[(3, place_of_code)] * bool(init),
        *[(21, 0)] * program,
        *[(13, place_of_code + len(content) - 1)] * (init is not None),
        *more,
        *[(0, 0)] * spare,
    ]
    dynamic = b"".join(struct.pack("<qQ", *tag) for tag in tags)
    head = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", 3, 62, 1, 0, 64, 0, 0, 64, 56, 4, 64, 0, 0)
    for kind, flags, place, size in (
        (1, 4, 0, head_size), (1, 5, place_of_code, len(content)),
        (1, 6, data, len(dynamic)), (2, 6, data, len(dynamic)),
    ):  # fmt: skip
        head += struct.pack("<IIQQQQQQ", kind, flags, place, place, place, size, size, alignment)
    file = head + symbols + struct.pack("<4H", 0, 2, 1, 0) + table + names
    return (file.ljust(place_of_code, b"\0") + content).ljust(data, b"\0") + dynamic
