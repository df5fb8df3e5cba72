"""Shared libraries: what they need is read, and what no loader reads is taken out."""

import random
import struct
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from layer.builder.errors import ElfError
from layer.builder.slim.elf import Needs, check_loadable, is_elf, read_needs, strip

LOAD, DYNAMIC = 1, 2
PROGRAM_HEADERS = 64
DATA = 0x100
"""Where the second segment begins, from a page's beginning."""

PAGES = pytest.mark.parametrize("page", [0x1000, 0x4000, 0x10000], ids=hex)


def library(page: int = 0x1000, machine: int = 183, holes: int = 4) -> bytes:
    """Return a library of two segments, with pages of nothing between them, and symbols behind.

    It is linked to libc.so.6 and libown.so, and needs GLIBC_2.17 and GLIBC_2.34 of the former.
    """
    names = [b"", b"libc.so.6", b"libown.so", b"GLIBC_2.17", b"GLIBC_2.34"]
    strings = b"\0".join(names) + b"\0"
    c, own, old, new = (strings.index(name + b"\0") for name in names[1:])
    versions = (
        struct.pack("<HHIII", 1, 2, c, 16, 0)
        + struct.pack("<IHHII", 0, 0, 2, old, 16)
        + struct.pack("<IHHII", 0, 0, 3, new, 0)
    )
    text = PROGRAM_HEADERS + 3 * 56
    code = text + len(strings) + len(versions)
    entries = [(1, c), (1, own), (5, text), (0x6FFFFFFE, text + len(strings)), (0x6FFFFFFF, 1), (0, 0)]
    dynamic = b"".join(struct.pack("<QQ", *entry) for entry in entries)
    data = dynamic + b"data" * 20
    offset, address = holes * page + DATA, (holes + 2) * page + DATA
    head = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", 3, machine, 1, 0, PROGRAM_HEADERS,
                       offset + len(data), 0, 64, 56, 3, 64, 9, 8)  # fmt: skip
    for kind, flags, start, place, size in (
        (LOAD, 5, 0, 0, code),
        (LOAD, 6, offset, address, len(data)),
        (DYNAMIC, 6, offset, address, len(dynamic)),
    ):
        head += struct.pack("<IIQQQQQQ", kind, flags, start, place, place, size, size, page)
    return (head + strings + versions).ljust(offset, b"\0") + data + b"symbols" * 500


def loads(data: bytes) -> list[tuple[int, int, int]]:
    """Return offset, address and alignment of what is loaded."""
    table, count = struct.unpack_from("<Q", data, 32)[0], struct.unpack_from("<H", data, 56)[0]
    found = [struct.unpack_from("<IIQQQQQQ", data, table + number * 56) for number in range(count)]
    return [(one[2], one[3], one[7]) for one in found if one[0] == LOAD]


@pytest.fixture(scope="module")
def real() -> Path:
    """Return a library that is loaded here every day."""
    path = Path(find_spec("msgspec._core").origin)
    if not is_elf(path):
        pytest.skip("no ELF on this system")
    return path


