"""The handler's binaries are what its sources say; and what takes a compiler to show of split libraries."""

import shutil
import subprocess

import pytest
from support.project import ROOT
from support.splitting import HANDLER, run, split_file

from tools import hotcold

TOOLS = ROOT / ".layers" / "tools"
FLAGS = (
    "-target",
    f"x86_64-linux-gnu.{hotcold.GLIBC}",
    "-O1",
    "-shared",
    "-fPIC",
    "-Wl,-z,now",
    "-Wl,-rpath,$ORIGIN",
)


def test_a_build_elsewhere_gives_the_same_bytes(tmp_path) -> None:
    """With the compiler and zstd's sources from the package index."""
    built = hotcold.build(tmp_path, TOOLS)
    assert hotcold.format_sums(built) == hotcold.SUMS.read_text()


def compile_library(language: str, source: str, path, *options) -> None:
    """Compile a shared library."""
    file = path.with_suffix(".c" if language == "cc" else ".cpp")
    file.write_text(source)
    command = [hotcold.find_compiler(TOOLS), language, *FLAGS, "-o", path, file, *options]
    subprocess.run(command, check=True)


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
    compile_library("c++", THROW, tmp_path / "whole.so")
    split_file(tmp_path / "whole.so", tmp_path / "throw.so", hot)
    done = run(CALL, tmp_path)
    assert (done.stdout, done.stderr) == (f"40 40007 80008 {not hot}\n", "")


EARLY = """
__attribute__((weak, noinline)) int answer(void) { return 1; }
static int kept;
__attribute__((constructor)) static void begin(void) { kept = answer(); }
int get(void) { return kept; }
"""
"""Its constructor calls, in place of its own function, the one of the library that it is loaded for."""

MIDDLE = "int get(void); int middle(void) { return get(); }"
LATE = """
#define PAGE __attribute__((aligned(4096)))
int middle(void);
PAGE int before(void) { return middle(); }
PAGE int answer(void) { return 2; }
PAGE int after(void) { return 0; }
static int one;
int *place = &one; /* relocated, so the dynamic section has an entry that can be another */
"""


def test_a_constructor_that_runs_before(tmp_path) -> None:
    """A library that knows nothing of the handler calls cold code while it is loaded."""
    # Two steps away it is initialised before what is one step away, such as the handler.
    names = ["libearly.so", "libmiddle.so", "whole.so"]
    for name, source, needed in zip(names, (EARLY, MIDDLE, LATE), ([], names[:1], names[1:2]), strict=True):
        needs = [tmp_path / one for one in needed]
        compile_library("cc", source, tmp_path / name, f"-Wl,-soname,{name}", *needs)
    split_file(tmp_path / "whole.so", tmp_path / "late.so")
    shutil.copyfile(HANDLER, tmp_path / "libhotcold.so")
    code = "ctypes.CDLL(folder + '/late.so'); print(ctypes.CDLL(folder + '/libearly.so').get())"
    done = run(code, tmp_path)
    assert (done.stdout, done.stderr) == ("2\n", "")
