"""Logs and metrics, both as JSON lines on standard output, by Powertools for AWS Lambda.

Neither ever holds a user's text: log codes, counts and durations, not messages or values.
"""

import os
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

_SERVICE = os.environ.get("POWERTOOLS_SERVICE_NAME", "inference")
logger = Logger(service=_SERVICE)
_metrics = Metrics(
    namespace=os.environ.get("POWERTOOLS_METRICS_NAMESPACE", "LambdaInference"), service=_SERVICE
)


def count(name: str, value: float = 1) -> None:
    """Add to a metric of this invocation."""
    _metrics.add_metric(name=name, unit=MetricUnit.Count, value=value)


def record_duration(name: str, milliseconds: float) -> None:
    """Record a duration in milliseconds as a metric of this invocation."""
    _metrics.add_metric(name=name, unit=MetricUnit.Milliseconds, value=round(milliseconds, 1))


@contextmanager
def measure(timings: dict[str, float], name: str) -> Iterator[None]:
    """Store the milliseconds that a block takes in ``timings[name]``."""
    start = time.perf_counter()
    try:
        yield
    finally:
        timings[name] = round((time.perf_counter() - start) * 1000, 1)


def flush() -> None:
    """Write this invocation's metrics, if there are any."""
    if _metrics.metric_set:
        _metrics.flush_metrics()


def log_failure(error: BaseException, **fields: Any) -> None:
    """Log an unexpected error: its type and traceback, not its message, which may quote a user's text.

    An ImportError's message never does, and names the module that the layer lacks.
    """
    if isinstance(error, ImportError):
        fields["reason"] = str(error)
    logger.error(
        "unexpected error",
        error=type(error).__name__,
        where=_frames(error.__traceback__),
        stacklevel=3,
        **fields,
    )


def log(message: str, **fields: Any) -> None:
    """Log an event of the function."""
    logger.info(message, stacklevel=3, **fields)


def warn(message: str, **fields: Any) -> None:
    """Log an event that somebody should look at."""
    logger.warning(message, stacklevel=3, **fields)


def set_request_id(request_id: str) -> None:
    """Add the invocation's id to every following log line."""
    logger.append_keys(request_id=request_id)


def _frames(trace: TracebackType | None) -> list[str]:
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(trace)]
