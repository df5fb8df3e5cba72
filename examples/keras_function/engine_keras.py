"""Keras on torch, over an architecture and weights that are only in memory."""

import io
import json
import os
from collections.abc import Iterator, Sequence
from typing import Any

# First: Keras chooses its backend, and writes its settings to a folder, while it is imported.
os.environ |= {"KERAS_BACKEND": "torch", "KERAS_HOME": "/dev/null"}

from lambda_inference import Model, Unavailable, tensors

tensors.ignore_import_warnings()

import h5py  # noqa: E402
import keras  # noqa: E402
import torch  # noqa: E402

ARCHITECTURE = "architecture.json"
WEIGHTS = "model.weights.h5"
LEAST = 4
"""Rows computed at once: of fewer, torch adds up products in another order."""

LAYERS = {
    "Activation", "Add", "Average", "BatchNormalization", "Concatenate", "Dense", "Dropout", "ELU", "Flatten",
    "GaussianDropout", "GaussianNoise", "InputLayer", "LayerNormalization", "LeakyReLU", "Maximum", "Minimum",
    "Multiply", "Normalization", "PReLU", "ReLU", "Rescaling", "Reshape", "Softmax", "Subtract",
}  # fmt: skip
"""The layers that an architecture may name. A fork may add more, but for those that run code or read files:
Lambda, TorchModuleWrapper, JaxLayer, FlaxLayer, TFSMLayer, and all that have a vocabulary."""

_CLASSES = {
    "keras": {"DTypePolicy", "Sequential"},
    "keras.src.models.functional": {"Functional"},
    "keras.layers": LAYERS,
    "keras.constraints": {"MaxNorm", "MinMaxNorm", "NonNeg", "UnitNorm"},
    "keras.initializers": {"Zeros"},
    "keras.regularizers": {"L1", "L1L2", "L2", "OrthogonalRegularizer"},
}  # fmt: skip
_ZEROS: dict[str, Any] = {
    "module": "keras.initializers",
    "class_name": "Zeros",
    "config": {},
    "registered_name": None,
}
_KERAS_TENSOR = "__keras_tensor__"
"""Where a functional model's layers are called with one another's outputs."""


def load(model: Model, threads: int) -> "Keras":
    """Return the engine with the model's ``architecture.json`` and ``model.weights.h5`` loaded."""
    return Keras(model, threads)


class Keras:
    """A network with one input, float32 rows, and one output, a probability for each label."""

    def __init__(self, model: Model, threads: int) -> None:
        torch.set_num_threads(threads)
        name = model.manifest.name
        architecture = parse_architecture(bytes(model.only(ARCHITECTURE)), name)
        self._network = keras.models.model_from_json(json.dumps(architecture))
        weights = NamedBytes(model.only(WEIGHTS), WEIGHTS)
        check_weights(weights, len(self._network.weights), name)
        self._network.load_weights(weights)

    def probabilities(self, rows: Sequence[Sequence[float]]) -> list[list[float]]:
        """Return each row's probability for each label."""
        padded = [*rows, *[rows[0]] * (LEAST - len(rows))]
        with torch.inference_mode():
            found: list[list[float]] = self._network(torch.tensor(padded), training=False).tolist()
        return found[: len(rows)]


class NamedBytes(io.BytesIO):
    """A file in memory that has a name, which Keras asks its path for.

    ``load_weights`` tells formats apart by ``str(path)``, and its reader takes a path or an ``io.BytesIO``.
    The layer's recipe stops a build with a Keras whose reader has changed.
    """

    def __init__(self, view: memoryview, name: str) -> None:
        super().__init__(view.obj)  # of bytes, which are not copied
        self._name = name

    def __str__(self) -> str:
        return self._name


