"""A split library answers as the whole one does, whatever threads, forks and signals do meanwhile."""

import signal
import subprocess

import pytest
from support import splitting
from support.project import ROOT
from support.splitting import MATCH, parse, run, split

from layer.builder.slim.split.observe import read_log


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with regex, every page of its code cold and alone in its block."""
    folder = tmp_path_factory.mktemp("split")
    split("regex", folder)
    return folder


@pytest.fixture
def own(tmp_path):
    """Return a function that splits a package into a folder of the test's own."""
    return lambda name="regex", **options: split(name, tmp_path, **options)


def check(done, output: str = "") -> None:
    """Check that a program ended well, with an output."""
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == output.split()


ORIGINAL = "sys.path.remove(folder)\n" + MATCH + "print(answer())"


@pytest.mark.parametrize("block", [1, 16])
@pytest.mark.parametrize("hot", [[], [(0, 1), (5, 20)], [(3, 50)]], ids=["cold", "mixed", "hot"])
def test_answers(own, tmp_path, hot, block) -> None:
    """Whatever is hot, and however large blocks are."""
    path = own(hot=hot, block=block)
    done = run(
        f"load(){MATCH}print(answer()); import regex._regex as r; assert r.__file__ == {str(path)!r}",
        tmp_path,
    )
    check(done, run(ORIGINAL, tmp_path).stdout)


@pytest.mark.parametrize("block", [1, 7])
def test_all_code_is_the_original(own, tmp_path, block) -> None:
    """Filled, every page has the original's bytes; pages that were touched are counted and listed."""
    library = parse(splitting.SITE / own(hot=[(2, 3), (9, 1)], block=block).relative_to(tmp_path))
    (tmp_path / "text").write_bytes(library.read(0, library.pages))
    code = f"""
    load()
    import regex
    regex.match("a", "a")
    before = count()
    assert before.faults == before.blocks == len(touched()) > 0 and before.hot_maps == 2
    assert before.bytes >= before.blocks * 4096 and before.nanoseconds >= before.longest > 0
    assert not {{2, 3, 4, 9}} & set(touched())
    filled = handler.hotcold_fill(0)
    assert filled > 0 and handler.hotcold_fill(0) == 0 and count().blocks == before.blocks + filled
    assert ctypes.string_at(page(0), {library.pages} * 4096) == open(folder + "/text", "rb").read()
    assert handler.hotcold_pages(0) == {library.pages} and handler.hotcold_low(0) == {library.low}
    lines = [line.split() for line in open("/proc/self/maps")]
    assert [line for line in lines if "w" in line[1] and "x" in line[1]] == []
    """
    check(run(code, tmp_path))


SOLVE = """
import regex, kiwisolver
solver, x = kiwisolver.Solver(), kiwisolver.Variable("x")
solver.addConstraint((x >= 3) | "required")
for wrong in (lambda: solver.addConstraint((x <= 2) | "required"), lambda: solver.removeEditVariable(x)):
    try:
        wrong()
    except Exception as error:
        print(type(error).__name__)
solver.updateVariables()
print(x.value(), regex.findall("a.", "abac"))
"""


def test_two_libraries_at_once(own, tmp_path) -> None:
    """Each is found by its own addresses; exceptions of C++ pass through cold frames."""
    own("kiwisolver")
    own()
    expected = run(f"sys.path.remove(folder)\n{SOLVE}", tmp_path)
    assert expected.stdout.startswith("UnsatisfiableConstraint\nUnknownEditVariable\n")
    check(run(f"load()\n{SOLVE}print(handler.hotcold_libraries())", tmp_path), f"{expected.stdout} 2")


def test_log_of_a_function(own, tmp_path) -> None:
    """At DEBUG an invocation logs which pages were touched, as the builder reads them."""
    path = own(hot=[(2, 3)], block=4)
    code = f"""
    sys.path.append({str(ROOT / "layer" / "python")!r})
    os.environ["POWERTOOLS_LOG_LEVEL"] = "DEBUG"
    load()
    from lambda_inference._cold_code import ColdCode
    code = ColdCode()
    {MATCH.strip().splitlines()[0]}
    regex.match("a", "a")
    code.record()
    code.record()
    print(*touched())
    """
    done = run(code, tmp_path)
    *lines, touched = done.stdout.splitlines()
    assert len(lines) == 1, done.stderr
    library = parse(splitting.SITE / path.relative_to(tmp_path))
    assert read_log(lines) == {str(path): (library.pages, set(map(int, touched.split())))}


