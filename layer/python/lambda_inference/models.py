"""Former home of ``Manifest``, ``Model`` and ``Fetch``; it goes in the next release."""

from typing import Any

import lambda_inference
from lambda_inference._deprecated import resolve


class _Fetch(lambda_inference.BackgroundTask[Any]):
    ready = lambda_inference.BackgroundTask.wait


def __getattr__(name: str) -> Any:
    successors = {
        "Fetch": (_Fetch, "from lambda_inference import BackgroundTask"),
        "Manifest": (lambda_inference.Manifest, "from lambda_inference import Manifest"),
        "Model": (lambda_inference.Model, "from lambda_inference import Model"),
    }
    return resolve(__name__, name, successors)
