"""Predictions on Lambda's terms: by namespaces where there are any, else by what Python can refuse."""

import errno
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from support.project import ROOT
from support.toy import Toy

from layer.builder.errors import SmokeError
from layer.builder.verify import smoke, smoke_runner, terms
from layer.builder.verify.terms import NO_NAMESPACES, Terms

FOUND = terms.find_terms()
UNSHARE = ["/usr/bin/env", "unshare", "--map-root-user", "--mount", "--net", "--"]
MOUNT = ["mount", "-t", "tmpfs", "none", "/dev"]
ALLOWED = subprocess.run([*UNSHARE, *MOUNT], capture_output=True, check=False).returncode == 0
"""Whether the system's own commands can do what terms need."""
namespaces = pytest.mark.skipif(not FOUND.mounts, reason="no namespaces here")
SYSTEM = "import subprocess\nsubprocess.run(['sh', '-c', {!r}], check=True)"
"""A prediction that has a program do it: none of Python's events tells of it."""


@pytest.mark.skipif(not ALLOWED, reason="no namespaces here")
def test_namespaces_are_used_where_they_are_allowed():
    """Else the tests below are skipped, and predictions held to less, without a word."""
    assert FOUND.mounts


@pytest.fixture(
    params=[pytest.param(FOUND, marks=namespaces, id="namespaces"), pytest.param(NO_NAMESPACES, id="python")]
)
def held(request, monkeypatch):
    """Return the terms that predictions run on."""
    monkeypatch.setattr(smoke, "find_terms", lambda: request.param)
    return request.param


@pytest.fixture
def toy(tmp_path):
    """Return a toy layer."""
    return Toy(tmp_path)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("os.makedirs(os.path.expanduser('~/.cache'))", r"writes to ~/\.cache: on Lambda only /tmp"),
        ("open(os.path.expanduser('~/x'), 'w')", r"writes to ~/x: on Lambda only /tmp"),
        ("open(pkg.HERE / 'data.json', 'a')", r"writes to its layer, \S*/pkg/data\.json: on Lambda"),
        ("os.open(pkg.HERE / 'new', os.O_CREAT | os.O_WRONLY)", r"writes to its layer, \S*/pkg/new:"),
        ("os.unlink(pkg.HERE / 'unused.py')", r"writes to its layer, \S*/pkg/unused\.py:"),
        ("import multiprocessing\nmultiprocessing.Pool(1)", "Lambda has no /dev/shm.*ThreadPool"),
        ("import multiprocessing.shared_memory as m\nm.SharedMemory(create=True, size=1)", "no /dev/shm"),
        ("open('/dev/shm/x', 'w')", "Lambda has no /dev/shm"),
        ("import socket\nsocket.create_connection(('192.0.2.1', 80))", "has no network: .* inputs"),
        ("import socket\nsocket.getaddrinfo('example.org', 80)", "has no network: .* inputs"),
        ("bytearray(11 << 30)", "no function has more than 10,240 MB"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("held")
def test_refused(body, message, toy):
    """What Lambda refuses fails, and the end of the error says what to do instead."""
    with pytest.raises(SmokeError) as failure:
        toy.run(body)

    assert re.search(message, str(failure.value).splitlines()[-1])


@pytest.mark.usefixtures("held")
def test_allowed(toy):
    """Lambda's /tmp may be written to, and the folder for temporary files is in it, or its own."""
    body = (
        "import tempfile\nwith tempfile.TemporaryDirectory() as name:\n    open(name + '/x', 'w').write('1')"
    )
    relative = "os.open('y', os.O_CREAT | os.O_WRONLY, dir_fd=os.open(name, os.O_RDONLY))"
    toy.run(f"{body}\n    {relative}\nopen('/dev/null', 'w').close()\nimport multiprocessing.connection")


@pytest.mark.skipif(sys.platform != "linux", reason="macOS has no such limits")
@pytest.mark.usefixtures("held")
def test_one_core(toy):
    """A prediction, and what it starts, has one core and a limit of memory."""
    body = (
        "import resource\nreturn [len(os.sched_getaffinity(0)), resource.getrlimit(resource.RLIMIT_DATA)[0]]"
    )
    assert json.loads(toy.run(body).answer) == [1, terms.MEMORY_MB * 2**20]


@namespaces
@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("touch ~/x", "cannot touch.*Read-only file system"),
        ("test -e /dev/shm", "returned non-zero exit status 1"),
    ],
)
def test_programs_refused(command, message, toy):
    """Namespaces hold programs and native code, too."""
    with pytest.raises(SmokeError, match=message):
        toy.run(SYSTEM.format(command))


