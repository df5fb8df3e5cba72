"""Numbers in, a module's outputs out: ``network.py`` has the module, ``settings.json`` its inputs."""

import ctypes
import os
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta

from lambda_inference import Array, BadRequest, BaseRequest, Deadline, Model, Prediction, tensors
from lambda_inference.threads import thread_count

MAX_ITEMS = int(os.environ.get("MAX_ITEMS", "10000"))
BATCH = 64
"""Items that are computed together, where their shapes are the same."""
SHORT = 64
"""Numbers of the longest output that stands in the record; longer ones are arrays."""
CODES: dict[str, Any] = {"torch.float32": "f", "torch.float64": "d", "torch.int32": "i", "torch.int64": "q"}


class ModuleRequest(BaseRequest, kw_only=True):
    """Items, each a value for every input."""

    data: Annotated[
        list[dict[str, Any]],
        Meta(
            min_length=1,
            max_length=MAX_ITEMS,
            description=f"a list of 1 to {MAX_ITEMS:,} objects with a value for each input of the module",
        ),
    ]


class Module:
    """A module of torch, whose inputs and outputs have the items as their first dimension."""

    Request: ClassVar[type[BaseRequest]] = ModuleRequest

    def __init__(self) -> None:
        # Imported while the model is on its way from S3.
        tensors.ignore_import_warnings()
        import torch

        from network import Network

        self._torch, self._kind = torch, Network

    def load(self, model: Model) -> None:
        """Load the weights, which are in memory and never on disk."""
        self._torch.set_num_threads(thread_count())
        settings = msgspec.json.decode(model.only("settings.json"))
        self._inputs: dict[str, str] = settings["inputs"]
        with tensors.skip_initialisation():
            self._network = self._kind(**settings["arguments"]).eval()
        self._network.load_state_dict(tensors.load_safetensors(model.only(".safetensors")), assign=True)

    def predict(self, request: ModuleRequest, deadline: Deadline) -> Iterator[Prediction]:
        """Yield a prediction an item, in input order."""
        for start, items in deadline.batches(request.data, BATCH):
            rows = [self._read(item, index) for index, item in enumerate(items, start)]
            groups: dict[Any, list[int]] = {}
            for place, row in enumerate(rows):
                groups.setdefault(tuple(value.shape for value in row.values()), []).append(place)
            found: dict[int, dict[str, Any]] = {}
            for places in groups.values():
                feed = {name: self._torch.stack([rows[one][name] for one in places]) for name in self._inputs}
                with self._torch.inference_mode():
                    outputs = name_outputs(self._network(**feed))
                for number, place in enumerate(places):
                    found[place] = {name: output[number] for name, output in outputs.items()}
            for place in range(len(items)):
                yield describe(start + place, found[place])

    def _read(self, item: dict[str, Any], index: int) -> dict[str, Any]:
        """Return an item's values as tensors; BadRequest if they are not the module's inputs."""
        field = f"data[{index}]"
        if item.keys() != self._inputs.keys():
            raise BadRequest(f"{field} takes a value for {', '.join(self._inputs)}", field=field)
        row = {}
        for name, kind in self._inputs.items():
            try:
                row[name] = self._torch.tensor(item[name], dtype=getattr(self._torch, kind))
            except (TypeError, ValueError, RuntimeError):
                takes = f"numbers ({kind}), or lists of them of the same length"
                raise BadRequest(f"{field}: {name} takes {takes}", field=field) from None
        return row


def name_outputs(found: Any) -> dict[str, Any]:
    """Return a module's outputs by name: its own, or ``output``, ``output_1`` and so on."""
    if isinstance(found, dict):
        return found
    many = found if isinstance(found, tuple | list) else [found]
    return {f"output_{number}" if number else "output": one for number, one in enumerate(many)}


def describe(index: int, outputs: dict[str, Any]) -> Prediction:
    """Return the prediction of an item: short outputs in its record, the others as arrays."""
    record, arrays = {"index": index}, {}
    for name, value in outputs.items():
        if (value.dim() <= 1 and value.numel() <= SHORT) or str(value.dtype) not in CODES:
            record[name] = value.tolist()
        else:
            laid = value.contiguous()
            data = ctypes.string_at(laid.data_ptr(), laid.numel() * laid.element_size())
            arrays[name] = [Array(data, CODES[str(laid.dtype)], tuple(laid.shape))]
    return Prediction(record, arrays)
