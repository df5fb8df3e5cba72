"""Wheels: fetched once, installed by pip itself from a cache; nothing here reaches a network."""

import hashlib
import sys
import zipfile
from pathlib import Path

import pytest

from layer.builder.errors import CudaBuildError, ResolveError
from layer.builder.target import get_target
from layer.builder.wheels.install import describe_wheels, ensure_tool, fetch, install
from layer.builder.wheels.lock import Lock
from layer.builder.wheels.tool import run_pip
from layer.builder.wheels.wheel import Wheel, cache_path

HOST = get_target("host")
INDEX = "https://host/cpu"


def wheel(folder: Path, name: str = "toy", version: str = "1.0+cpu", **files: str) -> Wheel:
    """Make a wheel with a module, and what else there shall be, and return how a lock names it."""
    file = f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    contents = {
        f"{name}.py": "x = 1\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": "",
        **files,
    }
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / file, "w") as archive:
        for path, text in contents.items():
            archive.writestr(path, text)
    return Wheel(name, version, file, hashlib.sha256((folder / file).read_bytes()).hexdigest())


def lock(*wheels: Wheel) -> Lock:
    """Return a lock of these wheels."""
    return Lock(Path("recipes/mine/host.lock"), wheels)


class FakePip:
    """pip, which fetches from a folder, after it has failed some times."""

    def __init__(self, folder: Path, failures: int = 0):
        self.folder, self.failures = folder, failures
        self.calls: list[list[str]] = []
        self.pins = ""

    def __call__(self, arguments):
        self.calls.append(list(arguments))
        self.pins = Path(arguments[arguments.index("-r") + 1]).read_text()
        if len(self.calls) <= self.failures:
            raise ResolveError(f"No matching distribution: failure {len(self.calls)}")
        for path in self.folder.iterdir():
            destination = Path(arguments[arguments.index("--dest") + 1])
            (destination / path.name).write_bytes(path.read_bytes())
        return ""


@pytest.fixture
def cache(tmp_path):
    """Return a cache, in a folder whose name a requirements file could misread."""
    return tmp_path / "a -b #c ${HOME} é;d" / "wheels"


@pytest.fixture
def cached(tmp_path, cache):
    """Return a function that makes a wheel, fetches it into the cache, and returns its lock."""

    def make(**fields):
        locked = lock(wheel(tmp_path / "up", **fields))
        fetch(locked, HOST, "", cache, lambda _: None, FakePip(tmp_path / "up"))
        return locked

    return make


class TestFetch:
    """Into the cache."""

    def test_once(self, tmp_path, cache):
        """What is there is not fetched again; the rest is, by its hash and without dependencies."""
        said, run = [], FakePip(tmp_path / "up")
        one = wheel(tmp_path / "up", "one")

        assert fetch(lock(one), HOST, "", cache, said.append, run) == 1
        assert fetch(lock(one), HOST, "", cache, said.append, run) == 0
        two = wheel(tmp_path / "up", "two")
        assert fetch(lock(one, two), HOST, "", cache, said.append, run) == 1

        assert said == ["fetching 1 wheels"] * 2
        assert len(run.calls) == 2
        assert run.pins == f"two==1.0+cpu --hash=sha256:{two.sha256}\n"
        assert {"download", "--no-deps", "--require-hashes", "--only-binary=:all:"} <= set(run.calls[0])
        assert {path.name for path in cache.rglob("*.whl")} == {one.file, two.file}
        sizes = [(tmp_path / "up" / each.file).stat().st_size for each in (one, two)]
        assert [fact.bytes for fact in describe_wheels(lock(one, two), cache)] == sizes

    def test_cpu_index(self, tmp_path, cache):
        """Where pip does not find it, the index of CPU builds is asked as well."""
        run = FakePip(tmp_path / "up", failures=1)

        assert fetch(lock(wheel(tmp_path / "up")), HOST, INDEX, cache, lambda _: None, run) == 1
        assert run.calls[1] == [*run.calls[0], "--extra-index-url", INDEX]

    @pytest.mark.parametrize("index", ["", INDEX])
    def test_not_found(self, index, tmp_path, cache):
        """Where nobody has it, what pip said first is told with what to do, and the cache stays empty."""
        run = FakePip(tmp_path / "up", failures=2)

        with pytest.raises(ResolveError, match=r"failure 1\nIf .* lock again: remove host\.lock"):
            fetch(lock(wheel(tmp_path / "up")), HOST, index, cache, lambda _: None, run)
        assert list(cache.iterdir()) == []

    def test_wrong_hash(self, tmp_path, cache, monkeypatch):
        """A file of the right name with another hash is refused by pip itself; the cache stays empty."""
        locked = wheel(tmp_path / "up")
        wheel(tmp_path / "up", **{"other.py": ""})
        monkeypatch.setenv("PIP_NO_INDEX", "1")
        monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "up"))

        with pytest.raises(ResolveError, match="HASH"):
            fetch(lock(locked), HOST, "", cache, lambda _: None, run_pip)
        assert list(cache.iterdir()) == []


