"""The handler's binaries are what its sources say; and what takes a compiler to show of split libraries."""

import shutil
import subprocess

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
