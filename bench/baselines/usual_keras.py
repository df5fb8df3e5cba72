"""The usual function with Keras: packages out of a zip, architecture and weights by boto3, model.predict.

Written by us from public descriptions: that of the nested zip (nested_zip.py), that of many posts about
models in Lambda, and that of Keras' ``model_from_json`` and ``load_weights``. The posts load a model at the
top of the module, and ``load_weights`` takes a file's name. Nothing of it is ours, and the keys are fixed, so
that no pointer is read before the model.

MODEL_BUCKET says where the model is; LAMBDA_TASK_ROOT has the zip.
"""

import os
import tempfile
from pathlib import Path
from typing import Any

from nested_zip import extract

extract(Path(os.environ["LAMBDA_TASK_ROOT"], "requirements.zip"), Path(tempfile.gettempdir(), "requirements"))
os.environ["KERAS_BACKEND"] = "torch"

import boto3  # noqa: E402
import keras  # noqa: E402
import numpy as np  # noqa: E402

LABELS = ("malignant", "benign")

s3 = boto3.client("s3")
bucket = os.environ["MODEL_BUCKET"]
architecture = s3.get_object(Bucket=bucket, Key="architecture.json")["Body"].read().decode()
weights = str(Path(tempfile.gettempdir(), "model.weights.h5"))
s3.download_file(bucket, "model.weights.h5", weights)
model = keras.models.model_from_json(architecture)
model.load_weights(weights)


def lambda_handler(event: dict[str, Any], _: object) -> dict[str, Any]:
    """Answer an event ``{"data": [row, …]}`` with the label and the probabilities of each."""
    predictions = []
    for row in model.predict(np.array(event["data"], np.float32), verbose=0).tolist():
        probabilities = dict(zip(LABELS, row, strict=True))
        predictions.append(
            {"label": max(LABELS, key=probabilities.__getitem__), "probabilities": probabilities}
        )
    return {"predictions": predictions}