def parse_architecture(data: bytes, name: str) -> dict[str, Any]:
    """Return an architecture that this Keras' major version saved, and that names only layers that compute.

    Keras' own safe mode refuses lambdas and what is not one of its classes; among these there are still some
    that read files, or torch's pickles. How the model was compiled is left out, and what its weights are
    before they are loaded: drawing random ones takes longer than loading.

    Raises:
        Unavailable: the message names the fault, and what to do.

    """
    try:
        architecture = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _refuse(name, f"{ARCHITECTURE} is not JSON ({type(error).__name__})") from None
    if not isinstance(architecture, dict):
        raise _refuse(name, f"{ARCHITECTURE} holds no object")
    has, saved = keras.__version__, _quote(architecture.get("keras_version", keras.__version__))
    if _get_major(saved) != _get_major(has):
        raise Unavailable(
            f"model {name} was saved with keras {saved}, and this function has {has}; save and publish it "
            f"again with keras {_get_major(has)}.x, or build the layer with {_get_major(saved)}.x"
        )
    architecture.pop("compile_config", None)
    for layer in _walk_objects(architecture):
        layer |= {key: _ZEROS for key in layer if key.endswith("_initializer")}
        module, kind = layer.get("module"), layer.get("class_name", _KERAS_TENSOR)
        if kind == _KERAS_TENSOR:
            continue
        # A registered class of that name would take precedence over the module's own.
        registered = layer.get("registered_name") not in {None, kind}
        if registered or not isinstance(module, str) or kind not in _CLASSES.get(module, ()):
            path = f"{_quote(module)}.{_quote(kind)}"
            raise _refuse(name, f"{ARCHITECTURE} names {path}, which engine_keras.py does not list")
    return architecture


def check_weights(file: io.BytesIO, count: int, name: str) -> None:
    """Check that an HDF5 file holds as many arrays as a network has, each in the file itself.

    Links, and virtual and external datasets, name other files; compressed ones may be larger than memory.
    Keras refuses those that it meets; here the whole file is checked first.

    Raises:
        Unavailable: the message names the fault.

    """
    arrays, room = 0, file.seek(0, os.SEEK_END)
    with h5py.File(file, "r") as opened:
        for found in _walk_datasets(opened, name):
            arrays += 1
            if found.external or found.is_virtual or found.dtype.kind not in "fiu":
                raise _refuse(name, f"{WEIGHTS} holds a dataset whose numbers are not in it")
            room -= found.nbytes
            if room < 0:
                raise _refuse(name, f"{WEIGHTS} holds arrays that are larger than itself")
    if arrays != count:
        raise _refuse(name, f"{WEIGHTS} holds {arrays} arrays, and {ARCHITECTURE} takes {count}")


def _walk_datasets(file: "h5py.File", name: str) -> "Iterator[h5py.Dataset]":
    """Yield every dataset of a file, no link followed and nothing twice."""
    seen = set()
    pending = [file["/"]]
    while pending:
        group = pending.pop()
        for key in group:
            link = group.get(key, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise _refuse(name, f"{WEIGHTS} holds a link ({type(link).__name__})")
            found = group[key]
            place = h5py.h5o.get_info(found.id).addr
            if place in seen or not isinstance(found, h5py.Group | h5py.Dataset):
                raise _refuse(name, f"{WEIGHTS} holds more than arrays in groups")
            seen.add(place)
            if isinstance(found, h5py.Group):
                pending.append(found)
            else:
                yield found


def _walk_objects(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every object inside a JSON value."""
    pending = [value]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            yield value  # which the caller may change
            pending.extend(value.values())
        elif isinstance(value, list):
            pending.extend(value)


def _get_major(version: str) -> str:
    return version.partition(".")[0]


def _quote(value: Any) -> str:
    """Return a file's value in a form that is safe in a message."""
    return ascii(value)[1:-1][:64] if isinstance(value, str) else type(value).__name__


def _refuse(name: str, reason: str) -> Unavailable:
    """Return the error of a model that is not loaded."""
    return Unavailable(
        f"model {name} is not loaded: {reason}. Save its architecture and weights again, from a model that "
        "is not compiled and has no code of its own, and publish it"
    )
