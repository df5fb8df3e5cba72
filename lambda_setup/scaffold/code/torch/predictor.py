"""Numbers in, a module's outputs out: ``network.py`` has the module, ``settings.json`` its inputs."""

import ctypes
from collections.abc import Iterator
from typing import Any, ClassVar

import msgspec

from lambda_inference import Array, BadRequest, BaseRequest, Deadline, Model, Prediction, tensors
from lambda_inference.threads import thread_count
from request import ModuleRequest, read_item

BATCH = 64
"""Items that are computed together, where their shapes are the same."""
SHORT = 64
"""Numbers of the longest output that stands in the record; longer ones are arrays."""
CODES: dict[str, Any] = {
    "torch.float32": "f", "torch.float64": "d", "torch.int32": "i", "torch.int64": "q", "torch.uint8": "B"
}  # fmt: skip


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
        self._inputs: dict[str, tuple[str, int]] = settings["inputs"]
        with tensors.skip_initialisation():
            self._network = self._kind(**settings["arguments"]).eval()
        self._network.load_state_dict(tensors.load_safetensors(model.only(".safetensors")), assign=True)

    def predict(self, request: ModuleRequest, deadline: Deadline) -> Iterator[Prediction]:
        """Yield a prediction an item, in input order."""
        for start, items in deadline.batches(request.data, BATCH):
            rows = [
                read_item(self._torch, self._inputs, item, f"data[{index}]")
                for index, item in enumerate(items, start)
            ]
            groups: dict[Any, list[int]] = {}
            for place, row in enumerate(rows):
                groups.setdefault(tuple(value.shape for value in row.values()), []).append(place)
            found: dict[int, dict[str, Any]] = {}
            for places in groups.values():
                feed = {name: self._torch.stack([rows[one][name] for one in places]) for name in self._inputs}
                outputs = self._run(feed, [f"data[{start + place}]" for place in places])
                for number, place in enumerate(places):
                    found[place] = {name: output[number] for name, output in outputs.items()}
            for place in range(len(items)):
                yield describe(start + place, found[place])

    def _run(self, feed: dict[str, Any], fields: list[str]) -> dict[str, Any]:
        """Return the module's outputs; BadRequest if it refuses its inputs' values or shapes."""
        try:
            with self._torch.inference_mode():
                return name_outputs(self._network(**feed))
        except (IndexError, RuntimeError, ValueError) as error:
            if "allocat" in str(error):  # there is too little memory
                raise
            which = fields[0] if len(fields) == 1 else f"one of {fields[0]} to {fields[-1]}"
            reason = str(error).partition("\n")[0][:200]
            raise BadRequest(f"{which} is refused by the module: {reason}", field=fields[0]) from error


def name_outputs(found: Any) -> dict[str, Any]:
    """Return a module's outputs by name: its own, or ``output``, ``output_1`` and so on."""
    if isinstance(found, dict):
        return found
    many = found if isinstance(found, tuple | list) else [found]
    return {f"output_{number}" if number else "output": one for number, one in enumerate(many)}


def widen(value: Any) -> Any:
    """Return a tensor of a type that arrays have, with all its values."""
    if str(value.dtype) in CODES:
        return value
    if value.dtype.is_floating_point:
        return value.float()
    return value.byte() if str(value.dtype) == "torch.bool" else value.int()


def describe(index: int, outputs: dict[str, Any]) -> Prediction:
    """Return the prediction of an item: short outputs in its record, the others as arrays."""
    record, arrays = {"index": index}, {}
    for name, value in outputs.items():
        if value.dim() <= 1 and value.numel() <= SHORT:
            record[name] = value.tolist()
        else:
            laid = widen(value).contiguous()
            data = ctypes.string_at(laid.data_ptr(), laid.numel() * laid.element_size())
            arrays[name] = [Array(data, CODES[str(laid.dtype)], tuple(laid.shape))]
    return Prediction(record, arrays)