THREADS = """
import threading
def together(work):
    gate, results = threading.Barrier(8), []
    def start():
        gate.wait()
        results.append(work())
    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    return results
"""


READ = """
import random
load()
ctypes.CDLL(library)
start, libc = page(0), ctypes.CDLL(None)  # which, unlike ctypes.string_at, lets other threads run
text = open(folder + "/text", "rb").read()
def work():
    for number in random.sample(range(len(text) // 4096), len(text) // 4096):
        place = number * 4096 + random.randrange(4000)
        if libc.memcmp(ctypes.c_void_p(start + place), text[place:place + 90], 90):
            return number
print(*together(work))
"""


def test_threads_touch_the_same_pages(own, tmp_path) -> None:
    """Eight at once, in blocks of several pages and in hot ones; each sees the original's bytes."""
    path = own(hot=[(4, 8)], block=8)
    library = parse(splitting.SITE / path.relative_to(tmp_path))
    (tmp_path / "text").write_bytes(library.read(0, library.pages))
    check(run(f"{THREADS}library = {str(path)!r}{READ}", tmp_path), "None " * 8)


FORK = """
def fork():
    for _ in range(3):
        child = os.fork()
        if not child:
            os._exit(answer() != answer() or count().blocks == 0)
        answer()
        yield os.waitpid(child, 0)[1]
print(sum(sum(ended) for ended in together(lambda: list(fork()))))
"""


REFUSE = """
if ctypes.CDLL(None, use_errno=True).prctl(65, 1, 0, 0, 0):  # PR_SET_MDWE: no page becomes executable
    print("kernel")
    sys.exit()
"""
INSTEAD = (
    "{path}: the kernel refuses to make memory executable\n"
    "{path}: all of its code is unpacked to the folder for temporary files instead\n"
)


def refuse(code: str, folder) -> subprocess.CompletedProcess[str]:
    """Run a program whose kernel refuses what the handler does, if it knows how to."""
    done = run(code, folder)
    if done.stdout == "kernel\n":
        pytest.skip("this kernel has no PR_SET_MDWE (Linux 6.3)")
    return done


@pytest.mark.parametrize("hot", [[], [(3, 10)]], ids=["cold", "mixed"])
@pytest.mark.parametrize("early", [True, False], ids=["before it is loaded", "after"])
def test_kernel_refuses(own, tmp_path, hot, early) -> None:
    """Where no memory may become executable, a library's code is unpacked to a file at once, and said so."""
    path = own(hot=hot, block=4)
    folder = tmp_path / "temporary"
    folder.mkdir()
    order = f"{REFUSE}load()" if early else f"load()\nimport regex{REFUSE}"
    code = f"""os.environ["TMPDIR"] = {str(folder)!r}
{order}{MATCH}
print(answer(), handler.hotcold_fill(0))
assert count().nanoseconds and count().blocks
assert not [line for line in open("/proc/self/maps") if "w" in line.split()[1] and "x" in line.split()[1]]
"""
    done = refuse(code, tmp_path)
    expected = run(ORIGINAL, tmp_path).stdout.strip() + " 0\n"
    assert (done.returncode, done.stdout) == (0, expected), done.stderr
    assert done.stderr == INSTEAD.format(path=f"hotcold: {path}")
    assert not list(folder.iterdir())


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        (
            'os.environ["TMPDIR"] = folder + "/missing"',
            "no file can be made in the folder for temporary files",
        ),
        (
            "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))",
            "its code does not fit into the folder for temporary files; raise EphemeralStorage",
        ),
    ],
    ids=["no folder", "no space"],
)
def test_kernel_refuses_and_nothing_is_left(own, tmp_path, limit, message) -> None:
    """Where its code cannot be unpacked either, the process ends, and says why."""
    path = own()
    done = refuse(f"{limit}\n{REFUSE}load(){MATCH}print(answer())", tmp_path)
    assert (done.returncode, done.stdout) == (-signal.SIGSEGV, "")
    assert f"hotcold: {path}: {message}\n" in done.stderr


def test_fork_in_the_middle(folder) -> None:
    """A child fills what its parent's threads were filling."""
    check(run(f"load(){MATCH}{THREADS}{FORK}", folder), "0")


COLD = "import regex; regex.findall('(?:cat){e<=1}', 'cut'); print('cold', flush=True)"

