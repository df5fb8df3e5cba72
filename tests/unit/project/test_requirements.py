"""requirements.lock: what ``make`` installs, each file by its hash."""

import re
import tomllib

from support.project import ROOT

ENTRY = re.compile(
    r"([A-Za-z0-9._-]+)==(\S+?)(?: ; [^\\\n]+)? \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)"
)
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def read_lock() -> dict[str, str]:
    """Return the versions of the lock, by names; nothing but such entries may be in it."""
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    header, _, rest = text.partition("\n")
    assert header.startswith("#")
    assert ENTRY.sub("", rest) == ""
    return {normalise(name): version for name, version, _ in ENTRY.findall(rest)}


def normalise(name: str) -> str:
    """Return a distribution's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_requirement_is_locked() -> None:
    """At the version that pyproject.toml pins, and everything has a hash."""
    locked = read_lock()
    for line in [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"], "OpenNMT-py==3.5.1"]:
        name, operator, version = re.fullmatch(r"([\w.-]+)(?:\[\w+\])?(==|>=)([\w.]+)", line).groups()
        assert normalise(name) in locked, line
        assert operator == ">=" or locked[normalise(name)] == version, line


def test_torch_is_not_locked_and_what_it_imports_is() -> None:
    """The Makefile names its CPU build; its dependencies are files like any other."""
    locked = read_lock()
    assert not [name for name in locked if name == "torch" or name.startswith(("nvidia", "triton", "cuda"))]
    assert locked.keys() >= {"filelock", "fsspec", "jinja2", "networkx", "sympy", "typing-extensions"}


def test_make_installs_by_hash() -> None:
    """All but torch, and the project itself, which takes nothing from an index."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    installs = re.findall(r"\$\(PIP\) (.*?)(?: 2>|\s*\\?$)", makefile, re.MULTILINE)
    assert [one for one in installs if "torch" not in one.lower().replace("torch.log", "")] == [
        "--quiet --no-deps --require-hashes --only-binary :all: --requirement requirements.lock",
        "--quiet --no-deps --no-build-isolation --editable .",
    ]
