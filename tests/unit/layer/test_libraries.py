"""Libraries that a wheel lacks: taken from another wheel, or out with the plug-in that wants them."""

import importlib.util
import os
import sys
from pathlib import Path

import pytest
from support.packages import make_wheel

from layer.builder import build
from layer.builder.errors import RecipeError, SmokeError
from layer.builder.recipe import load, parse
from layer.builder.slim import elf
from layer.builder.target import HOST, get_target
from layer.builder.verify import check
from layer.builder.wheels.libraries import copy_libraries, find_carrier, find_member
from layer.builder.wheels.lock import Lock
from layer.builder.wheels.wheel import Wheel, cache_path

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the libraries are Linux's")

EXTENSION = Path(importlib.util.find_spec("regex._regex").origin)
MISSING = "libq.so.6"
LINKED = elf.strip(EXTENSION.read_bytes()).replace(b"libc.so.6\0", MISSING.encode() + b"\0")
"""An extension that is linked to a library that nobody has."""
RECIPE = 'name = "toy"\nengine = ""\nrequirements = ["toy==1.0"]\n{libraries}[smoke]\nimports = ["toy"]\n'


@pytest.fixture(autouse=True)
def index(tmp_path, monkeypatch):
    """Return the folder that is all pip knows."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return tmp_path / "index"


def make(folder: Path, source: str, libraries: str = ""):
    """Build the layer of a toy package whose extension lacks a library, and return its report."""
    make_wheel(folder / "index", "toy", {"toy/__init__.py": source, f"toy/{EXTENSION.name}": LINKED})
    (folder / "toy.toml").write_text(RECIPE.format(libraries=libraries))
    job = build.Job(load(str(folder / "toy.toml")), get_target(HOST), folder / "out", work=folder / "work")
    return build.build(job, lambda _: None)


@pytest.mark.check
def test_an_optional_plugin_goes(tmp_path):
    """One that cannot be loaded, and without which the package imports, is taken out and reported."""
    report = make(tmp_path, "try:\n    import toy._regex\nexcept ImportError:\n    pass\n")

    assert report.proven
    (row,) = (one for one in report.removed if one.step_or_rule == "plug-ins")
    assert MISSING in row.reason
    assert [file.path for file in report.files if file.path.startswith("toy/")] == ["toy/__init__.pyc"]


@pytest.mark.check
def test_what_is_linked_to_an_optional_plugin_goes_with_it(tmp_path):
    """A library that is linked to one that is taken out is taken out too, and the rest is proven."""
    plugin = LINKED.replace(MISSING.encode() + b"\0", b"libp.so.6\0")
    files = {"toy/__init__.py": "", "toy/libp.so.6": LINKED, "toy/libr.so.6": plugin}
    make_wheel(tmp_path / "index", "toy", files)
    (tmp_path / "toy.toml").write_text(RECIPE.format(libraries=""))
    recipe, work = load(str(tmp_path / "toy.toml")), tmp_path / "work"
    job = build.Job(recipe, get_target(HOST), tmp_path / "out", work=work)

    report = build.build(job, lambda _: None)

    assert report.proven
    assert [file.path for file in report.files if file.path.startswith("toy/")] == ["toy/__init__.pyc"]


@pytest.mark.check
def test_a_plugin_is_named_whatever_fails_without_it(tmp_path):
    """A package may do without its extension until something that this defines is used."""
    source = "try:\n    import toy._regex\nexcept ImportError:\n    pass\n"
    files = {
        "toy/__init__.py": f"{source}raise RuntimeError('no operator')\n",
        f"toy/{EXTENSION.name}": LINKED,
    }
    make_wheel(tmp_path / "index", "toy", files)
    (tmp_path / "smoke.py").write_text("def answer():\n    import toy\n")
    script = 'name = "toy"\nengine = ""\nrequirements = ["toy==1.0"]\n[smoke]\nscript = "smoke.py"\n'
    (tmp_path / "toy.toml").write_text(script)
    job = build.Job(
        load(str(tmp_path / "toy.toml")), get_target(HOST), tmp_path / "out", work=tmp_path / "work"
    )

    with pytest.raises(SmokeError, match=rf"(?s)no operator.*is linked to {MISSING}"):
        build.build(job, lambda _: None)


def test_advice_is_not_about_what_was_taken_out():
    """Of libraries that were taken out, the advice names what no wheel brought."""
    unlinked = {"toy/libp.so.6": [MISSING], "toy/libr.so.6": ["libp.so.6"]}

    lines = list(check.explain_unlinked(unlinked, lambda _: None))

    assert f'libraries = {{ "{MISSING}" = "NAME==VERSION" }}' in lines
    assert not any('"libp.so.6" =' in line for line in lines)


def test_advice_about_a_gpus_build():
    """No wheel is asked for that brings CUDA's libraries, but for another build; for others one is."""
    lacked = ["libcudart.so.13", "libc10_cuda.so", "libnvrtc.so.12", "libcurl.so.4", "libcups.so.2"]

    gpu, _, others, _ = list(check.explain_unlinked({"toy/x.so": lacked}, lambda _: None))[1:]

    assert gpu.startswith("libc10_cuda.so, libcudart.so.13, libnvrtc.so.12 belong to CUDA")
    assert "PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu" in gpu
    assert others == 'libraries = { "libcups.so.2" = "NAME==VERSION", "libcurl.so.4" = "NAME==VERSION" }'


