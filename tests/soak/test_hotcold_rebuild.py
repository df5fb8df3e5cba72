"""The handler's binaries are what its sources say, and unwinders that search segments find cold frames."""

import subprocess

import pytest
from support.project import ROOT
from support.splitting import run, split_file

from tools import hotcold

TOOLS = ROOT / ".layers" / "tools"


def test_a_build_elsewhere_gives_the_same_bytes(tmp_path) -> None:
    """With the compiler and zstd's sources from the package index."""
    built = hotcold.build(tmp_path, TOOLS)
    assert hotcold.format_sums(built) == hotcold.SUMS.read_text()


THROW = """
#include <stdexcept>
#include <string>
static int unwound;
struct Guard { ~Guard() { unwound++; } };
#define PAGE __attribute__((noinline, aligned(4096)))
template <int N> PAGE int enter(int value) {
    Guard guard;
    return enter<N - 1>(value) + 1;
}
template <> PAGE int enter<0>(int value) {
    if (value) throw std::out_of_range(std::to_string(value));
    return 0;
}
extern "C" PAGE int attempt(int value) {
    try {
        return enter<40>(value);
    } catch (const std::exception &error) {
        return unwound * 1000 + std::stoi(error.what());
    }
}
"""
"""Every frame lies on a page of its own."""

CALL = """
load()
one = ctypes.CDLL(folder + "/throw.so")
print(one.attempt(0), one.attempt(7), one.attempt(8), count().blocks > 40)
"""


@pytest.mark.parametrize("hot", [[], [(page, 1) for page in range(0, 40, 2)]], ids=["cold", "mixed"])
def test_an_unwinder_that_searches_segments(tmp_path, hot) -> None:
    """LLVM's, as GCC's before version 12, finds a frame only where a segment covers it."""
    source = tmp_path / "throw.cpp"
    source.write_text(THROW)
    command = [
        hotcold.find_compiler(TOOLS),
        "c++",
        "-target",
        f"x86_64-linux-gnu.{hotcold.GLIBC}",
        "-O1",
        "-shared",
    ]
    whole = tmp_path / "whole.so"
    subprocess.run([*command, "-fPIC", "-o", whole, source], check=True)
    split_file(whole, tmp_path / "throw.so", hot)
    done = run(CALL, tmp_path)
    assert (done.stdout, done.stderr) == (f"40 40007 80008 {not hot}\n", "")