class TestReadNeeds:
    """What a library asks of the machine."""

    @pytest.mark.parametrize(("machine", "name"), [(183, "aarch64"), (62, "x86_64")])
    def test_needs(self, machine, name, tmp_path):
        """Machine, libraries and versions are read for any machine, on any machine."""
        path = tmp_path / "a.so"
        path.write_bytes(library(machine=machine))

        assert read_needs(path) == Needs(
            name, ("libc.so.6", "libown.so"), {"libc.so.6": ("GLIBC_2.17", "GLIBC_2.34")}
        )

    def test_real(self, real):
        """A real library says the same as it does to the loader."""
        needs = read_needs(real)

        assert any(name.startswith("libc.so") for name in needs.libraries)
        assert any(name.startswith("GLIBC_2.") for name in needs.versions["libc.so.6"])

    @pytest.mark.parametrize(
        "damage",
        [
            lambda data: data[:40],
            lambda data: data[: len(data) // 2],
            lambda data: data[: data.index(b"symbols") - 1],
            lambda data: data[:4] + b"\1" + data[5:],
            lambda data: data[:18] + b"\3\0" + data[20:],
        ],
        ids=["in the header", "half", "its last loaded byte", "of 32 bit", "of another machine"],
    )
    def test_damaged(self, damage, tmp_path):
        """A library that is cut off, or that no Lambda runs, is refused by its name."""
        path = tmp_path / "a.so"
        path.write_bytes(damage(library()))

        with pytest.raises(ElfError, match=r"a\.so is damaged: "):
            read_needs(path)


class TestStrip:
    """Less bytes, the same library."""

    @PAGES
    def test_pages(self, page):
        """What is loaded moves together, each segment as aligned to its page as before."""
        before = library(page)
        after = strip(before)

        check_loadable(before, after)
        assert [start for start, _, _ in loads(after)] == [0, page + DATA]
        assert all((start - address) % page == 0 and to == page for start, address, to in loads(after))
        assert len(before) - len(after) == 3 * page + len(b"symbols" * 500)
        assert struct.unpack_from("<Q", after, 40) + struct.unpack_from("<HH", after, 60) == (0, 0, 0)

    @PAGES
    def test_needs_kept(self, page, tmp_path):
        """A stripped library needs what it needed."""
        (tmp_path / "before").write_bytes(library(page))
        (tmp_path / "after").write_bytes(strip(library(page)))

        assert read_needs(tmp_path / "before") == read_needs(tmp_path / "after")

    @PAGES
    def test_again(self, page):
        """Stripping twice is stripping once."""
        once = strip(library(page))

        assert strip(once) == once

    def test_real(self, real, tmp_path):
        """A real library gets no bigger, and still loads."""
        data = real.read_bytes()
        path = tmp_path / "stripped.so"
        path.write_bytes(strip(data + b"debug" * 1000))

        check_loadable(data, path.read_bytes())
        assert path.stat().st_size <= len(data)
        program = "import ctypes, sys; ctypes.CDLL(sys.argv[1]).PyInit__core"
        subprocess.run([sys.executable, "-c", program, path], check=True)

    @pytest.mark.parametrize(
        "data", [b"", b"\x7fELF", b"text" * 100, library()[:300], library(holes=1)[:-4000]]
    )
    def test_refused(self, data):
        """What is no whole library is not touched."""
        with pytest.raises(ElfError):
            strip(data)


class TestCheckLoadable:
    """Two libraries, as a loader sees them."""

    @pytest.mark.parametrize(
        ("place", "message"),
        [
            (16, "its header has changed"),
            (PROGRAM_HEADERS + 16, "its segments have changed"),
            (PROGRAM_HEADERS + 56 + 9, "not aligned to its page"),
            (240, "has other bytes"),
            (0x1000 + DATA, "has other bytes"),
        ],
    )
    def test_changed(self, place, message):
        """A byte that is not what it was is noticed wherever a loader reads it."""
        after = bytearray(strip(library()))
        after[place] ^= 1

        with pytest.raises(ElfError, match=message):
            check_loadable(library(), bytes(after))

    def test_headers_that_are_not_loaded(self):
        """The headers lie in the first segment, to their last byte: the loader reads them there."""
        for size, fits in ((64 + 3 * 56, True), (64 + 3 * 56 - 1, False)):
            data = bytearray(library())
            struct.pack_into("<QQ", data, PROGRAM_HEADERS + 32, size, size)
            if fits:
                assert strip(bytes(data))
            else:
                with pytest.raises(ElfError, match=r"byte 231 is in use, but not in a loaded segment"):
                    strip(bytes(data))

    def test_cut_off(self):
        """A library whose end is missing is noticed."""
        with pytest.raises(ElfError, match="cut off"):
            check_loadable(library(), strip(library())[:-1])


@pytest.mark.parametrize("seed", range(8))
def test_fuzz(seed, tmp_path):
    """However a library is damaged, it is refused with one kind of error, or taken."""
    draw = random.Random(seed)  # noqa: S311
    whole, path = library(holes=1), tmp_path / "a.so"
    used = [*range(512), *range(0x1000 + DATA, 0x1000 + DATA + 96)]
    refused = 0
    for _ in range(100):
        data = bytearray(whole)
        for place in draw.sample(used, draw.randint(1, 6)):
            data[place] = draw.choice([0, 1, 0x7F, 0x80, 0xFF, draw.randrange(256)])
        if draw.random() < 0.2:
            del data[draw.randrange(len(data)) :]
        path.write_bytes(data)
        try:
            read_needs(path)
            check_loadable(bytes(data), strip(bytes(data)))
        except ElfError:
            refused += 1
    assert 10 < refused <= 100
