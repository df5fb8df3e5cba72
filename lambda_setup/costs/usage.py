"""What a deployed function used, by its own log: REPORT lines, metrics, bytes."""

import json
import re
import statistics
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lambda_setup.costs.pricing import FREE_TMP_MB, Calls, reads, speed
from lambda_setup.deployment.aws import readable_errors
from lambda_setup.models.bucket import ModelBucket

if TYPE_CHECKING:
    from boto3 import Session

_TEXT = {
    "Duration": "durationMs",
    "Billed Duration": "billedDurationMs",
    "Init Duration": "initDurationMs",
    "Memory Size": "memorySizeMB",
    "Max Memory Used": "maxMemoryUsedMB",
}
"""The names in a REPORT line of plain text, and what JSON calls the same."""
_FIELD = re.compile(r"((?:[A-Z][a-z]+ )*[A-Z][a-z]+): ([\d.]+) (?:ms|MB)\b")


@dataclass(frozen=True)
class Report:
    """What Lambda says of one invocation; ``init_ms`` is 0 where it started no environment."""

    duration_ms: float
    billed_ms: float
    init_ms: float
    memory_mb: int
    peak_mb: int


def report(line: str) -> Report | None:
    """Return what a line of the log reports, in either of Lambda's formats; None if that is nothing.

    https://docs.aws.amazon.com/lambda/latest/dg/telemetry-schema-reference.html has the JSON.
    """
    try:
        if line.startswith("REPORT "):
            found = {_TEXT.get(name): value for name, value in _FIELD.findall(line)}
        elif (event := json.loads(line))["type"] == "platform.report":
            found = event["record"]["metrics"]
        else:
            return None
        return Report(
            float(found["durationMs"]),
            float(found["billedDurationMs"]),
            float(found.get("initDurationMs", 0)),
            int(found["memorySizeMB"]),
            int(found["maxMemoryUsedMB"]),
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def metrics(line: str) -> dict[str, list[float]]:
    """Return the values of a line of metrics by their names, nothing for any other line.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
    """
    if '"_aws"' not in line:
        return {}
    try:
        event = json.loads(line)
        names = [one["Name"] for kind in event["_aws"]["CloudWatchMetrics"] for one in kind["Metrics"]]
        values = {name: event[name] if isinstance(event[name], list) else [event[name]] for name in names}
        return {name: [float(one) for one in of] for name, of in values.items()}
    except (KeyError, TypeError, ValueError):
        return {}


@dataclass(frozen=True)
class Event:
    """A line of a log: in which stream, that is of which environment, at which millisecond."""

    stream: str
    time: int
    line: str


@dataclass(frozen=True)
class Used:
    """What a function's environments of one size used.

    Attributes:
        reports: of every invocation.
        items: answered.
        stored: answers that went to S3.
        log_bytes: logged.
        metric_hours: hours in which a metric had a value, of all metrics.

    """

    reports: list[Report]
    items: float
    stored: int
    log_bytes: int
    metric_hours: int


def used(events: Iterable[Event], memory_mb: int) -> Used:
    """Return what environments with so much memory used; others are of an earlier deployment."""
    streams: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        streams[event.stream].append(event)
    reports: list[Report] = []
    items, stored, log_bytes = 0.0, 0, 0
    hours: set[tuple[str, int]] = set()
    for stream in streams.values():
        found = [one for event in stream if (one := report(event.line)) and one.memory_mb == memory_mb]
        if not found:
            continue
        reports += found
        for event in stream:
            log_bytes += len(event.line.encode())
            values = metrics(event.line)
            items += sum(values.get("Items", []))
            stored += len(values.get("Store", []))
            hours |= {(name, event.time // 3_600_000) for name in values}
    return Used(reports, items, stored, log_bytes, len(hours))


@dataclass(frozen=True)
class Deployed:
    """A deployed function: what its calls take, and how often it is called."""

    calls: Calls
    architecture: str
    memory_mb: int
    region: str
    calls_per_day: float


def of_function(session: "Session", name: str, hours: float, writes: int) -> Deployed:
    """Return what the calls of a deployed function took in the last hours.

    Raises:
        RuntimeError: there is no such function, it answered nothing, or AWS did not answer.

    """
    with readable_errors(f"function {name}"):
        client = session.client("lambda")
        function = client.get_function_configuration(FunctionName=name)
    memory, variables = function["MemorySize"], function.get("Environment", {}).get("Variables", {})
    if not {"MODEL_BUCKET", "MODEL_NAME"} <= variables.keys():
        raise RuntimeError(f"function {name} reads no model; is it one of this template?")
    group = function.get("LoggingConfig", {}).get("LogGroup") or f"/aws/lambda/{function['FunctionName']}"
    region = client.meta.region_name
    with readable_errors(f"log group {group}"):
        found = used(_events(session.client("logs"), group, hours), memory)
    if not found.items:
        raise RuntimeError(
            f"{group} has no answer of {name} with {memory} MB in the last {hours:g} hours; send it "
            "requests, or read more of the log: --hours"
        )
    with readable_errors("model bucket"):
        bucket = ModelBucket(session.client("s3"), variables["MODEL_BUCKET"])
        manifest = bucket.manifest(variables["MODEL_NAME"], variables.get("MODEL_CHANNEL", "dev"))
    count = len(found.reports)
    per_day = count / hours * 24
    cold = [one for one in found.reports if one.init_ms]
    warm = [one.billed_ms for one in found.reports if not one.init_ms] or [one.duration_ms for one in cold]
    seconds = statistics.fmean(warm) / 1000
    longer = statistics.fmean(one.billed_ms for one in cold) / 1000 - seconds if cold else 0.0
    refresh = float(variables.get("MODEL_REFRESH_SECONDS", "60"))
    parts = sum(len(file.parts) for file in manifest.files)
    calls = Calls(
        name=f"{manifest.engine} {manifest.precision}",
        items=found.items / count,
        seconds=seconds * speed(memory),
        cold_seconds=max(longer, 0.0) * speed(memory),
        cold_share=len(cold) / count,
        peak_mb=max(one.peak_mb for one in found.reports),
        writes=found.stored / count * writes,
        reads=reads(per_day, len(cold) / count, refresh, parts),
        log_bytes=found.log_bytes / count,
        metric_hours=found.metric_hours / count,
        tmp_mb=function.get("EphemeralStorage", {}).get("Size", FREE_TMP_MB),
    )
    return Deployed(calls, function.get("Architectures", ["x86_64"])[0], memory, region, per_day)


def _events(client: Any, group: str, hours: float) -> Iterable[Event]:
    start = int((time.time() - hours * 3600) * 1000)
    pages = client.get_paginator("filter_log_events").paginate(logGroupName=group, startTime=start)
    for page in pages:
        for event in page["events"]:
            yield Event(event["logStreamName"], event["timestamp"], event["message"])