def test_what_goes_with_it_is_one_line():
    """A library that lacks only removed ones is not a cause: one line has all of them."""
    unlinked = {"a/x.so": [MISSING], "a/y.so": ["x.so"], "a/z.so": ["x.so", "y.so"]}

    first, second, *_ = check.explain_unlinked(unlinked, lambda _: None)

    assert first == f"a/x.so was taken out: it is linked to {MISSING}, which the layer does not have"
    assert second.endswith("linked to what was taken out: a/y.so, a/z.so")


def test_a_needed_one_is_an_error(tmp_path):
    """Without it the package does not import: the error ends with what to write into the recipe."""
    make_wheel(tmp_path / "index", "carrier", {"carrier.libs/libq-0123abcd.so.6.1": b""})

    with pytest.raises(SmokeError) as refusal:
        make(tmp_path, "import toy._regex\n")

    assert f"it is linked to {MISSING}" in str(refusal.value)
    assert f'libraries = {{ "{MISSING}" = "NAME==VERSION" }}' in str(refusal.value)


@pytest.mark.check
@pytest.mark.parametrize("strategy", ["direct", "nested"])
def test_taken_from_another_wheel(strategy, tmp_path):
    """It comes into the layer's lib under the name that is asked for, and nothing else of that wheel."""
    carrier = {"carrier/__init__.py": "", "carrier.libs/libq-0123abcd.so.6": EXTENSION.read_bytes()}
    make_wheel(tmp_path / "index", "carrier", carrier)
    make_wheel(tmp_path / "index", "base")
    base = RECIPE.replace("toy", "base").format(libraries="")
    (tmp_path / "base.toml").write_text(base)
    keys = f'libraries = {{ "{MISSING}" = "carrier==1.0" }}\nstrategy = "{strategy}"\n'
    keys += f'base_layer = "{tmp_path}/base.toml"\n'

    report = make(tmp_path, f"import ctypes\nctypes.CDLL({MISSING!r})\n", keys)

    assert report.proven
    assert report.strategy == strategy
    assert (f"lib/{MISSING}", "layer") in [(file.path, file.place) for file in report.files]
    assert (tmp_path / "out" / "layer" / "lib" / MISSING).is_file()
    assert [wheel.name for wheel in report.wheels] == ["toy"]


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        (["a.libs/libgomp-a34b3233.so.1.0.0"], "a.libs/libgomp-a34b3233.so.1.0.0"),
        (["torch/lib/libgomp.so.1"], "torch/lib/libgomp.so.1"),
        (["a/libgomp.so.2", "a/libgomp-plugin.so.1", "a/liblibgomp.so.1"], None),
    ],
)
def test_names(members, expected):
    """A wheel has it under its own name or auditwheel's, of the same version."""
    assert find_member(members, "libgomp.so.1") == expected


@pytest.fixture
def lock(tmp_path):
    """Return the lock of two wheels, and their cache; the second one has a library."""
    wheels = [Wheel(name, "1.0", f"{name}-1.0-py3-none-any.whl", name * 64) for name in ("a", "b")]
    for wheel in wheels:
        folder = cache_path(tmp_path / "cache", wheel).parent
        make_wheel(folder, wheel.name, {f"{wheel.name}.libs/lib{wheel.name}-0123abcd.so.6.1": b"\x7fELF"})
    return Lock(tmp_path / "lock", tuple(wheels)), tmp_path / "cache"


def test_libraries_are_copied(lock, tmp_path):
    """Each from the wheel that the recipe names, in whatever spelling, under the name that is asked for."""
    copy_libraries({}, *lock, tmp_path / "lib")
    copy_libraries({"libb.so.6": "B==1.0", "liba.so.6": "a"}, *lock, tmp_path / "lib")
    assert {path.name: path.read_bytes() for path in (tmp_path / "lib").iterdir()} == {
        "liba.so.6": b"\x7fELF", "libb.so.6": b"\x7fELF",
    }  # fmt: skip
    with pytest.raises(RecipeError, match=r"a-1\.0-\S+ does not carry libb\.so\.6; .*: a\.libs/liba-"):
        copy_libraries({"libb.so.6": "a"}, *lock, tmp_path / "lib")


@pytest.mark.parametrize(
    ("name", "carrier"), [("libb.so.6", "b"), ("libgomp.so.1", "scikit-learn==1.7.2"), ("libc.so.6", None)]
)
def test_who_carries_a_library(name, carrier, lock):
    """A locked wheel, or one that is known to."""
    assert find_carrier(*lock, name) == carrier


def test_a_carrier_is_pinned():
    """Or it is a distribution of the layer anyway."""
    table = {"name": "mine", "requirements": ["a==1"], "libraries": {"libx.so": "b"}}

    with pytest.raises(RecipeError, match="libraries: 'b' is not pinned"):
        parse(table).contents("host")
    assert parse({**table, "libraries": {"libx.so": "A"}}).contents("host").requirements == ("a==1",)
    donating = parse({**table, "libraries": {"libx.so": "b==2"}}).contents("host")
    assert (donating.requirements, donating.donors) == (("a==1", "b==2"), {"b"})
