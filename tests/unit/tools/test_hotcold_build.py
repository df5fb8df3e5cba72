"""The committed libraries have the hashes that stand beside them, and need nothing that a machine lacks."""

import pytest

from layer.builder.slim.elf import read_needs
from tools import hotcold

LIBRARIES = [hotcold.FOLDER / f"libhotcold-{architecture}.so" for architecture in hotcold.ARCHITECTURES]


def test_hashes() -> None:
    """SHA256SUMS is what sha256sum says of them; `python -m tools.hotcold` writes both."""
    assert hotcold.SUMS.read_text() == hotcold.format_sums(LIBRARIES)


@pytest.mark.parametrize(("path", "architecture"), list(zip(LIBRARIES, hotcold.ARCHITECTURES, strict=True)))
def test_needs(path, architecture: str) -> None:
    """They need the C library alone, of no newer version than the one they are built for."""
    needs = read_needs(path)
    assert needs.machine == architecture
    assert needs.libraries == ("libc.so.6",)
    versions = [
        tuple(map(int, name.removeprefix("GLIBC_").split("."))) for name in needs.versions["libc.so.6"]
    ]
    assert max(versions) <= tuple(map(int, hotcold.GLIBC.split(".")))


@pytest.mark.parametrize("path", LIBRARIES, ids=hotcold.ARCHITECTURES)
def test_it_is_initialised_first(path) -> None:
    """Before the constructors of whatever is loaded with it: they may be cold."""
    content = path.read_bytes()
    assert hotcold.initialise_first(content) == content
