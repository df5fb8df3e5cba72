"""Memory for a model's files."""

import ctypes
from typing import Any


class PreallocatedBytes:
    """A ``bytes`` object that others fill: not zeroed first, and not copied into its final place.

    As C code makes them: ``PyBytes_FromStringAndSize`` without a string, written before anybody reads it.

    Attributes:
        content: the object.
        view: the same memory, writable.

    """

    def __init__(self, size: int) -> None:
        allocate = ctypes.pythonapi.PyBytes_FromStringAndSize
        allocate.restype, allocate.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.c_ssize_t)
        self.content: bytes = allocate(None, size)
        address = ctypes.pythonapi.PyBytes_AsString
        address.restype, address.argtypes = ctypes.c_void_p, (ctypes.py_object,)
        memory = (ctypes.c_char * size).from_address(address(self.content))
        memory.owner = self.content  # type: ignore[attr-defined] # kept alive for as long as the view is
        self.view = memoryview(memory).cast("B")


def copy_bytes(source: Any, target: memoryview) -> None:
    """Copy a buffer into a writable one of its size while other threads run.

    An assignment of slices keeps the interpreter's lock: imports would wait while a model is copied.
    """
    view = _View()
    ctypes.pythonapi.PyObject_GetBuffer(ctypes.py_object(source), ctypes.byref(view), 0)
    try:
        ctypes.memmove((ctypes.c_char * len(target)).from_buffer(target), view.address, len(target))
    finally:
        ctypes.pythonapi.PyBuffer_Release(ctypes.byref(view))


class _View(ctypes.Structure):
    """CPython's ``Py_buffer``, of which only the first field is read."""

    _fields_ = (
        ("address", ctypes.c_void_p),
        ("owner", ctypes.py_object),
        ("rest", ctypes.c_ssize_t * 9),
    )
