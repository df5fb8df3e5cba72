"""BLIS's matrix product for thinc, by the library inside blis.cy; the original brings a second copy of it."""

import ctypes
from typing import Any

import numpy as np
from blis import cy


def _address(capsule: Any) -> Any:
    """Return the C function that Cython exports as a capsule."""
    name, pointer = ctypes.pythonapi.PyCapsule_GetName, ctypes.pythonapi.PyCapsule_GetPointer
    name.argtypes, name.restype = [ctypes.py_object], ctypes.c_char_p
    pointer.argtypes, pointer.restype = [ctypes.py_object, ctypes.c_char_p], ctypes.c_void_p
    return pointer(capsule, name(capsule))


_sgemm = ctypes.CFUNCTYPE(
    None,
    *[ctypes.c_int] * 5,
    ctypes.c_float,
    *[ctypes.c_void_p, ctypes.c_int] * 2,
    ctypes.c_float,
    ctypes.c_void_p,
    ctypes.c_int,
)(_address(cy.__pyx_capi__["sgemm"]))


def gemm(
    left: Any,
    right: Any,
    out: Any = None,
    trans1: bool = False,
    trans2: bool = False,
    alpha: float = 1.0,
    beta: float = 1.0,
) -> Any:
    """Return the product of two float32 matrices in C order, each transposed first if asked."""
    rows, inner = left.shape[::-1] if trans1 else left.shape
    inner_too, columns = right.shape[::-1] if trans2 else right.shape
    if inner != inner_too:
        raise ValueError(f"the product of ({rows}, {inner}) and ({inner_too}, {columns}) is not defined")
    if out is None:
        out = (np.zeros if beta else np.empty)((rows, columns), dtype="f")
    for matrix in (left, right, out):
        if matrix.dtype != np.float32 or not matrix.flags.c_contiguous:
            raise ValueError("blis.gemm takes float32 matrices in C order")
    if out.shape != (rows, columns):
        raise ValueError(f"the product has the shape ({rows}, {columns}), not {out.shape}")
    _sgemm(
        trans1, trans2, rows, columns, inner, alpha,
        left.__array_interface__["data"][0], left.shape[1],
        right.__array_interface__["data"][0], right.shape[1],
        beta, out.__array_interface__["data"][0], columns,
    )  # fmt: skip
    return out
