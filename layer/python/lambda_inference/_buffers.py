"""Memory for a model's files."""

import ctypes


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
