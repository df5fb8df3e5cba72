"""Memory for a model's files, and how it is filled."""

import sys

import pytest
from obstore import Bytes

from lambda_inference._buffers import PreallocatedBytes, copy_bytes

CONTENT = bytes(range(256)) * 5


@pytest.mark.parametrize("source", [CONTENT, bytearray(CONTENT), memoryview(CONTENT), Bytes(CONTENT)])
def test_what_is_copied_is_what_was_there(source: object) -> None:
    """Whatever gives its bytes, they arrive, and nothing beside them changes."""
    file = PreallocatedBytes(len(CONTENT) + 2)
    file.view[0] = file.view[-1] = 7
    copy_bytes(source, file.view[1:-1])
    assert file.content == b"\x07" + CONTENT + b"\x07"


def test_nothing_keeps_the_source() -> None:
    """A copy leaves no reference behind."""
    source, file = bytes(bytearray(CONTENT)), PreallocatedBytes(len(CONTENT))
    before = sys.getrefcount(source)
    copy_bytes(source, file.view)
    assert sys.getrefcount(source) == before


def test_what_has_no_bytes_is_refused() -> None:
    """An object without a buffer is a TypeError, and no crash."""
    with pytest.raises(TypeError, match="bytes-like"):
        copy_bytes("text", PreallocatedBytes(4).view)
