"""Tensors that are views of a model's bytes, without a copy: for engines on torch.

A pickle's classes are constructed only if ``weights_only`` or the caller allows them; no other code runs.
"""

import io
import json
import os
import struct
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lambda_inference._errors import Unavailable

if TYPE_CHECKING:
    import torch

__all__ = ["ignore_import_warnings", "load_checkpoint", "load_safetensors", "skip_initialisation"]

_DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32",
    "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip
"""Safetensors' names of torch's types."""


def ignore_import_warnings() -> None:
    """Ignore torch's warnings that a layer has neither sources nor numpy; it needs neither."""
    for message in ("Unable to retrieve source for @torch.jit._overload", "Failed to initialize NumPy"):
        warnings.filterwarnings("ignore", message=message)


@contextmanager
def skip_initialisation() -> Iterator[None]:
    """Build torch's modules without first values: the weights that replace them take no second memory.

    ::

        with skip_initialisation():
            network = Network()
        network.load_state_dict(load_safetensors(model.only(".safetensors")), assign=True)

    A meta device does so, too, but imports 820 modules and takes a second.
    """
    import torch

    # Attention imports its functions by name.
    modules = (torch.nn.init, torch.nn.modules.activation)
    originals = {
        (module, name): function
        for module in modules
        for name, function in vars(module).items()
        if name.endswith("_") and name[0] != "_" and getattr(torch.nn.init, name, None) is function
    }
    for module, name in originals:
        setattr(module, name, lambda tensor, *_, **__: tensor)
    try:
        yield
    finally:
        for (module, name), function in originals.items():
            setattr(module, name, function)


def load_checkpoint(data: memoryview, allowed: Sequence[type] = ()) -> Any:
    """Load a file of ``torch.save``; its tensors are views of ``data`` and keep it alive.

    A file in torch's format before 1.6 is read with a copy.

    Args:
        data: the file.
        allowed: classes that it may hold besides tensors and plain containers.

    Raises:
        Unavailable: the file is not a checkpoint, or holds other objects.

    """
    import pickle

    import torch

    try:
        with torch.serialization.safe_globals(list(allowed)):
            file: Any = _File(data)
            if not (records := _index_records(data)):
                return torch.load(file, map_location="cpu", weights_only=True)
            # What torch.load(mmap=True) does with a file's name; it takes no memory.
            return torch.serialization._load(  # type: ignore[no-untyped-call] # noqa: SLF001
                torch._C.PyTorchFileReader(file),  # noqa: SLF001
                "cpu",
                torch._weights_only_unpickler,  # noqa: SLF001
                overall_storage=_Storages(data, records),
                encoding="utf-8",
            )
    except pickle.UnpicklingError:
        raise Unavailable(
            "the model's checkpoint holds more than weights, and is not loaded; "
            "`python -m lambda_setup model publish` names what, and how to convert it"
        ) from None
    except Unavailable:
        raise
    except Exception as error:
        raise Unavailable(
            f"the model's checkpoint cannot be read ({type(error).__name__}); save and publish it again"
        ) from error


def load_safetensors(data: memoryview) -> "dict[str, torch.Tensor]":
    """Load a safetensors file as tensors by name; they are views of ``data``.

    Source of the format: https://huggingface.co/docs/safetensors, "Format".

    Raises:
        Unavailable: it is not a safetensors file.

    """
    import torch

    try:
        start = 8 + int.from_bytes(data[:8], "little")
        header = json.loads(bytes(data[8:start]))
        tensors = {}
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            begin, end = entry["data_offsets"]
            # A file that ends early does not fill the shape.
            storage = _view_storage(data[start + begin : start + end])
            dtype = getattr(torch, _DTYPES[entry["dtype"]])
            tensors[name] = torch.empty(0, dtype=dtype).set_(storage).view(entry["shape"])
    except (ValueError, LookupError, TypeError, AttributeError, RuntimeError) as error:
        raise Unavailable("the model's safetensors cannot be read; save and publish them again") from error
    return tensors


class _File(io.RawIOBase):
    """A file over memory; ``io.BytesIO`` would copy it."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._position = max(
            0, offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: len(self._data)}[whence]
        )
        return self._position

    def readinto(self, buffer: Any) -> int:
        part = self._data[self._position : self._position + len(buffer)]
        buffer[: len(part)] = part
        self._position += len(part)
        return len(part)


class _Storages:
    """The records of a checkpoint as storages, by their position in the file."""

    def __init__(self, data: memoryview, sizes: dict[int, int]) -> None:
        self._data = data
        self._sizes = sizes

    def __getitem__(self, part: slice) -> "torch.UntypedStorage":
        if part.stop - part.start > self._sizes[part.start]:
            raise ValueError("a tensor is larger than its record in the checkpoint")
        return _view_storage(self._data[part])


def _index_records(data: memoryview) -> dict[int, int]:
    """Return the position and size of each record of a checkpoint; none for the format before 1.6."""
    if bytes(data[:4]) != b"PK\x03\x04":
        return {}
    with zipfile.ZipFile(_File(data)) as archive:
        members = archive.infolist()
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise ValueError(
            "the checkpoint is compressed"
        )  # torch never does, and a small file could expand to any size
    sizes = {}
    for member in members:
        name, extra = struct.unpack_from("<HH", data, member.header_offset + 26)
        start = member.header_offset + 30 + name + extra
        if member.file_size > len(data) - start:  # torch allocates what is claimed before it reads
            raise ValueError(f"{member.filename} is longer than the checkpoint")
        sizes[start] = member.file_size
    return sizes


def _view_storage(data: memoryview) -> "torch.UntypedStorage":
    import torch

    if not data:
        return torch.UntypedStorage(0)  # type: ignore[no-untyped-call]
    with warnings.catch_warnings():
        # A model's bytes are read-only, and nothing here writes to its weights.
        warnings.filterwarnings("ignore", message="The given buffer is not writable")
        return torch.frombuffer(data, dtype=torch.uint8).untyped_storage()


def __getattr__(name: str) -> Any:
    from lambda_inference._deprecated import resolve

    successors = {
        "checkpoint": (load_checkpoint, f"from {__name__} import load_checkpoint"),
        "safetensors": (load_safetensors, f"from {__name__} import load_safetensors"),
    }
    return resolve(__name__, name, successors)
