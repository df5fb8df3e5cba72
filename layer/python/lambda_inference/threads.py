"""The number of threads that an engine computes with."""

import os
from typing import Any

from lambda_inference._settings import Settings

__all__ = ["thread_count"]

_MEGABYTES_PER_CORE = 1769


def thread_count() -> int:
    """Return how many threads the function's memory pays for.

    Lambda grants one core's time per 1,769 MB (AWS Lambda Developer Guide, "Configure Lambda
    function memory"); threads beyond that only wait for each other.
    """
    memory = Settings.read().memory or _MEGABYTES_PER_CORE
    return max(1, min(round(memory / _MEGABYTES_PER_CORE), os.cpu_count() or 1))


def __getattr__(name: str) -> Any:
    from lambda_inference._deprecated import resolve

    return resolve(__name__, name, {"threads": (thread_count, f"from {__name__} import thread_count")})