@namespaces
def test_size(toy):
    """The folder for temporary files has the size that Lambda gives it."""
    with pytest.raises(SmokeError, match="Lambda's /tmp has 512 MB"):
        toy.run("os.posix_fallocate(os.open('/tmp/x', os.O_CREAT | os.O_WRONLY), 0, 513 << 20)")


@namespaces
def test_network_of_its_own(toy):
    """There is no interface but that of the process itself."""
    lines = toy.run("return open('/proc/self/net/dev').read().split('\\n')[2:-1]").answer
    assert [line.split(":")[0].strip() for line in json.loads(lines)] == ["lo"]


TALK = """\
import socket
server = socket.create_server(('127.0.0.1', 0))
client = socket.create_connection(server.getsockname())
server.accept()[0].sendall(b'here')
return client.recv(9).decode()"""


@namespaces
def test_loopback(toy):
    """A prediction may talk to itself, as it may on Lambda."""
    assert toy.run(TALK).answer == '"here"'


def test_loopback_of_others(toy, monkeypatch):
    """Without a network of its own it is refused: on that address others may answer, too."""
    monkeypatch.setattr(smoke, "find_terms", lambda: NO_NAMESPACES)
    lines = ["try:", *(f"    {line}" for line in TALK.splitlines())]
    body = "\n".join([*lines, "except OSError as error:", "    return error.errno"])
    assert toy.run(body).answer == str(errno.EACCES)


@pytest.mark.parametrize(
    ("event", "address", "own"),
    [("connect", ("127.0.0.1", 80), True), ("bind", ("::1", 80, 0, 0), True), ("bind", ("", 0), True),
     ("connect", "socket", True), ("bind", b"\0abstract", True), ("getaddrinfo", "localhost", True),
     ("getaddrinfo", b"localhost", True), ("getaddrinfo", None, True), ("gethostbyname", "127.1.2.3", True),
     ("connect", ("192.0.2.1", 80), False), ("getaddrinfo", "example.org", False),
     ("sendto", ("2001:db8::1", 80, 0, 0), False), ("gethostbyname", b"127", False)],
)  # fmt: skip
def test_own_address(event, address, own):
    """Paths and the addresses of this machine alone are its own."""
    assert smoke_runner.is_local(f"socket.{event}", address) == own


@namespaces
@pytest.mark.parametrize(("architecture", "readable"), [("arm64", False), ("x86_64", True)])
def test_processors(architecture, readable, toy):
    """On arm64 Lambda does not show the list of processors."""
    body = "import subprocess\nreturn subprocess.call(['cat', '/sys/devices/system/cpu/possible']) == 0"
    assert json.loads(toy.run(body, architecture=architecture).answer) == readable


@namespaces
def test_temporary_folder(toy, tmp_path_factory):
    """The folder for temporary files shows what the prediction consists of, and nothing else."""
    if not toy.folder.is_relative_to("/tmp"):  # noqa: S108
        pytest.skip("the temporary folder is elsewhere")
    other = tmp_path_factory.mktemp("other")
    inside = json.loads(toy.run(f"return [os.listdir('/tmp'), os.path.exists({str(other)!r})]").answer)
    assert inside[1] is False
    shown = (toy.folder, ROOT, Path(sys.prefix))  # the project may lie there, too
    known = {path.parts[2] for path in shown if path.is_relative_to("/tmp")}  # noqa: S108
    assert [name for name in set(inside[0]) - known if not name.startswith("smoke-")] == []