ENDINGS = {
    "null": "ctypes.string_at(0)",
    "write to cold code": "ctypes.memset(page(cold()), 0, 1)",
    "write to filled code": "place = page(cold()); ctypes.string_at(place, 1); ctypes.memset(place, 0, 1)",
    "kill": "import signal; os.kill(os.getpid(), signal.SIGSEGV)",
    "null after a subprocess": "import subprocess; subprocess.run(['true']); ctypes.string_at(0)",
    "stack overflow": "sys.setrecursionlimit(10**9); f = lambda x: [*map(f, [x])]; f(0)",
}


@pytest.mark.parametrize("when", ["before", "after", "never"])
@pytest.mark.parametrize("name", ENDINGS)
def test_what_is_not_ours_ends_the_process(folder, name, when) -> None:
    """By SIGSEGV, and faulthandler prints where, whether it was enabled before the handler or after it."""
    enable = "import faulthandler; faulthandler.enable()"
    before, after = (enable if when == one else "" for one in ("before", "after"))
    done = run(f"{before}\nload()\n{after}\n{COLD}\n{ENDINGS[name]}", folder)
    assert (done.returncode, done.stdout) == (-signal.SIGSEGV, "cold\n")
    assert ("Segmentation fault" in done.stderr) == (when != "never")


KILL = "os.kill(os.getpid(), signal.SIGSEGV)"
SURVIVORS = {
    "ignored and sent": ("signal.signal(signal.SIGSEGV, signal.SIG_IGN)", KILL, "cold"),
    "handled in Python": (
        "signal.signal(signal.SIGSEGV, lambda *_: print('handled'))",
        f"{KILL}; print(signal.getsignal(signal.SIGSEGV).__name__)",
        "cold handled <lambda>",
    ),
    "blocked": (
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGSEGV, signal.SIGINT])",
        "print(signal.pthread_sigmask(signal.SIG_BLOCK, []) == {signal.SIGINT})",
        "cold True",
    ),
    "faulthandler on and off": (
        "import faulthandler; faulthandler.enable(); faulthandler.disable()",
        "",
        "cold",
    ),
    "the kernel reads cold code": (
        "libc = ctypes.CDLL(None, use_errno=True); r, w = os.pipe()",
        "print(libc.write(w, ctypes.c_void_p(page(cold())), 8), ctypes.get_errno())",
        "cold -1 14",
    ),
}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("name", SURVIVORS)
def test_signals_go_on(folder, name, when) -> None:
    """Python's own handling of SIGSEGV is what it was, before the handler is there and after."""
    setup, use, output = SURVIVORS[name]
    first, second = (setup, "load()") if when == "before" else ("load()", setup)
    check(run(f"import signal\n{first}\n{second}\n{COLD}\n{use}", folder), output)


UNHOOKED = """
import faulthandler, signal
load()
libc = ctypes.CDLL(None)
ours = ctypes.create_string_buffer(152)
theirs = ctypes.create_string_buffer(152)
libc.sigaction(11, None, ours)
faulthandler.enable()
handler.hotcold_sigaction(11, None, theirs)
handler.hotcold_sigaction(11, (ctypes.c_char * 152)(), None)
libc.sigaction(11, theirs, None)
"""
"""Another's handler is in front of ours, by a call of libc that nobody saw, and hands on to ours."""


def test_put_back_in_front(folder) -> None:
    """hotcold_install() says whether it had to; what is in front then gets what is not ours."""
    code = (
        f"{UNHOOKED}print(handler.hotcold_install(), handler.hotcold_install())\n{COLD}\nctypes.string_at(0)"
    )
    done = run(code, folder)
    assert (done.returncode, done.stdout) == (-signal.SIGSEGV, "1 0\ncold\n")
    assert "Segmentation fault" in done.stderr


STACK = """
import threading
class Stack(ctypes.Structure):
    _fields_ = [("place", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]
load()
memory = ctypes.create_string_buffer(8192)
print(ctypes.CDLL(None).sigaltstack(ctypes.byref(Stack(ctypes.addressof(memory), 0, 8192)), None))
"""


def test_a_small_stack_for_signals_is_enough(folder) -> None:
    """8 KiB, of which AVX-512's registers take three."""
    check(run(f"{STACK}{COLD}\nprint(len(memory.raw.lstrip(bytes(1))) < 8192)", folder), "0 cold True")
