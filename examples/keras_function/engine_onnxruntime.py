"""ONNX Runtime, over a network that is only in memory."""

from collections.abc import Sequence

import numpy as np
from onnxruntime import InferenceSession, SessionOptions

from lambda_inference import Model, Unavailable


def load(model: Model, threads: int) -> "OnnxRuntime":
    """Return the engine with the model's one ``*.onnx`` loaded."""
    return OnnxRuntime(model, threads)


class OnnxRuntime:
    """A network with one input, float32 rows, and as its first output a probability for each label."""

    def __init__(self, model: Model, threads: int) -> None:
        options = SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # The cores are others' too, and a waiting thread would keep one.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # A network may name files for its weights, and ONNX Runtime would read them, from the current folder
        # on: here there are none.
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", "/dev/null")
        network = model.only(".onnx").obj
        try:
            self._session = InferenceSession(network, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's exceptions have no base class of their own
            raise Unavailable(
                f"ONNX Runtime does not load the network of {model.manifest.name}: {error}. Weights in "
                "a file beside it are not read: save both as one file by onnx.save(onnx.load(PATH), NEW_PATH)"
            ) from error
        (self._input,) = (one.name for one in self._session.get_inputs())
        self._output = self._session.get_outputs()[0].name

    def probabilities(self, rows: Sequence[Sequence[float]]) -> list[list[float]]:
        """Return each row's probability for each label."""
        (found,) = self._session.run([self._output], {self._input: np.array(rows, np.float32)})
        answer: list[list[float]] = found.tolist()
        return answer
