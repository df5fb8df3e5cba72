"""A network in ONNX Runtime and its tokenizer, both from memory: texts in, the network's outputs out."""

from collections.abc import Sequence
from typing import Any

import msgspec

from lambda_inference import Deadline, Model
from lambda_inference.networks import open_network
from lambda_inference.texts import load_tokenizer, pad_batch, plan_batches

BUDGET = 4096
"""Most tokens of a batch, padding included. Larger batches take more memory and no less time."""


class Network:
    """An exported network; ``settings`` are the model's ``settings.json``."""

    def __init__(self) -> None:
        # Imported while the model is on its way from S3.
        import numpy as np
        import onnxruntime  # noqa: F401 - for open_network
        import tokenizers  # noqa: F401 - for load_tokenizer

        self.numpy = np

    def load(self, model: Model) -> None:
        """Load the network, its weights, its tokenizer and its settings."""
        self.settings: dict[str, Any] = msgspec.json.decode(model.only("settings.json"))
        self.tokenizer: Any = load_tokenizer(model, self.settings["longest"])
        self._session = open_network(model)
        self._inputs = [one.name for one in self._session.get_inputs()]
        self.shapes: list[list[Any]] = [one.shape for one in self._session.get_outputs()]

    def run(self, encodings: Sequence[Any], deadline: Deadline) -> list[list[Any]]:
        """Return the outputs for each encoded text, in order; those of tokens are padded at their ends."""
        rows: list[list[Any]] = [[] for _ in encodings]
        done = 0
        for batch in plan_batches([len(one.ids) for one in encodings], BUDGET):
            deadline.check(done, len(encodings))
            done += len(batch)
            ids, mask = pad_batch([encodings[index].ids for index in batch], self.settings["padding"])
            types, _ = pad_batch([encodings[index].type_ids for index in batch])
            columns = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
            feed = {name: self.numpy.array(columns[name], self.numpy.int64) for name in self._inputs}
            outputs = self._session.run(None, feed)
            for place, index in enumerate(batch):
                rows[index] = [output[place] for output in outputs]
        return rows
