"""A split library that is damaged is an error that names it, and never wrong code."""

import ctypes
import shutil
import signal
import struct

import pytest
from support.splitting import HANDLER, parse_index, run, split


@pytest.fixture
def path(tmp_path):
    """Return regex's own library, split."""
    return split("regex", tmp_path, [(5, 9), (30, 2)], block=8)


@pytest.fixture
def check(tmp_path):
    """Return the function that says what is wrong with a library."""
    copy = shutil.copyfile(HANDLER, tmp_path / "checking.so")
    function = ctypes.CDLL(str(copy)).hotcold_check
    function.restype = ctypes.c_char_p
    return lambda path: function(str(path).encode() if path else None)


def test_whole(path, check) -> None:
    """Of what is not damaged nothing is said, nor of this machine."""
    assert check(path) is None
    assert check(None) is None


def test_every_byte_of_the_index(path, check) -> None:
    """Whichever is another one, it contradicts the others."""
    data = path.read_bytes()
    index = parse_index(data)
    copy = path.with_name("copy.so")
    copy.write_bytes(data)
    unseen = []
    with copy.open("r+b", buffering=0) as file:
        for place in range(index.start, index.stop):
            for bit in (1, 0x80):
                file.seek(place)
                file.write(bytes([data[place] ^ bit]))
                if check(copy) is None:
                    unseen.append((place - index.start, bit))
            file.seek(place)
            file.write(data[place : place + 1])
    # The size of the largest block is only a bound.
    assert {place for place, _ in unseen} <= set(range(44, 48))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [("nothing", b"", b"it is no ELF file"), ("text", b"text" * 99, b"it is no ELF file"),
     ("whole", HANDLER.read_bytes(), b"it is no split library")],
)  # fmt: skip
def test_other_files(tmp_path, check, name, content, said) -> None:
    """They are called what they are."""
    (tmp_path / name).write_bytes(content)
    assert said in check(tmp_path / name)
    assert check(tmp_path / "none") == b"its file cannot be opened"


def test_every_length(path, check) -> None:
    """A truncated file is refused, wherever it ends."""
    data = path.read_bytes()
    for length in range(64, len(data), len(data) // 50):
        path.write_bytes(data[:length])
        assert check(path), length


HANDLERS = {
    "none": "",
    "faulthandler": "import faulthandler; faulthandler.enable()",
    "Python": "import signal; signal.signal(signal.SIGSEGV, signal.default_int_handler)",
}


@pytest.mark.parametrize("name", HANDLERS)
@pytest.mark.parametrize("share", [0.3, 0.99, 0.9999])
def test_import_of_a_truncated_file(path, tmp_path, share, name) -> None:
    """It fails: in the loader, or at the first call, with one line that names the library."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    done = run(f"{HANDLERS[name]}\nload()\nimport regex\nprint(regex.findall('a', 'aba'))", tmp_path)
    assert done.stdout == ""
    assert done.returncode in {1, -signal.SIGSEGV, -signal.SIGBUS}
    if share > 0.9:
        assert done.stderr.count(f"hotcold: {path}: the file is truncated") == 1


FILL = """
import mmap
load()
ctypes.CDLL(library)
with open(library, "r+b") as file:
    mapped = mmap.mmap(file.fileno(), 0)  # the handler sees each change of the file
unseen = []
for place in places:
    mapped[place] ^= 4  # in a frame's first byte: it has a checksum
    child = os.fork()
    if not child:
        os._exit(handler.hotcold_fill(0) != -1)
    if os.waitpid(child, 0)[1]:
        unseen.append(place)
    mapped[place] ^= 4
print(unseen, handler.hotcold_fill(0) > 0)
"""


def test_bytes_of_a_block(path, tmp_path) -> None:
    """Its checksum, its sizes or its frame say so: no page of it is mapped."""
    offset, packed, *_ = parse_index(path.read_bytes()).blocks[1]
    places = [*range(offset, offset + 20), *range(offset + 20, offset + packed - 4, 97),
              *range(offset + packed - 4, offset + packed)]  # fmt: skip
    done = run(f"library = {str(path)!r}\nplaces = {places}\n{FILL}", tmp_path)
    assert (done.stdout, done.returncode) == ("[] True\n", 0)


@pytest.mark.parametrize("name", HANDLERS)
def test_a_call_into_a_damaged_block(path, tmp_path, name) -> None:
    """It ends the process, whoever handles SIGSEGV, with a line that names the library."""
    data = bytearray(path.read_bytes())
    for offset, packed, _, _, _ in parse_index(data).blocks:
        data[offset + packed // 2] ^= 1
    path.write_bytes(data)
    done = run(f"{HANDLERS[name]}\nload()\nimport regex\nprint('wrong')", tmp_path)
    assert (done.returncode, done.stdout) == (-signal.SIGSEGV, "")
    assert done.stderr.startswith(f"hotcold: {path}: a block is damaged; deploy the layer again\n")


def test_a_library_that_could_be_unloaded(path, check) -> None:
    """Its addresses would be the handler's for good."""
    data = bytearray(path.read_bytes())
    at = data.index(struct.pack("<QQ", 0x6FFFFFFB, 8))
    data[at + 8] = 0
    path.write_bytes(data)
    assert b"no DF_1_NODELETE" in check(path)


@pytest.mark.usefixtures("path")
def test_without_the_handler(tmp_path) -> None:
    """The import fails, and names what is missing."""
    done = run("import regex", tmp_path)
    assert "ImportError: libhotcold.so: cannot open shared object file" in done.stderr
