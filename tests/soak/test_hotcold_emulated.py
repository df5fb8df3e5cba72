"""The handler for arm64, under QEMU: answers, threads and forks, faults of others, damage."""

import os
import signal
import subprocess
import sys
import zipfile
from functools import partial
from importlib.metadata import version

import pytest
from support import splitting
from support.project import ROOT
from support.splitting import MATCH, parse_index

from layer.builder.pack import interpreter
from layer.builder.target import get_target

TARGET = get_target("python3.13-arm64")
THREADS = """
import threading
results = []
threads = [threading.Thread(target=lambda: results.append(answer())) for _ in range(8)]
for thread in threads: thread.start()
child = os.fork()
if not child:
    os._exit(not answer())
for thread in threads: thread.join()
print(os.waitpid(child, 0)[1], len(results), all(one == results[0] for one in results))
"""


@pytest.fixture(scope="module")
def emulated(tmp_path_factory):
    """Return regex's library for arm64, split with every page cold, and a function that runs programs."""
    folder = tmp_path_factory.mktemp("arm64")
    python = interpreter.find(TARGET, ROOT / ".layers" / "interpreters")
    if python is None:
        interpreter.fetch(TARGET, ROOT / ".layers" / "interpreters", print)
        python = interpreter.find(TARGET, ROOT / ".layers" / "interpreters")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += [*TARGET.pip_options(), "--dest", str(folder), f"regex=={version('regex')}"]
    subprocess.run(command, check=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    (library,) = folder.rglob("*.so")
    splitting.split_file(library, library)
    handler = ROOT / "layer" / "hotcold" / "libhotcold-aarch64.so"
    os.environ.update(python.environment)
    return library, partial(splitting.run, folder=folder, python=python.command, handler=handler, timeout=300)


def test_answers(emulated) -> None:
    """They are this machine's, also of eight threads at once and a child."""
    _, run = emulated
    expected = splitting.run(f"sys.path.remove(folder)\n{MATCH}print(answer())", ROOT / "none").stdout
    done = run(f"load()\n{MATCH}{THREADS}print(answer(), file=sys.stderr)")
    assert (done.stdout, done.stderr) == ("0 8 True\n", expected)


ENDINGS = {
    "null": "ctypes.string_at(0)",
    "null after a subprocess": "import subprocess; subprocess.run(['/bin/true']); ctypes.string_at(0)",
    "write": "ctypes.memset(page(cold()), 0, 1)",
}


@pytest.mark.parametrize("name", ENDINGS)
def test_what_is_not_ours_ends_the_process(emulated, name) -> None:
    """By SIGSEGV, with faulthandler's lines; a write is one although arm64 does not say so."""
    _, run = emulated
    start = (
        f"import faulthandler; faulthandler.enable()\nload()\n{MATCH}answer(); print('cold', flush=True)\n"
    )
    done = run(start + ENDINGS[name])
    assert (done.returncode, done.stdout) in {(-signal.SIGSEGV, "cold\n"), (128 + signal.SIGSEGV, "cold\n")}
    assert "Segmentation fault" in done.stderr


def test_all_code(emulated) -> None:
    """Nothing is writable and executable at once, and everything can be filled; this machine will do."""
    _, run = emulated
    code = "load()\nimport regex\nprint(handler.hotcold_check(None), handler.hotcold_fill(0) > 0)\n"
    code += "print([line for line in open('/proc/self/maps') if 'wx' in line.split()[1]])"
    assert run(code).stdout == "None True\n[]\n"


def test_damage(emulated) -> None:
    """A damaged block ends the process with the library's name."""
    library, run = emulated
    whole = library.read_bytes()
    data = bytearray(whole)
    for offset, packed, *_ in parse_index(whole).blocks:
        data[offset + packed // 2] ^= 1
    library.write_bytes(data)
    done = run("load()\nimport regex\nprint('wrong')")
    library.write_bytes(whole)
    assert done.stdout == ""
    assert done.stderr.startswith(f"hotcold: {library}: a block is damaged; deploy the layer again\n")
