"""The usual function with fastai: a nested zip, ``learner.pkl`` by boto3 into a BytesIO, and load_learner.

Written by us from public descriptions: that of the nested zip (nested_zip.py), that of many posts about
models in Lambda, which load them at the top of the module, and that of fastai's ``load_learner`` and
``Learner.predict``. What is imported is ``fastai.vision.all``, as everywhere. Nothing of it is ours.

MODEL_BUCKET and MODEL_KEY say where the model is; LAMBDA_TASK_ROOT has the zip.
"""

import base64
import io
import os
import tempfile
from pathlib import Path
from typing import Any

from nested_zip import extract

extract(Path(os.environ["LAMBDA_TASK_ROOT"], "requirements.zip"), Path(tempfile.gettempdir(), "requirements"))

import boto3  # noqa: E402
import torch  # noqa: E402

# torchvision describes these while it is imported, and its wheel on PyPI, made for CUDA, cannot bring them.
operators = torch.library.Library("torchvision", "FRAGMENT")
for name in ("nms", "qnms"):
    operators.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

from fastai.vision.all import load_learner  # noqa: E402

learner_file = io.BytesIO()
boto3.client("s3").download_fileobj(os.environ["MODEL_BUCKET"], os.environ["MODEL_KEY"], learner_file)
learner_file.seek(0)
learn = load_learner(learner_file)


def lambda_handler(event: dict[str, Any], _: object) -> dict[str, Any]:
    """Answer an event ``{"data": [{"image": base64}, …]}`` with the label and the classes of each."""
    predictions = []
    for item in event["data"]:
        with learn.no_bar():
            label, _, probabilities = learn.predict(base64.b64decode(item["image"]))
        classes = [
            {"label": one, "probability": value}
            for one, value in zip(learn.dls.vocab, probabilities.tolist(), strict=True)
        ]
        predictions.append({"label": label, "classes": classes})
    return {"predictions": predictions}