@namespaces
def test_in_memory():
    """A project in /dev/shm, a folder in memory, is there without the rest of /dev/shm."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        toy = Toy(Path(folder))
        done = toy.run("return [os.listdir('/dev/shm'), (pkg.HERE / 'data.json').read_text()]")
        assert json.loads(done.answer) == [[toy.folder.name], "[1]"]
        with pytest.raises(SmokeError, match="Lambda has no /dev/shm"):
            toy.run("import multiprocessing\nmultiprocessing.Lock()")


@pytest.mark.skipif(sys.platform != "linux", reason="the programs are those of Linux")
def test_changed_without_namespaces(toy, monkeypatch):
    """Where nothing is mounted, what a program wrote to HOME or the layer is seen afterwards."""
    monkeypatch.setattr(smoke, "find_terms", lambda: NO_NAMESPACES)

    with pytest.raises(SmokeError, match=r"the prediction wrote ~/x: on Lambda only /tmp"):
        toy.run(SYSTEM.format("touch ~/x"))
    with pytest.raises(SmokeError, match="the prediction changed its own layer: on Lambda only /tmp"):
        toy.run(SYSTEM.format("touch $TREE/new").replace("$TREE", str(toy.tree)))


def test_beside_changed(toy):
    """The layer beside it may not be written to, either."""
    beside = toy.write("beside/other/data", "").parents[1]

    with pytest.raises(SmokeError, match="writes to its layer"):
        toy.run(f"open({str(beside / 'other' / 'data')!r}, 'w')", beside)


@pytest.mark.parametrize(
    ("found", "held", "left"),
    [
        (Terms(("unshare",), mounts=True), "no /dev/shm, no network, one core", ""),
        (Terms(("unshare",), mounts=False), "(no network", "what native code writes and shares)"),
        (NO_NAMESPACES, "(none of Python's own network calls", "shares, and its network)"),
    ],
)  # fmt: skip
def test_description(found, held, left, monkeypatch):
    """A report says which terms were held, and which were not."""
    monkeypatch.setattr(sys, "platform", "linux")
    text = found.describe("x86_64")

    assert held in text
    assert text.endswith(left or "memory)")
    assert "10,240 MB of memory" in text
    assert ("not held" in text) == bool(left)
    held_on_arm = found.describe("arm64").partition("not held")[0]
    assert ("the list of processors" in held_on_arm) == found.mounts
    assert "the list of processors" in found.describe("arm64")


@pytest.mark.skipif(sys.platform != "linux", reason="macOS has no namespaces")
@pytest.mark.parametrize(
    ("works", "expected"),
    [
        (["--mount"], ["--map-root-user", "--mount", "--net"]),
        ([], ["--map-root-user", "--net"]),
        (None, None),
    ],
)
def test_ladder(works, expected, monkeypatch):
    """What is not allowed is tried without; where nothing is, or there is no unshare, Python refuses."""

    def run(command, **_):
        if works is None:
            raise FileNotFoundError("unshare")
        allowed = "--map-root-user" in command and ("--mount" not in command or works)
        return subprocess.CompletedProcess(command, 0 if allowed else 1)

    terms.find_terms.cache_clear()
    monkeypatch.setattr(terms.subprocess, "run", run)
    try:
        found = terms.find_terms()
    finally:
        terms.find_terms.cache_clear()
    assert found == (
        Terms(("unshare", *expected, "--"), mounts="--mount" in expected) if expected else NO_NAMESPACES
    )


@pytest.mark.skipif(sys.platform != "linux", reason="macOS has no namespaces")
@pytest.mark.parametrize(("user", "options"), [(0, ("--mount",)), (1000, ("--map-root-user", "--mount"))])
def test_root_needs_no_user_namespace(user, options, monkeypatch):
    """In one it could not read others' private files."""
    terms.find_terms.cache_clear()
    monkeypatch.setattr(terms.os, "geteuid", lambda: user)
    monkeypatch.setattr(terms.subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 0))
    try:
        assert terms.find_terms() == Terms(("unshare", *options, "--net", "--"), mounts=True)
    finally:
        terms.find_terms.cache_clear()


def test_prefixes(tmp_path):
    """An interpreter needs its folder, and that of the interpreter that it is a link to."""
    real = tmp_path / "real" / "bin" / "python3"
    real.parent.mkdir(parents=True)
    real.touch()
    link = tmp_path / "venv" / "bin" / "python"
    link.parent.mkdir(parents=True)
    link.symlink_to(real)
    found = terms.list_prefixes(terms.Interpreter((str(link),), {}, "", emulated=False))
    assert found == [tmp_path / "venv", tmp_path / "real"]
