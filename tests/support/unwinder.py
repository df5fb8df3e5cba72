"""GCC 11's unwinder, which Amazon Linux 2023 has, as a library that is loaded before this machine's own.

Debian's package holds it as an archive with hidden symbols, so it is linked again.
"""

import shutil
import struct
import subprocess
from pathlib import Path

import pytest

PACKAGE = "libgcc-11-dev"

_SYMBOLS = 2  # SHT_SYMTAB


def show_symbols(data: bytearray) -> None:
    """Make the hidden symbols of an object file visible."""
    (sections,) = struct.unpack_from("<Q", data, 0x28)
    (count,) = struct.unpack_from("<H", data, 0x3C)
    for number in range(count):
        _, kind, _, _, offset, size, *_ = struct.unpack_from("<IIQQQQIIQQ", data, sections + number * 64)
        if kind == _SYMBOLS:
            for symbol in range(offset, offset + size, 24):
                if data[symbol + 4] >> 4:  # not local
                    data[symbol + 5] &= ~3


def link_unwinder(folder: Path) -> Path:
    """Make the library in a folder and return its path; skip the test where a tool for that is missing."""
    for tool in ("apt-get", "dpkg-deb", "ld", "gcc"):
        if not shutil.which(tool):
            pytest.skip(f"there is no {tool}, which gets and links GCC 11's unwinder")

    def call(*command: str) -> None:
        subprocess.run(command, cwd=folder, check=True, capture_output=True)

    call("apt-get", "download", PACKAGE)
    call("dpkg-deb", "-x", str(next(folder.glob("*.deb"))), "package")
    archive = next(folder.rglob("libgcc_eh.a"))
    whole, library = folder / "whole.o", folder / "libunwinder.so"
    call("ld", "-r", "--whole-archive", str(archive), "-o", str(whole))
    data = bytearray(whole.read_bytes())
    show_symbols(data)
    whole.write_bytes(data)
    call("gcc", "-shared", "-o", str(library), str(whole), f"-Wl,-soname,{library.name}", "-lc")
    return library
