"""Logs and metrics, both as JSON lines on standard output, in the format of Powertools for AWS Lambda.

Neither ever holds a user's text: log codes, counts and durations, not messages or values. Powertools itself
writes the same lines, and its import is two fifths of this package's.
"""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import msgspec

_SERVICE = os.environ.get("POWERTOOLS_SERVICE_NAME", "inference")
_NAMESPACE = os.environ.get("POWERTOOLS_METRICS_NAMESPACE", "LambdaInference")
_LEVELS = {"DEBUG": 0, "INFO": 1, "WARN": 2, "WARNING": 2, "ERROR": 3, "CRITICAL": 4, "FATAL": 4}
_keys: dict[str, Any] = {}
_metrics: dict[str, tuple[str, list[float]]] = {}
"""Unit and values by name, of this invocation."""


def count(name: str, value: float = 1) -> None:
    """Add to a metric of this invocation."""
    _metrics.setdefault(name, ("Count", []))[1].append(float(value))


def record_duration(name: str, milliseconds: float) -> None:
    """Record a duration in milliseconds as a metric of this invocation."""
    _metrics.setdefault(name, ("Milliseconds", []))[1].append(round(milliseconds, 1))


@contextmanager
def measure(timings: dict[str, float], name: str) -> Iterator[None]:
    """Store the milliseconds that a block takes in ``timings[name]``."""
    start = time.perf_counter()
    try:
        yield
    finally:
        timings[name] = round((time.perf_counter() - start) * 1000, 1)


def flush() -> None:
    """Write this invocation's metrics, if there are any, in CloudWatch's embedded metric format."""
    if not _metrics:
        return
    described = [{"Name": name, "Unit": unit} for name, (unit, _) in _metrics.items()]
    directive = {"Namespace": _NAMESPACE, "Dimensions": [["service"]], "Metrics": described}
    metadata = {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": [directive]}
    values = {name: numbers for name, (_, numbers) in _metrics.items()}
    _metrics.clear()
    _write({"_aws": metadata, "service": _SERVICE, **values})


def log_failure(error: BaseException, **fields: Any) -> None:
    """Log an unexpected error: its type and traceback, not its message, which may quote a user's text.

    An ImportError's message never does, and names the module that the layer lacks.
    """
    if isinstance(error, ImportError):
        fields["reason"] = str(error)
    frames = _describe_frames(error.__traceback__)
    _log("ERROR", "unexpected error", {"error": type(error).__name__, "where": frames, **fields})


def is_debugging() -> bool:
    """Return whether the function's log level is DEBUG."""
    return _read_level() == "DEBUG"


def debug(message: str, **fields: Any) -> None:
    """Log what only somebody who looks for it needs."""
    _log("DEBUG", message, fields)


def log(message: str, **fields: Any) -> None:
    """Log an event of the function."""
    _log("INFO", message, fields)


def warn(message: str, **fields: Any) -> None:
    """Log an event that somebody should look at."""
    _log("WARNING", message, fields)


def set_request_id(request_id: str) -> None:
    """Add the invocation's id to every following log line."""
    _keys["request_id"] = request_id


def _read_level() -> str:
    return os.environ.get("AWS_LAMBDA_LOG_LEVEL") or os.environ.get("POWERTOOLS_LOG_LEVEL", "INFO")


def _log(level: str, message: str, fields: dict[str, Any]) -> None:
    """Write a line, as of the caller's caller, unless the level is below the function's."""
    if _LEVELS[level] < _LEVELS.get(_read_level(), 0):
        return
    caller, now = sys._getframe(2), time.time()  # noqa: SLF001 - logging does the same
    line = {
        "level": level,
        "location": f"{caller.f_code.co_name}:{caller.f_lineno}",
        "message": message,
        "timestamp": time.strftime(f"%Y-%m-%d %H:%M:%S,{int(now % 1 * 1000):03}+0000", time.gmtime(now)),
        "service": _SERVICE,
        **_keys,
        **fields,
    }
    if trace := os.environ.get("_X_AMZN_TRACE_ID"):
        line["xray_trace_id"] = trace.partition(";")[0].removeprefix("Root=")
    _write(line)


def _write(line: dict[str, Any]) -> None:
    print(msgspec.json.encode(line, enc_hook=str).decode(), flush=True)


def _describe_frames(trace: TracebackType | None) -> list[str]:
    import traceback

    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(trace)]
