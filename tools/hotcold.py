"""Build ``layer/hotcold``'s libraries: ``python -m tools.hotcold``.

The compiler and zstd's sources come from the package index, each at one version, so the same bytes come out
on every x86_64 machine. Neither is kept in the repository.
"""

import hashlib
import os
import struct
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from layer.builder.slim.elf import parse_segments
from layer.builder.wheels.install import ensure_tool

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "layer" / "hotcold"
SUMS = FOLDER / "SHA256SUMS"
COMPILER = "ziglang==0.17.1"
SOURCES = "zstandard==0.25.0"
SOURCES_SHA256 = "7713e1179d162cf5c7906da876ec2ccb9c3a9dcbdffef0cc7f70c3667a205f0b"
ARCHITECTURES = ("x86_64", "aarch64")
GLIBC = "2.17"
"""What the oldest wheels that are split ask for, too."""

PT_DYNAMIC, DT_FLAGS_1, DF_1_INITFIRST = 2, 0x6FFFFFFB, 0x20

_UNUSED = ("DFAST", "GREEDY", "LAZY", "LAZY2", "BTLAZY2", "BTOPT", "BTULTRA")
"""zstd's compressors: the linker drops them in any case, and without them it compiles in half the time."""

_FLAGS = (
    "-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-fno-sanitize=undefined",
    "-fvisibility=hidden", "-ffunction-sections", "-fdata-sections", "-s", "-Wl,--gc-sections",
    "-Wl,-z,now", "-Wl,-z,nodelete", "-Wl,--build-id=none", "-Wl,-soname,libhotcold.so",
    # Where pages are larger the loader then refuses the library, and what needs it, in a clear message.
    "-Wl,-z,max-page-size=4096",
    "-DZSTD_DISABLE_ASM", "-DZSTD_LEGACY_SUPPORT=0",
    "-DZSTDLIB_VISIBLE=", "-DZSTDERRORLIB_VISIBLE=", "-DZDICTLIB_VISIBLE=",
    *(f"-DZSTD_EXCLUDE_{name}_BLOCK_COMPRESSOR" for name in _UNUSED),
)  # fmt: skip


def fetch_sources(folder: Path, zig: str) -> Path:
    """Download the source distribution with zstd, check its hash, and return the folder of zstd.c.

    pip asks it for its metadata, for which it wants a C compiler.
    """
    pins = folder / "requirements.txt"
    pins.write_text(f"{SOURCES} --hash=sha256:{SOURCES_SHA256}\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--no-binary", ":all:", "--require-hashes", "--dest", str(folder), "-r", str(pins)]
    subprocess.run(command, check=True, env=os.environ | {"CC": f"{zig} cc"})
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        opened.extractall(folder, filter="data")
    return folder / SOURCES.replace("==", "-") / "zstd"


def find_compiler(tools: Path) -> str:
    """Install the compiler into a folder unless it is installed, and return its path."""
    ensure_tool("ziglang", COMPILER, tools)
    import ziglang

    return str(Path(ziglang.__file__).with_name("zig"))


def initialise_first(data: bytes) -> bytes:
    """Return a library whose constructor runs before all others that are loaded with it: they may be cold.

    zig's linker has no ``-z initfirst``.
    """
    dynamic = next(one for one in parse_segments(data) if one.kind == PT_DYNAMIC)
    edited = bytearray(data)
    for place in range(dynamic.offset, dynamic.offset + dynamic.file_size, 16):
        tag, flags = struct.unpack_from("<qQ", data, place)
        if tag == DT_FLAGS_1:
            struct.pack_into("<qQ", edited, place, tag, flags | DF_1_INITFIRST)
    return bytes(edited)


def build(to: Path, tools: Path) -> list[Path]:
    """Build the library of each architecture into a folder, and return their paths."""
    zig = find_compiler(tools)
    built = []
    with tempfile.TemporaryDirectory() as work:
        zstd = fetch_sources(Path(work), zig)
        sources = [*sorted(FOLDER.glob("*.c")), zstd / "zstd.c"]
        environment = os.environ | {"ZIG_GLOBAL_CACHE_DIR": work, "ZIG_LOCAL_CACHE_DIR": work}
        for architecture in ARCHITECTURES:
            path = to / f"libhotcold-{architecture}.so"
            target = f"{architecture}-linux-gnu.{GLIBC}"
            command = [
                zig,
                "cc",
                "-target",
                target,
                *_FLAGS,
                f"-I{zstd}",
                "-o",
                str(path),
                *map(str, sources),
            ]
            subprocess.run(command, check=True, env=environment, cwd=work)
            path.write_bytes(initialise_first(path.read_bytes()))
            path.chmod(0o644)
            built.append(path)
    return built


def format_sums(paths: list[Path]) -> str:
    """Return the lines of SHA256SUMS, as sha256sum writes and checks them."""
    return "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in paths)


if __name__ == "__main__":
    SUMS.write_text(format_sums(build(FOLDER, ROOT / ".layers" / "tools")))
    sys.stdout.write(SUMS.read_text())
