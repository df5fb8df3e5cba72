"""Serve a model behind an AWS Lambda handler.

A fork writes one class, ``Predictor``, and one line, ``lambda_handler = serve(MyPredictor)``.
Validation, transports, the deadline, results in S3, errors, logs and metrics come with it.
"""

# First: in a layer for another machine the next import already fails.
# Second: an archive is unpacked, or the layer's files are read, while the rest is imported.
from lambda_inference import _layer_marker

if _layer_marker.nested:
    from lambda_inference import _unpack

    _unpack.begin()
if _layer_marker.start:
    from lambda_inference import _read_ahead

    _read_ahead.begin(_layer_marker.start)

# isort: split
from lambda_inference._background import BackgroundTask
from lambda_inference._deadline import Deadline
from lambda_inference._errors import BadRequest, Conflict, Fault, OutOfTime, TooLarge, Unavailable
from lambda_inference._handler import serve
from lambda_inference._models import Manifest, Model
from lambda_inference._predictor import Array, Prediction, Predictor, load_engine_module
from lambda_inference._requests import BaseRequest

__all__ = [
    "Array",
    "BackgroundTask",
    "BadRequest",
    "BaseRequest",
    "Conflict",
    "Deadline",
    "Fault",
    "Manifest",
    "Model",
    "OutOfTime",
    "Prediction",
    "Predictor",
    "TooLarge",
    "Unavailable",
    "load_engine_module",
    "serve",
]