class TestInstall:
    """From the cache into a tree, by pip itself."""

    def test_files(self, cached, cache, tmp_path):
        """The wheel's files are there, as sources, wherever the cache is; commands are not."""
        script = "toy-1.0+cpu.data/scripts/toy"
        locked = cached(**{"toy/data.txt": "", script: "#!python\n"})
        install(locked, HOST, cache, tmp_path / "tree")

        found = {path.relative_to(tmp_path / "tree").as_posix() for path in (tmp_path / "tree").rglob("*")}
        assert {"toy.py", "toy/data.txt"} <= found
        assert not [path for path in found if path.startswith("bin") or path.endswith(".pyc")]

    def test_damaged(self, cached, cache, tmp_path):
        """A file in the cache that is not what was fetched is refused, and fetched anew the next time."""
        locked = cached()
        (file,) = cache.rglob("*.whl")
        file.write_bytes(file.read_bytes()[:-1] + b"x")

        with pytest.raises(ResolveError, match="HASH"):
            install(locked, HOST, cache, tmp_path / "tree")
        assert not file.exists()
        assert fetch(locked, HOST, "", cache, lambda _: None, FakePip(tmp_path / "up")) == 1
        install(locked, HOST, cache, tmp_path / "tree")

    def test_the_others_stay(self, cache, tmp_path):
        """What is as it was fetched is not fetched again, whatever pip has refused."""
        wheels = [wheel(tmp_path / "up", name) for name in ("good", "damaged", "missing")]
        places = [cache_path(cache, one) for one in wheels]
        for one, place in zip(wheels[:2], places[:2], strict=True):
            place.parent.mkdir(parents=True)
            place.write_bytes((tmp_path / "up" / one.file).read_bytes())
        places[1].write_bytes(b"damaged")

        def refuse(_):
            raise ResolveError("no room")

        with pytest.raises(ResolveError, match="no room"):
            install(lock(*wheels), HOST, cache, tmp_path / "tree", refuse)
        assert [place.exists() for place in places] == [True, False, False]

    def test_hidden_cuda(self, cached, cache, tmp_path):
        """A wheel that brings CUDA without having said so is refused by the library that shows it."""
        locked = cached(**{"torch/lib/libtorch_cuda_linalg.so": ""})

        with pytest.raises(CudaBuildError, match=r"contain libtorch_cuda_linalg\.so, .* pin a CPU build"):
            install(locked, HOST, cache, tmp_path / "tree")


class TestTool:
    """What the builder itself needs."""

    def test_there(self, tmp_path):
        """What can be imported is not installed."""
        ensure_tool("json", "json==1", tmp_path, run=None)

    def test_installed(self, tmp_path, monkeypatch):
        """What cannot is installed once, into its folder, and importable then."""
        monkeypatch.setattr(sys, "path", [*sys.path])
        calls = []

        def run(arguments):
            calls.append(arguments)
            folder = Path(arguments[arguments.index("--target") + 1]) / "toy_tool_of_a_test"
            folder.mkdir()
            (folder / "__init__.py").touch()

        for _ in range(2):
            ensure_tool("toy_tool_of_a_test", "toy==1", tmp_path, run)
        assert [call[-1] for call in calls] == ["toy==1"]
        __import__("toy_tool_of_a_test")
