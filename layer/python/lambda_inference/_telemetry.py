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


def duration(name: str, milliseconds: float) -> None:
    """Record how long something took, in milliseconds."""
    _metrics.add_metric(name=name, unit=MetricUnit.Milliseconds, value=round(milliseconds, 1))


@contextmanager
def timed(timings: dict[str, float], name: str) -> Iterator[None]:
    """Put the milliseconds that a block takes into ``timings[name]``."""
    start = time.perf_counter()
    try:
        yield
    finally:
        timings[name] = round((time.perf_counter() - start) * 1000, 1)


def flush() -> None:
    """Write this invocation's metrics; without any, nothing."""
    if _metrics.metric_set:
        _metrics.flush_metrics()


def failure(error: BaseException, **fields: Any) -> None:
    """Log an error nobody expected: its type and where it was, not its text, which may quote a user's.

    An import's text never does, and says what the layer lacks.
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


def info(message: str, **fields: Any) -> None:
    """Log an event."""
    logger.info(message, stacklevel=3, **fields)


def invocation(request_id: str) -> None:
    """Name the invocation in every following log line."""
    logger.append_keys(request_id=request_id)


def _frames(trace: TracebackType | None) -> list[str]:
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(trace)]
