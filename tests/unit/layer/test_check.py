"""Whether a tree's libraries would load; what each of them needs is made up, but for two real ones."""

import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

from layer.builder.errors import CheckError
from layer.builder.slim.elf import Needs, is_elf
from layer.builder.target import get_target
from layer.builder.verify import check as checks
from layer.builder.verify.check import check

ARM = get_target("python3.13-arm64")


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """Return a function that makes a tree of libraries, which need what they are said to."""
    made: dict[Path, Needs] = {}
    monkeypatch.setattr(checks, "read_needs", made.__getitem__)

    def make(**libraries: Needs) -> Path:
        for name, needs in libraries.items():
            path = tmp_path / "pkg" / f"{name}.so"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"\x7fELF")
            made[path] = needs
        return tmp_path

    return make


def needs(*libraries, machine="aarch64", **versions) -> Needs:
    """Return needs; versions of libm_so_6 are those of libm.so.6."""
    spelled = {name.replace("stdcxx", "stdc++").replace("_so_", ".so."): v for name, v in versions.items()}
    return Needs(machine, libraries, spelled)


class TestFaults:
    """What would not load."""

    @pytest.mark.parametrize(
        ("need", "message"),
        [
            (needs(machine="x86_64"), r"pkg/a\.so is for x86_64, not aarch64"),
            (needs(libc_so_6=("GLIBC_2.17", "GLIBC_2.35")),
             r"pkg/a\.so needs GLIBC_2\.35 of libc\.so\.6; python3\.13 offers GLIBC_2\.34"),
            (needs(libm_so_6=("GLIBC_2.38",)),
             r"pkg/a\.so needs GLIBC_2\.38 of libm\.so\.6; python3\.13 offers GLIBC_2\.34"),
            (needs(libstdcxx_so_6=("GLIBCXX_3.4.30",)), r"GLIBCXX_3\.4\.30 .* offers GLIBCXX_3\.4\.29"),
            (needs(libstdcxx_so_6=("CXXABI_1.3.15",)), r"CXXABI_1\.3\.15 .* offers CXXABI_1\.3\.13"),
            (needs(libgcc_s_so_1=("GCC_14.0.0",)), r"GCC_14\.0\.0 .* offers GCC_11\.0"),
            (needs("libgomp.so.1"), r"pkg/a\.so is linked to libgomp\.so\.1, which neither the layer nor"),
        ],
        ids=["machine", "glibc", "libm", "libstdc++", "C++ ABI", "libgcc", "library"],
    )  # fmt: skip
    def test_named(self, need, message, tree):
        """Each fault is told with file, symbol and what the runtime has."""
        with pytest.raises(CheckError, match=message):
            check(tree(a=need), ARM)

    def test_all(self, tree):
        """All faults are told at once, with what to do."""
        with pytest.raises(
            CheckError, match=r"(?s)b\.so is linked to .*a\.so is for.*libraries = .*Pin versions"
        ):
            check(tree(a=needs(machine="x86_64"), b=needs("libx.so"), c=needs()), ARM)

    @pytest.mark.parametrize("size", [16, 64, -1], ids=["header cut", "no more than it", "end cut"])
    def test_damaged(self, size, tmp_path):
        """A damaged library is told by its path in the tree."""
        core = Path(find_spec("msgspec._core").origin).read_bytes()
        (tmp_path / "cut.so").write_bytes(b"\x7fELF" + core[4:][: size - 4] if size > 0 else core[:-90_000])

        with pytest.raises(CheckError, match=r"\n  cut\.so is damaged"):
            check(tmp_path, ARM)


class TestFound:
    """What would load."""

    def test_system(self, tree):
        """The runtime's own libraries, up to its own versions, will do; the newest ones are reported."""
        root = tree(
            a=needs("libc.so.6", "libm.so.6", "libstdc++.so.6", "ld-linux-aarch64.so.1",
                    libc_so_6=("GLIBC_2.9", "GLIBC_2.17"), libstdcxx_so_6=("CXXABI_1.3.13", "GLIBCXX_3.4.9")),
            b=needs("libmvec.so.1", libc_so_6=("GLIBC_2.34", "GLIBC_PRIVATE")),
        )  # fmt: skip

        assert [(one.name, one.result) for one in check(root, ARM)] == [
            ("shared libraries", "2, all for aarch64"),
            ("newest CXXABI", "1.3.13 (pkg/a.so); offered: 1.3.13"),
            ("newest GLIBC", "2.34 (pkg/b.so); offered: 2.34"),
            ("newest GLIBCXX", "3.4.9 (pkg/a.so); offered: 3.4.29"),
        ]

    def test_own(self, tree):
        """A library that the layer brings may be linked to, whatever versions it has."""
        root = tree(a=needs("own.so", **{"own.so": ("GLIBCXX_3.4.99",)}), own=needs())

        assert check(root, ARM)[0].result == "2, all for aarch64"

    def test_real(self, tmp_path):
        """A library that runs here would load here, and not on the other machine."""
        core = Path(find_spec("msgspec._core").origin)
        if not is_elf(core):
            pytest.skip("no ELF on this system")
        shutil.copy(core, tmp_path)
        (tmp_path / "text.py").write_text("x = 1\n")
        host = get_target("host")
        other = get_target(f"python3.13-{'x86_64' if host.architecture == 'arm64' else 'arm64'}")

        assert check(tmp_path, host)[0].result == f"1, all for {host.machine}"
        with pytest.raises(CheckError, match=rf"is for {host.machine}, not {other.machine}"):
            check(tmp_path, other)
