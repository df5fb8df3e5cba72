"""torch, split with every page cold, does whatever torch does: operations, threads, workers, signals."""

import hashlib
import json
import signal

import pytest
from support.project import ROOT
from support.splitting import SITE, run, split_file

from layer.builder.slim.split import layout

OPERATIONS = ROOT / "tests" / "support" / "torch_operations.py"
LIBRARIES = ("libtorch_cpu.so", "libtorch_python.so")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder whose torch has two split libraries; everything else of it is this environment's."""
    folder = tmp_path_factory.mktemp("torch")
    library = folder / "torch" / "lib"
    library.mkdir(parents=True)
    for source, target in ((SITE / "torch", folder / "torch"), (SITE / "torch" / "lib", library)):
        for path in source.iterdir():
            if path.name != "lib":
                (target / path.name).symlink_to(path)
    for name in LIBRARIES:
        (library / name).unlink()
        split_file(SITE / "torch" / "lib" / name, library / name, block=16)
    return folder


def compute(how: str, folder=None):
    """Return the digests of torch's operations."""
    start = "load()\n" if folder else "sys.path.remove(folder)\n"
    start += f"import runpy\nsys.argv = ['', {how!r}]\n"
    code = f"{start}runpy.run_path({str(OPERATIONS)!r}, run_name='__main__')"
    done = run(code, folder or ROOT / "none", timeout=900)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def expected() -> dict[str, str]:
    """Return the original's digests."""
    return compute("one")


def test_operations(folder, expected) -> None:
    """Those that nobody traced answer as the original's do, errors and their messages included."""
    assert compute("one", folder) == expected


def test_operations_under_an_older_unwinder(folder, expected, unwinder, monkeypatch) -> None:
    """Their exceptions pass through cold frames under GCC 11's, too."""
    monkeypatch.setenv("LD_PRELOAD", str(unwinder))
    assert compute("one", folder) == expected


def test_operations_in_threads(folder, expected) -> None:
    """Eight threads that start together are at different cold code at once."""
    for name, digests in compute("threads", folder).items():
        assert digests == [expected[name]] * 8, name


WORKERS = """
load()
import torch
class Squares(torch.utils.data.Dataset):
    def __len__(self): return 4
    def __getitem__(self, i): return torch.linalg.svd(torch.eye(5) * i)[1].sum()
loader = torch.utils.data.DataLoader(Squares(), batch_size=2, num_workers=2)
print(*(float(batch.sum()) for batch in loader))
"""


def test_workers(folder) -> None:
    """They are forked, and install handlers of their own, of SIGSEGV too."""
    done = run(WORKERS, folder)
    assert (done.returncode, done.stdout) == (0, "5.0 25.0\n"), done.stderr


@pytest.mark.parametrize("enable", ["", "import faulthandler; faulthandler.enable()"])
def test_a_null_pointer(folder, enable) -> None:
    """It ends the process by SIGSEGV."""
    done = run(f"load()\n{enable}\nimport torch\ntorch.fft.fft(torch.ones(8))\nctypes.string_at(0)", folder)
    assert done.returncode == -signal.SIGSEGV
    assert ("Segmentation fault" in done.stderr) == bool(enable)


READ = """
import hashlib
load()
import torch
for number in range(handler.hotcold_libraries()):
    assert handler.hotcold_fill(number) > 0
    start = handler.hotcold_base(number) + handler.hotcold_low(number)
    text = ctypes.string_at(start, handler.hotcold_pages(number) * 4096)
    print(os.path.basename(handler.hotcold_name(number).decode()), hashlib.sha256(text).hexdigest())
"""


def test_all_code(folder) -> None:
    """Filled, both libraries have the original's code in memory."""
    expected = []
    for name in LIBRARIES:
        library = layout.parse((SITE / "torch" / "lib" / name).read_bytes())
        expected.append(f"{name} {hashlib.sha256(library.read(0, library.pages)).hexdigest()}")
    done = run(READ, folder, timeout=300)
    assert sorted(done.stdout.splitlines()) == expected, done.stderr
