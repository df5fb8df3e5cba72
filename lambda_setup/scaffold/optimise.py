"""Graphs of ONNX, optimised once for every processor alike, with their weights in a file beside them."""

import os
from pathlib import Path
from typing import Any

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime

GRAPH = "network.onnx"
WEIGHTS = f"{GRAPH}.data"
_SMALL = "256"
"""Bytes below which weights stay in the graph."""


LEVELS = tuple(
    getattr(onnxruntime.GraphOptimizationLevel, f"ORT_{name}")
    for name in ("ENABLE_EXTENDED", "ENABLE_BASIC", "DISABLE_ALL")
)
"""Levels of optimisation, the best first; beyond it an optimised graph is one processor's own."""


def optimise(path: Path, target: Path, level: Any = LEVELS[0]) -> None:
    """Write an optimised graph and its weights into a folder."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    options.optimized_model_filepath = str(target / GRAPH)
    entry = "session.optimized_model_external_initializers_"
    options.add_session_config_entry(f"{entry}file_name", WEIGHTS)
    options.add_session_config_entry(f"{entry}min_size_in_bytes", _SMALL)
    open_session(path, options)
    # A network of small weights has them all in the graph.
    if WEIGHTS.encode() not in (target / GRAPH).read_bytes():
        (target / WEIGHTS).write_bytes(b"")


def open_session(
    path: Path, options: onnxruntime.SessionOptions | None = None
) -> onnxruntime.InferenceSession:
    """Return a session on a graph in a file, whose weights may be beside it."""
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
