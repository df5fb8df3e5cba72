"""Split libraries in a folder of their own, and programs that use them."""

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from layer.builder.slim.elf import parse_segments
from layer.builder.slim.split import layout, write
from support.project import ROOT

SITE = Path(sysconfig.get_path("purelib"))
HANDLER = ROOT / "layer" / "hotcold" / f"libhotcold-{platform.machine()}.so"

PRELUDE = """
import ctypes, os, sys
class Statistics(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in
        "faults blocks bytes nanoseconds waits duplicates hot_maps hot_nanoseconds longest".split()]
def load():
    global handler
    handler = ctypes.CDLL(HANDLER)
    handler.hotcold_name.restype = handler.hotcold_check.restype = ctypes.c_char_p
    for name in ("base", "low", "pages"):
        getattr(handler, "hotcold_" + name).restype = ctypes.c_uint64
    handler.hotcold_fill.restype = ctypes.c_long
    handler.hotcold_touched.restype = ctypes.c_void_p
def count():
    statistics = Statistics(); handler.hotcold_stats(ctypes.byref(statistics)); return statistics
def page(number):
    return handler.hotcold_base(0) + handler.hotcold_low(0) + 4096 * number
def touched(i=0):
    pages = ctypes.string_at(handler.hotcold_touched(i), handler.hotcold_pages(i))
    return [number for number, one in enumerate(pages) if one]
def cold():
    return max(set(range(handler.hotcold_pages(0))) - set(touched()))
"""
"""Loaded by name, the handler serves every library that needs it by its soname."""

MATCH = r"""
import regex
def answer():
    return [
        regex.findall(r"(?:cats|dogs){e<=2}", "cuts and digs"),
        regex.sub(r"(?i)(\p{L}+)\s+\1", r"<\1>", "Aa aA b"),
        regex.split(r"(?V1)[[a-z]--[aeiou]]+", "strengths"), regex.findall(r"\X+\m\b\M", "a b"),
        regex.match(r"(?r)(\w+) (?<x>\d+)$", "ab 12", regex.B).groups(),
        regex.fullmatch(r"(?:(\w)(?:(?R)|\w?)\1)|\w", "kayak").span(),
    ]
"""
"""A program's function that calls most of what regex's own library can do."""


def parse(path: Path) -> layout.Library:
    """Return a library that can be split."""
    return layout.parse(path.read_bytes())


def split_file(source: Path, path: Path, hot: Sequence[tuple[int, int]] = (), block: int = 1) -> None:
    """Split a library into another file."""
    path.write_bytes(write.split(parse(source), hot, level=1, block=block))


def split(name: str, folder: Path, hot: Sequence[tuple[int, int]] = (), block: int = 1) -> Path:
    """Copy a package of this environment into a folder, split its largest library, and return the path."""
    if not (folder / name).exists():
        shutil.copytree(SITE / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.pyi"))
    source = max((SITE / name).rglob("*.so"), key=lambda one: one.stat().st_size)
    path = folder / source.relative_to(SITE)
    split_file(source, path, hot, block)
    return path


class Index(NamedTuple):
    """Where a split library's index is, and its blocks: offset, packed and raw size, first run, runs."""

    start: int
    stop: int
    blocks: list[tuple[int, ...]]


def parse_index(data: bytes) -> Index:
    """Return a split library's index."""
    one = next(one for one in parse_segments(data) if one.kind == layout.PT_HOTCOLD)
    header = layout.HEADER.unpack_from(data, one.offset)
    start = one.offset + layout.HEADER.size + header[7] * layout.HOT.size
    blocks = layout.BLOCK.iter_unpack(data[start : start + header[5] * layout.BLOCK.size])
    return Index(one.offset, one.offset + one.file_size, list(blocks))


def run(
    code: str,
    folder: Path,
    *,
    python: Sequence[str] = (sys.executable,),
    handler: Path = HANDLER,
    timeout: int = 60,
) -> subprocess.CompletedProcess[str]:
    """Run a program that finds the folder's packages first; ``load()`` loads the handler in it."""
    start = f"folder, HANDLER = {str(folder)!r}, {str(handler)!r}{PRELUDE}sys.path.insert(0, folder)\n"
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [*python, "-W", "ignore", "-c", start + textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=timeout,
        env=environment,
        check=False,
    )
